"""The layout of a FITS file of DESI: HDUs by name, cameras, and the grid that all cameras share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, column_of
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

#: Angstrom, vacuum: the union of the three cameras.
GRID: NDArray[np.float64] = 3600.0 + 0.8 * np.arange(7781, dtype=np.float64)
STEP = 0.8
CAMERAS = ("B", "R", "Z")
#: What is there instead of the three, in files whose cameras were joined before.
JOINED = "BRZ"
_PARTS = ("WAVELENGTH", "FLUX", "IVAR", "MASK")
#: Angstrom that a wavelength may be off the grid.
_OFF_GRID = 0.01

FileKind = Literal["spectra", "redshifts", "other"]


def kind_of(path: Path) -> FileKind:
    """Recognises the kind of a file by its HDUs."""
    with open_fits(path) as file:
        names = {found.name for found in file}
    if "REDSHIFTS" in names:
        return "redshifts"
    some_camera = any(f"{camera}_{part}" in names for camera in (*CAMERAS, JOINED) for part in ("FLUX", "IVAR"))
    return "spectra" if "FIBERMAP" in names or some_camera else "other"


def hdu(file: Any, name: str, path: Path) -> Any:  # noqa: ANN401  # astropy's objects
    """The HDU of that name.

    Raises:
        SourceError: there is none.
    """
    names = [found.name for found in file]
    if name not in names:
        raise SourceError(
            f"{path}: has no HDU {name}; it has {', '.join(found for found in names if found != 'PRIMARY')}",
            hint="if it should have it, the file was cut off between two HDUs: fetch it again",
        )
    return file[name]


def camera_names(file: Any, path: Path) -> tuple[str, ...]:  # noqa: ANN401
    """The cameras of a file, each with all its HDUs.

    Raises:
        SourceError: an HDU is missing.
    """
    names = {found.name for found in file}
    cameras = (JOINED,) if f"{JOINED}_FLUX" in names else CAMERAS
    for camera in cameras:
        for part in _PARTS:
            hdu(file, f"{camera}_{part}", path)
    return cameras


def camera_slices(file: Any, path: Path) -> dict[str, slice]:  # noqa: ANN401
    """Maps each camera to the pixels of the grid that it covers.

    Raises:
        SourceError: an HDU is missing, a camera is off the grid, or arrays and table differ in length.
    """
    rows = len(hdu(file, "FIBERMAP", path).data)
    slices = {}
    for camera in camera_names(file, path):
        wavelength = np.asarray(file[f"{camera}_WAVELENGTH"].data, np.float64)
        if wavelength[0] > GRID[-1] or wavelength[-1] < GRID[0]:
            raise SourceError(
                f"{path}: the wavelengths do not overlap: {camera}_WAVELENGTH is {wavelength[0]:g} to "
                f"{wavelength[-1]:g}, {GRID[0]:g} to {GRID[-1]:g} A was expected"
            )
        start = round((wavelength[0] - GRID[0]) / STEP)
        stop = start + wavelength.size
        if start < 0 or stop > GRID.size or np.abs(wavelength - GRID[start:stop]).max() > _OFF_GRID:
            raise SourceError(
                f"{path}: {camera}_WAVELENGTH is not on DESI's grid 3600 + 0.8 i A: it is {wavelength[0]:g}, "
                f"{wavelength[1]:g} ... {wavelength[-1]:g}",
                hint="for other spectrographs there is --source arrays",
            )
        for part in _PARTS[1:]:
            shape = file[f"{camera}_{part}"].shape
            if shape != (rows, wavelength.size):
                raise SourceError(
                    f"{path}: HDU {camera}_{part} is {shape}, {(rows, wavelength.size)} was expected from FIBERMAP and "
                    f"{camera}_WAVELENGTH"
                )
        slices[camera] = slice(start, stop)
    return slices


def table_columns(table: Any, path: Path, source: str) -> list[Column]:  # noqa: ANN401
    """The columns of a table HDU with one value for each row."""
    try:
        found = [
            column_of(column.name, np.asarray(table.data[column.name]), unit=column.unit or "", source=source)
            for column in table.columns
        ]
    except (ValueError, TypeError) as error:
        raise SourceError(f"{path}: HDU {table.name} cannot be read: {error}") from error
    return [column for column in found if column is not None]
