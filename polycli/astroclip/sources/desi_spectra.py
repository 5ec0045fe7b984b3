"""Reads spectra of DESI files: rows of each camera as plain bytes, averaged over cameras and exposures.

Opening a file with astropy costs more than reading a hundred spectra of it, so each process looks at the headers of a
file once, and then reads numbers where the headers say that they are. A compressed file has to be read from its start
for every part of it, so astropy reads all of one at once, which is kept until another is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.sources.desi_fibres import AS_COADDED, FibreMask, fibre_status
from polycli.astroclip.sources.desi_files import GRID, camera_slices, hdu
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits


@dataclass(frozen=True)
class _Block:
    """The position of an image HDU's numbers in its file: rows of `columns` numbers of 4 bytes, big-endian."""

    offset: int
    columns: int
    dtype: str
    #: What stands for 0: unsigned integers are stored with an offset.
    zero: int

    def read(self, path: Path, start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop`, as they are stored."""
        with path.open("rb") as file:
            file.seek(self.offset + 4 * self.columns * start)
            values = np.fromfile(file, self.dtype, self.columns * (stop - start))
        if values.size != self.columns * (stop - start):
            raise SourceError(f"{path}: the FITS file is truncated or damaged: rows {start} to {stop} are not there")
        return values.reshape(stop - start, self.columns)


@dataclass(frozen=True)
class _Layout:
    """Everything that the headers and the FIBERMAP of a file say about where its data are."""

    slices: dict[str, slice]
    #: By HDU; None where astropy must decode it.
    blocks: dict[str, _Block | None]
    ids: NDArray[np.int64]
    status: NDArray[np.int64]


def read_spectra(
    path: Path, rows: NDArray[np.int64], fibres: FibreMask = AS_COADDED
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, 7781) flux and inverse variance of the targets that begin at these rows; variance 0 where all is masked."""
    layout = _layout(path, path.stat().st_mtime_ns)
    exposures = _exposures(layout.ids, fibres.bad(layout.status), rows)
    wanted = np.concatenate(exposures)
    target = np.repeat(np.arange(len(rows)), [len(group) for group in exposures])
    repeated = len(wanted) > len(rows)
    total = np.zeros((len(rows), GRID.size), np.float32)
    weight = np.zeros_like(total)
    read: dict[str, NDArray[np.float32]] = {}
    for camera, piece in layout.slices.items():
        flux, ivar, masked = _camera(path, layout, camera, wanted)
        ivar[masked | ~np.isfinite(ivar)] = 0
        ivar[fibres.bad_in(layout.status[wanted], camera)] = 0
        flux[(ivar == 0) & ~np.isfinite(flux)] = 0
        if repeated:
            np.add.at(total[:, piece], target, flux * ivar)
            np.add.at(weight[:, piece], target, ivar)
            flux = flux[np.unique(target, return_index=True)[1]]
        else:
            total[:, piece] += flux * ivar
            weight[:, piece] += ivar
        read[camera] = flux
    # Where nothing has weight, what was read stands as it is: masked, but finite.
    empty = weight == 0
    np.divide(total, weight, out=total, where=~empty)
    if empty.any():
        for camera, piece in layout.slices.items():
            np.copyto(total[:, piece], read[camera], where=empty[:, piece])
    return total, weight


@lru_cache(maxsize=64)
def _layout(path: Path, changed: int) -> _Layout:
    """Looked at once for each file and process, until the file is changed."""
    del changed
    plain = not path.name.lower().endswith(".gz")
    # All of the file is compared with its checksums where it is read, not where it is listed: so processes share it.
    with open_fits(path, checksums=True) as file:
        table = hdu(file, "FIBERMAP", path).data
        slices = camera_slices(file, path)
        blocks = {
            name: _block(file[name]) if plain else None
            for camera in slices
            for name in (f"{camera}_FLUX", f"{camera}_IVAR", f"{camera}_MASK")
        }
        return _Layout(slices, blocks, np.asarray(table["TARGETID"]).astype(np.int64), fibre_status(table))


def _block(image: Any) -> _Block | None:  # noqa: ANN401  # astropy's object
    # BZERO is gone from the header as soon as astropy has read the data, which nobody has by now.
    header = image.header
    kind = {-32: ">f4", 32: ">i4"}.get(header.get("BITPIX"))
    offset, zero = image.fileinfo()["datLoc"], header.get("BZERO", 0)
    if kind is None or type(image).__name__ != "ImageHDU" or header.get("BSCALE", 1) != 1 or not offset:
        return None
    return _Block(int(offset), int(header["NAXIS1"]), kind, -int(zero))


def _camera(
    path: Path, layout: _Layout, camera: str, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Flux, inverse variance and what is masked of some rows, by one read from the first to the last of them."""
    start, stop = int(rows.min()), int(rows.max()) + 1
    parts = [_rows(path, layout, f"{camera}_{part}", start, stop) for part in ("FLUX", "IVAR", "MASK")]
    if not np.array_equal(rows, np.arange(start, stop)):
        parts = [part[rows - start] for part in parts]
    flux, ivar, mask = parts
    return flux.astype(np.float32), ivar.astype(np.float32), mask.astype(np.bool_)


def _rows(path: Path, layout: _Layout, name: str, start: int, stop: int) -> NDArray[Any]:
    """Rows of an HDU; of a mask, whether it is not 0."""
    block = layout.blocks[name]
    if block is None:
        values: NDArray[Any] = _unpacked(path, path.stat().st_mtime_ns)[name][start:stop]
        return values
    values = block.read(path, start, stop)
    return values != block.zero if block.dtype == ">i4" else values


@lru_cache(maxsize=1)
def _unpacked(path: Path, changed: int) -> dict[str, NDArray[Any]]:
    """The images of all cameras of a file whose numbers do not lie in it as they are, by HDU."""
    names = _layout(path, changed).blocks
    with open_fits(path) as file:
        return {name: np.asarray(file[name].data) for name in names}


def _exposures(ids: NDArray[np.int64], bad: NDArray[np.bool_], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows that are averaged for each target: itself, and the good exposures of the same target where there are."""
    unique, counts = np.unique(ids, return_counts=True)
    if counts.max(initial=1) == 1:
        return [np.array([row]) for row in rows.tolist()]
    often = set(unique[counts > 1].tolist())
    groups = []
    for row in rows.tolist():
        group = np.flatnonzero((ids == ids[row]) & ~bad) if ids[row] in often else np.array([row])
        groups.append(group if len(group) else np.array([row]))
    return groups
