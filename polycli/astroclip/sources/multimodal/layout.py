"""Names in sets of the Multimodal Universe: ids, bands, redshifts, warnings, and columns beside the data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, as_ids, column_of, stacked
from polycli.astroclip.data.description import ZERO_POINT, ImageDescription
from polycli.astroclip.data.tables.spellings import is_magnitude_z
from polycli.astroclip.recipe.preparing import MmuSection
from polycli.astroclip.sources.row_grids import GridScan
from polycli.console import note
from polycli.errors import SourceError

#: Names of redshifts and of their warnings, the first that is there.
REDSHIFTS = ("Z", "z", "z_spec", "redshift")
WARNINGS = ("ZWARN", "ZWARNING", "zwarn", "zwarning")
#: Columns that say what an object is, and a galaxy's value of them.
_KINDS, _GALAXY = ("SPECTYPE", "CLASS"), "GALAXY"
POSITIONS = (("ra", "dec"), ("RA", "DEC"), ("TARGET_RA", "TARGET_DEC"))
#: What is no property of an object: the data, and pictures made of it.
_DATA = ("image_", "spectrum_", "catalog_")
_NOT_KEPT = ("object_id", "healpix", "_healpix_29", "blobmodel", "object_mask", "rgb", "image", "spectrum", "catalog")
#: The bands of SDSS, in which its spectra's fluxes are synthesised.
_SDSS_BANDS = ("U", "G", "R", "I", "Z")
#: Text that Python makes of bytes: the first export wrote ids so.
_BYTES = re.compile(r"""b(['"])(.*)\1""")
#: Bands of the Legacy Surveys, whose pixels are nanomaggies, are those of its camera.
_LEGACY = "des-"


@dataclass(frozen=True)
class Part:
    """Everything of one file but its images and spectra."""

    path: Path
    name: str
    ids: NDArray[Any]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    redshift: NDArray[np.float64]
    #: ZWARN or ZWARNING, numbers or truth values, masked where an object has none; None where there is neither.
    warning: NDArray[Any] | None
    columns: list[Column]
    image: ImageDescription | None
    #: What the spectra's wavelengths are; None where there are no spectra.
    scan: GridScan | None
    #: Whether spectra have an inverse variance.
    has_ivar: bool = True


def plain_ids(values: Any, *, what: str) -> NDArray[Any]:  # noqa: ANN401  # whatever a reader returned
    """Ids without the marks of bytes (`b'...'`) and the blanks around them.

    >>> plain_ids(np.array(["b' 461628614023079936'", "0421p022-7410"]), what="x").tolist()
    ['461628614023079936', '0421p022-7410']
    """
    ids = as_ids(values, what=what)
    if ids.dtype != object:
        return ids
    plain = np.empty(len(ids), dtype=object)
    plain[:] = [
        (found.group(2) if (found := _BYTES.fullmatch(text.strip())) else text).strip() for text in ids.tolist()
    ]
    empty = int((plain == "").sum())
    if empty:
        raise SourceError(f"{what}: {empty} objects have an empty id")
    return plain


def joined_ids(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The ids of all files: integers where every one spells an integer of 64 bits, else text.

    >>> joined_ids([np.array([7]), np.array(["12"], dtype=object)]).tolist()
    [7, 12]
    >>> joined_ids([np.array([7]), np.array(["012"], dtype=object)]).tolist()
    ['7', '012']
    """
    if all(part.dtype != object for part in parts):
        return np.concatenate(parts)
    texts = [str(value) for part in parts for value in part.tolist()]
    if all(_is_integer(text) for text in texts):
        return np.array([int(text) for text in texts], np.int64)
    ids = np.empty(len(texts), dtype=object)
    ids[:] = texts
    return ids


def bands_of(names: Sequence[str], section: MmuSection, *, what: str) -> tuple[str, ...]:
    """Names of bands as stores have them: those of the Legacy Surveys without their camera's, others in full.

    >>> bands_of(["DES-G", "des-i"], MmuSection(), what="x")
    ('g', 'i')

    Raises:
        SourceError: pixels of another survey, whose unit the recipe does not say; or a band stands there twice.
    """
    lower = [name.strip().lower() for name in names]
    foreign = [name for name in lower if not name.startswith(_LEGACY)]
    if foreign and section.zero_point is None:
        raise SourceError(
            f"{what}: the band {foreign[0]} is not one of the Legacy Surveys (des-g, ...), so that the unit of the "
            "pixels is not known",
            hint="say the AB magnitude of a pixel value of 1: --set mmu.zero_point=22.5 for nanomaggies",
        )
    bands = tuple(name.removeprefix(_LEGACY) for name in lower)
    if len(set(bands)) < len(bands):
        raise SourceError(f"{what}: the bands are {', '.join(bands)}, each once was expected")
    return bands


def pixel_factor(section: MmuSection) -> np.float32:
    """Computes the factor by which pixels are multiplied to be nanomaggies."""
    zero_point = ZERO_POINT if section.zero_point is None else section.zero_point
    return np.float32(10 ** (0.4 * (ZERO_POINT - zero_point)))


def positions_of(vectors: Mapping[str, NDArray[Any]], count: int, *, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Right ascension and declination in degrees; NaN where the file has none."""
    for names in POSITIONS:
        if all(name in vectors for name in names):
            ra, dec = (vectors[name] for name in names)
            for name, values in zip(names, (ra, dec), strict=True):
                if values.dtype.kind not in "fiu":
                    raise SourceError(f"{what}: {name} holds {values.dtype}, degrees were expected")
            return ra.astype(np.float64), dec.astype(np.float64)
    return np.full(count, np.nan), np.full(count, np.nan)


def redshift_column(names: Sequence[str]) -> str | None:
    """The name of the redshift among those of a file's columns; a `z` beside `g` and `r` is a magnitude.

    >>> redshift_column(["ra", "Z"]), redshift_column(["g", "r", "z"]), redshift_column(["g", "z", "z_spec"])
    ('Z', None, 'z_spec')
    """
    return next((name for name in REDSHIFTS if name in names and not is_magnitude_z(name, names)), None)


def redshifts_of(vectors: Mapping[str, NDArray[Any]], count: int) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Redshifts, NaN where the file has none, and what stands for their warnings."""
    name = redshift_column(tuple(vectors))
    redshift = np.full(count, np.nan) if name is None else np.asarray(vectors[name], np.float64)
    warning = next((name for name in WARNINGS if name in vectors), None)
    return redshift, None if warning is None else vectors[warning]


def say_of_magnitudes(parts: Sequence[Part]) -> None:
    """Say that a column z was not taken for the redshift, where there is no other."""
    if any(np.isfinite(part.redshift).any() for part in parts):
        return
    part = parts[0]
    found = next((column.name for column in part.columns if column.name.lower() == "z"), None)
    if found is not None:
        note(
            f"{part.name}: {found} is taken for the magnitude in z, beside other bands, and for no redshift; a "
            "catalogue's `redshift` names one"
        )


def good_redshifts(parts: Sequence[Part], section: MmuSection, *, exported: bool) -> NDArray[np.bool_] | None:
    """Which redshifts of all files are good, of galaxies where a type is given; None where no file warns of any.

    In HDF5 the warning is DESI's own number, 0 for none. Where it is a truth value, True means a warning; but the
    Hugging Face export of the first release (`exported`) turned DESI's round.

    Raises:
        SourceError: by what truth values are taken for, most redshifts would carry a warning.
    """
    if all(part.warning is None for part in parts):
        return None
    meaning = section.zwarn or ("good" if exported else "flag")
    good = [_good(part, meaning) for part in parts]
    truths = [part for part in parts if part.warning is not None and part.warning.dtype.kind == "b"]
    if truths and section.zwarn is None:
        name, count = truths[0].name, sum(len(part.ids) for part in truths)
        raised = sum(int(np.ma.filled(part.warning, False).sum()) for part in truths if part.warning is not None)
        taken = "no warning" if meaning == "good" else "a warning"
        if 2 * (raised if meaning == "good" else count - raised) < count:
            raise SourceError(
                f"{name}: ZWARN is a truth value, True in {raised} of {count} objects: taken for {taken}, as in files "
                "of this kind, most redshifts would be bad",
                hint="say what True means: --set mmu.zwarn=flag (a warning) or mmu.zwarn=good",
            )
        note(f"{name}: ZWARN is a truth value; True is taken for {taken}, as in files of this kind (mmu.zwarn)")
    return np.concatenate(good)


def _good(part: Part, meaning: str) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = np.isfinite(part.redshift)
    kinds = next((column for column in part.columns if column.name in _KINDS and column.kind == "text"), None)
    if kinds is not None:
        good &= kinds.values == _GALAXY
    if part.warning is None:
        return good
    # Of a redshift whose warning is absent nothing good is known.
    good &= ~np.ma.getmaskarray(part.warning)
    warning = np.ma.getdata(part.warning)
    good &= warning if warning.dtype.kind == "b" and meaning == "good" else warning == 0
    return good


def columns_of(vectors: Mapping[str, NDArray[Any]], *, source: str) -> list[Column]:
    """Properties: vectors with one value for each object; tables with five columns are fluxes in SDSS's bands."""
    position = next((names for names in POSITIONS if all(name in vectors for name in names)), ())
    redshift = redshift_column(tuple(vectors)) or ""
    columns: list[Column | None] = []
    for name, values in vectors.items():
        if name in (*_NOT_KEPT, *position, redshift) or name.startswith(_DATA):
            continue
        if values.ndim == 2 and values.shape[1] == len(_SDSS_BANDS) and name.startswith("SPECTRO"):
            columns += [
                column_of(f"{name}_{band}", values[:, place], source=source) for place, band in enumerate(_SDSS_BANDS)
            ]
        else:
            columns.append(column_of(name, values, source=source))
    return [column for column in columns if column is not None]


def stacked_parts(parts: Sequence[Part]) -> list[Column]:
    """The columns of all files, one file behind the other."""
    return stacked([part.columns for part in parts], [len(part.ids) for part in parts])


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdecimal() and str(int(text)) == text and int(text) <= np.iinfo(np.int64).max
