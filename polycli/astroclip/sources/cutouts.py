"""The source `fits`: one cutout per FITS file, in nanomaggies, as the Legacy Surveys' viewer gives them.

A file has an image (band, y, x) whose header names its bands (`BANDS`, such as grz); its position and pixel scale are
those of its WCS. Pixels of another unit, which BUNIT names, are brought to nanomaggies; where it names none, the
recipe's `arrays` section may, and else they are taken as nanomaggies, which is said. Files have no ids, so that objects
are named as their files are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.cutouts.margins import cropped, one_size
from polycli.astroclip.data.description import PIXEL_SCALE, ZERO_POINT, ImageDescription
from polycli.astroclip.data.source import Listing, Payload, file_ids, find_files
from polycli.astroclip.recipe.preparing import ZERO_POINTS, ArraysSection, PixelUnit, PrepareRecipe
from polycli.astroclip.sources.plausible import refuse_other_pixels, say_pixels
from polycli.console import warn
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

SUFFIXES = (".fits", ".fit", ".fits.gz")
#: What may stand in BUNIT beside a unit's name.
_PLURAL = re.compile(r"(?i:maggies)")
_PER_PIXEL = re.compile(r"\s*(?:/\s*pix(?:el)?|pix(?:el)?\s*\^?-1)$")
#: Files without a unit whose pixels are looked at.
_SAMPLED = 32
_NOT_THERE = "has no image (band, y, x) whose header names its bands in BANDS"


@dataclass(frozen=True)
class Cutout:
    """The description of one file."""

    bands: tuple[str, ...]
    #: (height, width) in pixels.
    size: tuple[int, int]
    #: Arcseconds, to four digits, as headers have them.
    scale: float
    #: The middle of the image in degrees; NaN where there is no WCS.
    ra: float
    dec: float
    #: Whether the header names the unit of the pixels.
    has_unit: bool


@dataclass(frozen=True)
class CutoutReader:
    """Reads the images of files, one in each."""

    files: tuple[Path, ...]
    #: (height, width) to which each is cropped; None where all have one size.
    size: tuple[int, int] | None
    #: The nanomaggies that a pixel value of 1 stands for where the header names no unit.
    unsaid: float = 1.0

    def narrowed(self, files: Sequence[int]) -> CutoutReader:
        """A reader of these files alone."""
        return replace(self, files=tuple(self.files[number] for number in files))

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Images in nanomaggies; every file has one row."""
        del rows
        images = [_pixels(self.files[number], self.unsaid) for number in files.tolist()]
        return Payload(image=np.stack(images if self.size is None else [cropped(each, self.size) for each in images]))


class CutoutSource:
    """Finds cutouts by what is in their files; names decide nothing."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a FITS file with an image of named bands."""
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            return False
        with open_fits(path) as file:
            return _image(file) is not None

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """The images of all files; see `Source.open`."""
        named = {path.resolve() for path in inputs}
        found: list[tuple[Path, str, Cutout]] = []
        for path, name in find_files(inputs, SUFFIXES, source="fits"):
            if limit is not None and len(found) == limit:
                break
            with open_fits(path) as file:
                image = _image(file)
                if image is not None:
                    found.append((path, name, _describe(image, path)))
                elif path.resolve() in named:
                    raise SourceError(f"{path}: {_NOT_THERE}")
                else:
                    warn(f"left out: {path} {_NOT_THERE}")
        if not found:
            raise SourceError(f"no file among the inputs {_NOT_THERE}")
        first = found[0][2]
        smallest = None if recipe.images.crop is not None else min(min(cutout.size) for _, _, cutout in found)
        for path, _, cutout in found:
            _refuse_another_kind(path, cutout, first, found[0][0], smallest)
        size = one_size([(str(path), cutout.size) for path, _, cutout in found], recipe.images)
        unsaid = _unsaid([(path, cutout) for path, _, cutout in found], recipe.arrays)
        files = tuple(path for path, _, _ in found)
        cutouts = [cutout for _, _, cutout in found]
        return Listing(
            source="fits",
            reader=CutoutReader(files, size, unsaid),
            ids=file_ids([name for _, name, _ in found]),
            id_name="file",
            ra=np.array([cutout.ra for cutout in cutouts], np.float64),
            dec=np.array([cutout.dec for cutout in cutouts], np.float64),
            redshift=np.full(len(files), np.nan),
            file=np.arange(len(files), dtype=np.int32),
            row=np.zeros(len(files), np.int64),
            files=files,
            file_names=tuple(name for _, name, _ in found),
            image=ImageDescription(bands=first.bands, size=size or first.size, pixel_scale_arcsec=first.scale),
            ids_given=False,
        )


def _image(file: Any) -> Any:  # noqa: ANN401  # astropy's objects
    """The first HDU with an image of named bands; None where there is none."""
    for unit in file:
        axes = [unit.header.get(f"NAXIS{axis}", 0) for axis in (1, 2, 3)]
        bands = unit.header.get("BANDS")
        if unit.is_image and unit.header.get("NAXIS") == 3 and all(axes) and isinstance(bands, str):
            return unit
    return None


def _describe(image: Any, path: Path) -> Cutout:  # noqa: ANN401
    header = image.header
    text = str(header["BANDS"]).strip()
    bands = tuple(part for part in text.replace(",", " ").split()) if " " in text or "," in text else tuple(text)
    width, height, count = (int(header[f"NAXIS{axis}"]) for axis in (1, 2, 3))
    if len(bands) != count:
        raise SourceError(f"{path}: the header names the bands {text}, and the image has {count} planes")
    has_unit = _nanomaggies(header, path) is not None
    scale, ra, dec = _place(header, width, height)
    return Cutout(bands, (height, width), scale, ra, dec, has_unit)


def _place(header: Any, width: int, height: int) -> tuple[float, float, float]:  # noqa: ANN401
    """Returns pixel scale, right ascension and declination of the middle; the Surveys' scale where there is no WCS."""
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    if not str(header.get("CTYPE1", "")).startswith("RA"):
        return PIXEL_SCALE, float("nan"), float("nan")
    # The axis of bands is no part of it; the three keywords that matter are the same for all planes.
    wcs = WCS(header, naxis=2)
    ra, dec = (float(value) for value in wcs.all_pix2world((width - 1) / 2, (height - 1) / 2, 0))
    return round(float(np.mean(proj_plane_pixel_scales(wcs))) * 3600, 4), ra % 360, dec


def _refuse_another_kind(path: Path, found: Cutout, first: Cutout, example: Path, smallest: int | None) -> None:
    """Refuse a cutout that does not fit the first; sizes count unless `smallest`, the least of all sides, is None."""
    apart = "prepare them into different stores"
    compared: list[tuple[str, object, object, str]] = [
        ("bands", found.bands, first.bands, apart),
        ("pixel scale in arcsec", found.scale, first.scale, apart),
    ]
    if smallest is not None:
        crop = f"set images.crop to no more than the smallest ({smallest}), or {apart}"
        compared.append(("size in pixels", found.size, first.size, crop))
    for what, here, there, hint in compared:
        if here != there:
            raise SourceError(f"{path}: {what} {here}, and {there} in {example}", hint=hint)


def _unsaid(files: Sequence[tuple[Path, Cutout]], section: ArraysSection) -> float:
    """The nanomaggies of a pixel value of 1 in files whose headers name no unit, which is said of how many.

    Raises:
        SourceError: nobody names the unit, and pixels cannot be in nanomaggies.
    """
    without = [path for path, cutout in files if not cutout.has_unit]
    if not without:
        return 1.0
    what = f"{without[0]} and {len(without) - 1:,} of {len(files) - 1:,} others" if len(files) > 1 else str(without[0])
    if section.pixel_unit is None and section.zero_point is None:
        some = np.linspace(0, len(without) - 1, min(len(without), _SAMPLED)).astype(np.int64)
        # Sizes may differ, and the brightest pixel of each is all that counts.
        peaks = np.array([_peak(without[place]) for place in some.tolist()])
        refuse_other_pixels(peaks[:, None], what=what)
    say_pixels(section, what=f"{what} (no BUNIT)")
    return float(10 ** (0.4 * (ZERO_POINT - section.ab_zero_point)))


def _peak(path: Path) -> np.number[Any]:
    with open_fits(path) as file:
        image = _image(file)
        if image is None:
            raise SourceError(f"{path}: {_NOT_THERE}")
        data = np.asarray(image.data)
        found: np.number[Any] = np.abs(np.where(np.isfinite(data), data, 0)).max().astype(data.dtype)
        return found


def _pixels(path: Path, unsaid: float) -> NDArray[np.float32]:
    with open_fits(path) as file:
        image = _image(file)
        if image is None:
            raise SourceError(f"{path}: {_NOT_THERE}")
        named = _nanomaggies(image.header, path)
        factor = unsaid if named is None else named
        return (np.asarray(image.data) if factor == 1 else np.asarray(image.data, np.float64) * factor).astype(
            np.float32
        )


def _nanomaggies(header: Any, path: Path) -> float | None:  # noqa: ANN401
    """The nanomaggies that a pixel value of 1 stands for; None where the header names no unit.

    Raises:
        SourceError: the unit is none of fluxes in a pixel.
    """
    from astropy import units

    text = str(header.get("BUNIT", "")).strip()
    if not text:
        return None
    unit = units.Unit(_PER_PIXEL.sub("", _PLURAL.sub("maggy", text)), parse_strict="silent")
    kinds: tuple[tuple[Any, PixelUnit], ...] = ((units.mgy, "maggy"), (units.Jy, "jansky"))
    for known, name in kinds:
        if unit.is_equivalent(known):
            # To digits that a product of powers of ten has, so that nanomaggies stay as they are.
            return float(f"{unit.to(known) * 10 ** (0.4 * (ZERO_POINT - ZERO_POINTS[name])):.12g}")
    raise SourceError(
        f"{path}: pixels are in {text} (BUNIT), a flux such as nanomaggy or Jy was expected",
        hint="write BUNIT = 'nanomaggy' if that is what they are, or prepare the images by --source arrays with "
        "arrays.zero_point",
    )
