"""Positions of a catalogue in degrees, whatever unit they have there, whether they are the objects', and redshifts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.pairing import ARCSEC_PER_RADIAN, unit_vectors
from polycli.errors import SourceError

AngleUnit = Literal["degree", "hour"]
Floats = NDArray[np.float64]
#: Hours or degrees, minutes and seconds, between colons, blanks or letters.
_SEXAGESIMAL = re.compile(r"^[+-]?\d{1,3}\s*[:hd°\s]\s*\d{1,2}\s*[:m'\s]\s*\d{1,2}(\.\d*)?\s*[s\"]?$")
_DEGREES = ("deg", "degree", "degrees", "d:m:s", '"d:m:s"', "dms")
_HOURS = ("h", "hr", "hour", "hourangle", "hms", '"h:m:s"')


def degrees(right: Column, up: Column, unit: AngleUnit | None, path: Path) -> tuple[Floats, Floats, list[str]]:
    """Right ascension and declination in degrees, NaN where unknown, and what was guessed.

    Raises:
        SourceError: they are texts that are no angles, or of a unit that is no angle.
    """
    remarks: list[str] = []
    of_texts: AngleUnit = unit or ("degree" if right.unit.strip().lower() in _DEGREES else "hour")
    ra, is_text = _angle(right, of_texts, path)
    dec, up_is_text = _angle(up, "degree", path)
    if is_text:
        if of_texts == "hour" and (np.nan_to_num(ra) >= 360).any():
            raise SourceError(
                f"{path}: column {right.name} holds texts of 24 hours or more, such as {np.nanmax(ra) / 15:.2f}",
                hint="ra_unit: degree, if right ascensions are degrees, minutes and seconds",
            )
        said = "degrees" if of_texts == "degree" else "hours, minutes and seconds"
        remarks.append(f"{right.name} is read as {said}, {up.name} as degrees")
    elif unit == "hour" or (unit is None and right.unit.strip().lower() in _HOURS):
        ra = ra * 15
    elif unit is None:
        ra = ra * _factor(right, path)
    if not up_is_text:
        dec = dec * _factor(up, path)
    # Catalogues mark what is unknown by numbers such as -999.
    unknown = ~(np.isfinite(ra) & (np.abs(dec) <= 90))
    return np.where(unknown, np.nan, ra), np.where(unknown, np.nan, dec), remarks


def separations(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """Angles between positions in arcsec, NaN where one is unknown."""
    chord = np.linalg.norm(unit_vectors(*one) - unit_vectors(*other), axis=1)
    return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)) * ARCSEC_PER_RADIAN)


def refuse_two_positions(
    ids: NDArray[Any],
    ours: tuple[Floats, Floats],
    theirs: tuple[Floats, Floats],
    most: float | None,
    *,
    path: Path,
    names: Sequence[str],
) -> None:
    """Make sure that rows which were joined by an id, or by their order, lie where the objects are.

    Raises:
        SourceError: one is further away than `most` arcsec.
    """
    if most is None:
        return
    apart = separations(ours, theirs)
    far = np.flatnonzero(np.nan_to_num(apart) > most)
    if not far.size:
        return
    first = int(far[0])
    raise SourceError(
        f"{path}: {ids[first]} is at {theirs[0][first]:.5f} {theirs[1][first]:.5f} ({', '.join(names)}), and the "
        f"object "
        f"is at {ours[0][first]:.5f} {ours[1][first]:.5f}, {apart[first]:.0f} arcsec away; {far.size} of "
        f"{int(np.isfinite(apart).sum())} are further than {most:g} arcsec: one id, two positions",
        hint="look at id_column, hdu and by; max_separation_arcsec allows more, null is not to compare",
    )


def _angle(column: Column, unit: AngleUnit, path: Path) -> tuple[Floats, bool]:
    """The numbers of a column, and whether they are texts such as 12:34:56, which are then in degrees."""
    if column.kind != "text":
        return numbers_of(column, path), False
    from astropy.coordinates import Angle

    texts = [str(value).strip() for value in column.values.tolist()]
    known = [bool(text) and (column.valid is None or bool(column.valid[row])) for row, text in enumerate(texts)]
    values = np.full(len(texts), np.nan)
    chosen = [text for text, there in zip(texts, known, strict=True) if there]
    wrong = next((text for text in chosen if not _SEXAGESIMAL.match(text)), None)
    if wrong is not None or not chosen:
        raise SourceError(f"{path}: column {column.name} is text ({wrong}), a position was expected")
    try:
        values[np.array(known)] = Angle(chosen, unit="hourangle" if unit == "hour" else "deg").degree
    except ValueError as error:
        raise SourceError(
            f"{path}: column {column.name} holds texts that are no {unit}s, minutes and seconds: {error}",
            hint="ra_unit: degree, if right ascensions are degrees, minutes and seconds" if unit == "hour" else None,
        ) from error
    return values, True


def refuse_velocities(column: Column, path: Path) -> None:
    """Make sure that a column of redshifts is none of velocities by its unit.

    Raises:
        SourceError: its unit is one of velocities.
    """
    from astropy import units

    if column.unit.strip() and units.Unit(column.unit, parse_strict="silent").is_equivalent(units.km / units.s):
        raise SourceError(
            f"{path}: column {column.name} is in {column.unit}, a velocity, and redshifts were expected",
            hint="divide it by the speed of light, or name another column by `redshift` of the catalogue",
        )


def numbers_of(column: Column, path: Path) -> Floats:
    """Float64, NaN where there is nothing.

    Raises:
        SourceError: the column is text.
    """
    if column.kind == "text":
        raise SourceError(f"{path}: column {column.name} is text, numbers were expected")
    values = column.values.astype(np.float64)
    if column.valid is not None:
        values[~column.valid] = np.nan
    return values


def _factor(column: Column, path: Path) -> float:
    """The degrees in the unit that the file states; 1 where it states none."""
    from astropy import units

    if not column.unit.strip():
        return 1.0
    try:
        return float(units.Unit(column.unit, parse_strict="silent").to(units.deg))
    except (ValueError, TypeError, units.UnitConversionError) as error:
        raise SourceError(f"{path}: column {column.name} is in {column.unit!r}, an angle was expected") from error
