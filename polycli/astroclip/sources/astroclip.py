"""The source `astroclip`: the joint HDF5 file of the original project, images and spectra of DESI galaxies in groups.

Groups "0", "1", ... each hold `images` (n, 152, 152, 3), `spectra` (n, 7781, 1), `redshifts` and `targetids`. Its
images are stored as (x, y, band), the transpose of the cutouts that they come from; they become (band, y, x) again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import as_ids
from polycli.astroclip.data.description import ImageDescription
from polycli.astroclip.data.resampling import describe_grid
from polycli.astroclip.data.source import Listing, Payload, find_files
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.desi_files import GRID
from polycli.astroclip.sources.hdf5_files import check_images, dataset, holds, read_rows, same_length
from polycli.errors import SourceError
from polycli.files.hdf5 import open_hdf5

SUFFIXES = (".h5", ".hdf5")
BANDS = ("g", "r", "z")


@dataclass(frozen=True)
class AstroclipReader:
    """Reads pairs. A row is counted through all groups of its file, in their order."""

    files: tuple[Path, ...]

    def narrowed(self, files: Sequence[int]) -> AstroclipReader:
        """A reader of these files alone."""
        return AstroclipReader(tuple(self.files[number] for number in files))

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Images and spectra; the file has neither inverse variances nor masks."""
        images: dict[int, NDArray[Any]] = {}
        spectra: dict[int, NDArray[Any]] = {}
        for number in np.unique(files).tolist():
            places = np.flatnonzero(files == number)
            with open_hdf5(self.files[number]) as file:
                start = 0
                for group in _groups(file, self.files[number]):
                    stop = start + group["targetids"].shape[0]
                    here = places[(rows[places] >= start) & (rows[places] < stop)]
                    if len(here):
                        inside = rows[here] - start
                        images |= dict(zip(here.tolist(), read_rows(group["images"], inside), strict=True))
                        spectra |= dict(zip(here.tolist(), read_rows(group["spectra"], inside), strict=True))
                    start = stop
        image = np.stack([images[index] for index in range(len(rows))]).astype(np.float32)
        flux = np.stack([spectra[index] for index in range(len(rows))]).astype(np.float32)
        return Payload(
            image=image.transpose(0, 3, 2, 1),
            spectrum=flux[..., 0],
            ivar=np.isfinite(flux[..., 0]).astype(np.float32),
            mask=~np.isfinite(flux[..., 0]),
        )


class AstroclipSource:
    """All files of the inputs as one listing."""

    def accepts(self, path: Path) -> bool:
        """Whether the file is HDF5 with numbered groups."""
        return holds(path, SUFFIXES, ("0/targetids",))

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Ids and redshifts; the file has no positions. See `Source.open`."""
        del recipe, limit
        files = find_files(inputs, SUFFIXES, source="astroclip")
        ids, redshifts, sizes = [], [], set()
        for path, _ in files:
            with open_hdf5(path) as file:
                groups = _groups(file, path)
                sizes |= {_check(group, path) for group in groups}
                ids.append(np.concatenate([as_ids(group["targetids"][()], what=str(path)) for group in groups]))
                redshifts.append(np.concatenate([group["redshifts"][()] for group in groups]).astype(np.float64))
        if len(sizes) > 1:
            raise SourceError(f"images of different sizes: {sorted(sizes)}", hint="prepare them into different stores")
        lengths = [len(part) for part in ids]
        unknown = np.full(sum(lengths), np.nan)
        return Listing(
            source="astroclip",
            reader=AstroclipReader(tuple(path for path, _ in files)),
            ids=np.concatenate(ids),
            id_name="TARGETID",
            ra=unknown,
            dec=unknown,
            redshift=np.concatenate(redshifts),
            file=np.repeat(np.arange(len(files), dtype=np.int32), lengths),
            row=np.concatenate([np.arange(length) for length in lengths]),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            image=ImageDescription(bands=BANDS, size=sizes.pop()),
            spectrum=describe_grid(GRID, what="astroclip").model_copy(update={"step": 0.8, "ivar": "unknown"}),
            wavelength=GRID,
        )


def _groups(file: Any, path: Path) -> list[Any]:  # noqa: ANN401  # h5py's objects
    """The groups of a file in the order of their numbers.

    Raises:
        SourceError: there are none.
    """
    names = sorted((name for name in file if name.isdigit()), key=int)
    if not names:
        raise SourceError(
            f'{path}: has no groups "0", "1", ... with images, spectra, redshifts and targetids; it has '
            f"{', '.join(list(file)[:8]) or 'nothing'}",
            hint="cutouts alone are read by --source legacysurvey",
        )
    return [file[name] for name in names]


def _check(group: Any, path: Path) -> tuple[int, int]:  # noqa: ANN401
    """(height, width) of the images of a group whose four datasets fit each other."""
    found = {name: dataset(group, name, path) for name in ("targetids", "images", "spectra", "redshifts")}
    same_length({name: item.shape[0] for name, item in found.items()}, path)
    across, up = check_images(found["images"].shape, BANDS, band_last=True, what=f"{path}: group {group.name}")
    if found["spectra"].shape[1:] != (GRID.size, 1):
        raise SourceError(
            f"{path}: group {group.name}: spectra are {found['spectra'].shape}, (n, {GRID.size}, 1) was expected"
        )
    return up, across
