"""Reads positions, cones and boxes on the sky as users write them: `150.1,2.2` or `10:00:24 +02:12:00`, in degrees."""

from __future__ import annotations

import re

from polycli.errors import UserError
from polycli.names import shortened_name
from polycli.search.filters import Box, Cone

_DEGREES = {"": 1 / 3600, "arcsec": 1 / 3600, "arcmin": 1 / 60, "deg": 1.0}
_ANGLE = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(arcsec|arcmin|deg|)")


def parse_position(text: str, option: str = "--position") -> tuple[float, float]:
    """Right ascension and declination in degrees.

    Raises:
        UserError: it is no position.

    Example:
        >>> parse_position("150.1, -2.2")
        (150.1, -2.2)
    """
    parts = _parts(text)
    if len(parts) != 2:
        raise UserError(f"{option} {shortened_name(text)}: expected RA,DEC in degrees", hint=f"{option} 150.1,2.2")
    if any(mark in text for mark in ":hd"):
        return _sexagesimal(text, parts, option)
    ra, dec = (_number(part, text, option) for part in parts)
    if not -90 <= dec <= 90:
        raise UserError(f"{option} {shortened_name(text)}: the declination {dec:g} is not between -90 and 90 degrees")
    return ra, dec


def parse_cone(text: str, columns: tuple[str, str]) -> Cone:
    """A cone `RA,DEC,RADIUS`; the radius is in arcseconds, or has a unit: 2arcmin, 0.5deg.

    Raises:
        UserError: it is none.
    """
    *position, radius = _parts(text) or [""]
    if len(position) != 2:
        raise UserError(
            f"--cone {shortened_name(text)}: expected RA,DEC,RADIUS in degrees, degrees and arcseconds",
            hint="--cone 150.1,2.2,30 or --cone 150.1,2.2,0.5deg",
        )
    return Cone(*parse_position(",".join(position), "--cone"), parse_angle(radius, "--cone"), columns)


def parse_box(text: str, columns: tuple[str, str]) -> Box:
    """A box `RA1,RA2,DEC1,DEC2` in degrees; where the first right ascension is the larger one it goes through 0.

    Raises:
        UserError: it is none.
    """
    parts = _parts(text)
    if len(parts) != 4:
        raise UserError(
            f"--box {shortened_name(text)}: expected RA1,RA2,DEC1,DEC2 in degrees", hint="--box 150,151,-1,1"
        )
    low, high, bottom, top = (_number(part, text, "--box") for part in parts)
    return Box((low, high), (bottom, top), columns)


def parse_angle(text: str, option: str) -> float:
    """Degrees of an angle in arcseconds, or with its unit.

    Raises:
        UserError: it is no angle.
    """
    found = _ANGLE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{option}: {shortened_name(text)!r} is no angle", hint="30 (arcseconds), 2arcmin or 0.5deg")
    return _number(found[1], text, option) * _DEGREES[found[2]]


def parse_radius(text: str) -> float:
    """Degrees of the radius around a position, which is an angle as `parse_angle` takes it, not below 0.

    Raises:
        UserError: it is none.
    """
    angle = parse_angle(text, "--radius")
    if angle < 0:
        raise UserError(f"--radius {shortened_name(text)}: a radius is not negative", hint="--radius 10 or 0.1deg")
    return angle


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text.strip()) if part]


def _number(part: str, text: str, option: str) -> float:
    try:
        return float(part)
    except ValueError as error:
        raise UserError(
            f"{option} {shortened_name(text)}: {shortened_name(part)!r} is no number", hint="degrees, such as 150.1"
        ) from error


def _sexagesimal(text: str, parts: list[str], option: str) -> tuple[float, float]:
    from astropy import units
    from astropy.coordinates import SkyCoord

    try:
        found = SkyCoord(*parts, unit=(units.hourangle, units.deg))
    except ValueError as error:
        raise UserError(
            f"{option} {shortened_name(text)}: is no position", hint=f"{option} 10:00:24.1,+02:12:00, or in degrees"
        ) from error
    return float(found.ra.deg), float(found.dec.deg)
