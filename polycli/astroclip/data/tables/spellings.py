"""How catalogues spell the columns that every store has anyway: ids, positions, redshifts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

IDS = ("targetid", "object_id", "objectid", "id", "source_id", "specobjid", "objid", "id_str", "dr8_id")
#: In small letters, right ascension beside its declination; the first pair that is there counts.
POSITIONS = (
    *(("ra", "dec"), ("target_ra", "target_dec"), ("ra_deg", "dec_deg"), ("radeg", "dedeg"), ("radeg", "decdeg")),
    *(("raj2000", "dej2000"), ("raj2000", "decj2000"), ("_raj2000", "_dej2000"), ("ra_icrs", "de_icrs")),
    *(("ra_j2000", "dec_j2000"), ("ra2000", "dec2000"), ("alpha_j2000", "delta_j2000"), ("plug_ra", "plug_dec")),
    *(
        ("alphawin_j2000", "deltawin_j2000"),
        ("ramean", "decmean"),
        ("coord_ra", "coord_dec"),
        ("coord.ra", "coord.dec"),
    ),
    *(("right_ascension", "declination"), ("mean_fiber_ra", "mean_fiber_dec"), ("fiber_ra", "fiber_dec")),
    ("sky_coord.ra", "sky_coord.dec"),
)
REDSHIFTS = (
    *("redshift", "z", "z_spec", "zspec", "spec_z", "specz", "z_best", "zbest", "z_noqso", "z_hp", "z_helio", "z_cmb"),
    *("redshift_spec", "spec_redshift", "z_training"),
)
#: Beside these, a column `z` is the magnitude in the band z.
_BANDS = {"u", "g", "r", "i"}
#: Of a survey's catalogue or of a recipe: what may stand before or behind a name.
_ADDED = re.compile(r"^(catalogue_)?(.*?)(_catalogue|_image)*(_\d+)?$")
#: What makes another quantity of `..._z`: a magnitude, a flux, a metallicity and so on.
_OTHER_Z = re.compile(
    r"(mag|flux|log\w*|psf\w*|shape|ext\w*|depth|fracflux|nobs|transmission|snr|ivar|noise|sky\w*|seeing|fwhm|exptime)_z$"
)
#: Redshifts that others estimated from photometry, and what they say of them.
_PHOTOMETRIC = re.compile(r"^(z_?phot|photo_?z|phot_?z)")
_ERROR = re.compile(r"^(zerr|z_err|e_z|redshift_err\w*|zwarn\w*)$")


def position_names(names: Sequence[str]) -> tuple[str, str] | None:
    """The names of right ascension and declination among those of a catalogue's columns, in their spelling there."""
    lower = _lower(names)
    return next(((lower[ra], lower[dec]) for ra, dec in POSITIONS if ra in lower and dec in lower), None)


def id_name(names: Sequence[str], own: str) -> str | None:
    """The name of the column of ids: called as the objects' own ids are, else by a usual name."""
    lower = _lower(names)
    if own in names:
        return own
    return next((lower[name] for name in (own.lower(), *IDS) if name in lower), None)


def redshift_name(names: Sequence[str]) -> str | None:
    """The name of the column of redshifts, where there can be no doubt: a `z` beside `g` and `r` is a magnitude."""
    lower = _lower(names)
    found = [lower[name] for name in REDSHIFTS if name in lower and not is_magnitude_z(name, names)]
    return found[0] if found else None


def is_magnitude_z(name: str, names: Iterable[str]) -> bool:
    """Whether a column of this name among others is the magnitude in the band z and no redshift.

    >>> is_magnitude_z("z", ["g", "r", "z"]), is_magnitude_z("Z", ["Z", "FLUX_G"])
    (True, False)
    """
    return name.lower() == "z" and bool(_BANDS & {each.lower() for each in names})


def says_what_a_store_has(name: str) -> bool:
    """Whether a property is an id, a position or a redshift by its name: nothing that a vector should foretell.

    >>> [says_what_a_store_has(name) for name in ("pv_RA", "catalogue_redshift", "Z_HP", "noise_z", "LOGMSTAR")]
    [True, True, True, False, False]
    """
    matched = _ADDED.match(name.lower())
    plain = matched[2] if matched else name.lower()
    if _ERROR.match(plain) or _PHOTOMETRIC.match(plain) or plain in IDS:
        return True
    known = {*(part for pair in POSITIONS for part in pair), *REDSHIFTS}
    if plain in known:
        return True
    return not _OTHER_Z.search(plain) and any(plain.endswith(f"_{each}") for each in known)


def _lower(names: Iterable[str]) -> dict[str, str]:
    """The first column of each name, by the name in small letters."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.lower(), name)
    return found
