"""Vectors of objects whose images and spectra are cells of a table in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import PIXEL_SCALE, ImageDescription, SpectrumDescription, SurveyDescription
from polycli.astroclip.data.resampling import describe_grid
from polycli.astroclip.data.scales import scales_of
from polycli.astroclip.data.store import Spectra
from polycli.astroclip.model.loaded import LoadedAstroClip, load_for
from polycli.astroclip.recipe.settings import EmbedSettings, NoveltyUse
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.kinds import SUFFIX, encoded, encoded_for, kinds_of, vectors_of_kinds
from polycli.astroclip.scoring.novelty.columns import novelty_columns, novelty_name, statistics_of
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors
from polycli.errors import StoreError
from polycli.workflow.embedding.partitions import Column, EmbedPartition


@dataclass(frozen=True)
class CellColumns:
    """The columns of a table that hold images and spectra, and what their numbers are."""

    #: Cells of (band, y, x) in nanomaggies, and their bands in order.
    image: str | None = None
    bands: tuple[str, ...] = ()
    pixel_scale_arcsec: float = PIXEL_SCALE
    #: Cells of (wavelength,) in 1e-17 erg/s/cm2/A, their inverse variances, and the wavelengths in Angstrom.
    flux: str | None = None
    ivar: str | None = None
    wavelength: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are there."""
        return tuple(name for name in (self.image, self.flux, self.ivar) if name is not None)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that they hold."""
        return tuple(name for name, column in (("image", self.image), ("spectrum", self.flux)) if column)


def object_partition(
    checkpoint: str | Path,
    *,
    image: str | None = None,
    bands: Sequence[str] = (),
    pixel_scale_arcsec: float = PIXEL_SCALE,
    flux: str | None = None,
    ivar: str | None = None,
    wavelength: Sequence[float] | NDArray[np.float64] = (),
    vectors: Sequence[Literal["image", "spectrum", "fused"]] = (),
    keep: Sequence[str] | None = None,
    novelty: NoveltyUse = "auto",
    allow_untrained: bool = False,
) -> EmbedPartition:
    """A function that adds `image_embedding` and the like to tables, for `lsdb.Catalog.map_partitions` and its like.

    Args:
        checkpoint: a run, a checkpoint in it, or a file of weights.
        image: the column of images, each (band, y, x) in nanomaggies.
        bands: the bands of the images, in order.
        pixel_scale_arcsec: the side of their pixels.
        flux: the column of spectra in 1e-17 erg/s/cm2/A, all on one grid.
        ivar: the column of their inverse variances; without it, pixels that are not finite are masked.
        wavelength: that grid, in Angstrom.
        vectors: which ones; all that model and columns have if empty.
        keep: the columns that come out beside the vectors; all if absent.
        novelty: whether `novelty_image` and the like stand beside them too, which says how unlike the training each
            object is: where `polycli calibrate` kept statistics of it, never, or must.
        allow_untrained: whether data of other bands, scales or wavelengths are warned of alone.

    Raises:
        StoreError: bands or wavelengths are missing.
    """
    if image is None and flux is None:
        raise StoreError("neither a column of images nor one of spectra is named", hint="image='...' or flux='...'")
    if image is not None and not bands:
        raise StoreError(f"the bands of the images in {image} are not said", hint="bands=('g', 'r', 'z')")
    if flux is not None and len(wavelength) == 0:
        raise StoreError(f"the wavelengths of the spectra in {flux} are not said", hint="wavelength=... in Angstrom")
    cells = CellColumns(image, tuple(bands), pixel_scale_arcsec, flux, ivar, tuple(map(float, wavelength)))
    settings = EmbedSettings(
        family="astroclip", verb="embed", vectors=tuple(vectors), novelty=novelty, allow_untrained=allow_untrained
    )
    opener = partial(_opened, Path(checkpoint).absolute(), cells, settings)
    return EmbedPartition(opener, cells.names, None if keep is None else tuple(keep))


def _opened(checkpoint: Path, cells: CellColumns, settings: EmbedSettings) -> _ObjectVectors:
    loaded = load_for(checkpoint, settings)
    there = [name for name in cells.modalities if getattr(loaded, name) is not None]
    kinds = kinds_of(loaded, there, settings, what="the table")
    return _ObjectVectors(loaded, cells, settings, kinds, statistics_of(loaded, settings.novelty, encoded_for(kinds)))


@dataclass(frozen=True)
class _Cells:
    """Images and spectra of a table, read as those of a store are."""

    bands: tuple[str, ...]
    images: NDArray[np.float32] | None
    spectra: Spectra | None

    def read_images(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns (n, band, y, x) nanomaggies."""
        if self.images is None:
            raise StoreError("the table has no images")
        return self.images[rows]

    def read_spectra(self, rows: NDArray[np.int64]) -> Spectra:
        """Returns flux, inverse variance and mask."""
        if self.spectra is None:
            raise StoreError("the table has no spectra")
        return self.spectra.take(rows)


@dataclass(frozen=True)
class _ObjectVectors:
    loaded: LoadedAstroClip
    cells: CellColumns
    settings: EmbedSettings
    kinds: tuple[str, ...]
    novelty: Mapping[str, TrainingVectors]

    def __call__(self, columns: Mapping[str, Column], rows: int) -> dict[str, NDArray[np.float32]]:
        """Returns the vectors of all rows, and their novelty."""
        kinds = self.kinds
        if rows == 0:
            modalities = self.cells.modalities
            modality = {kind: kind if kind in modalities else modalities[0] for kind in kinds}
            widths = {kind: self.loaded.model.width(name) for kind, name in modality.items()}
            empty = {f"{kind}{SUFFIX}": np.empty((0, width), self.settings.dtype) for kind, width in widths.items()}
            return empty | {novelty_name(name): np.empty(0, np.float32) for name in self.novelty}
        read = self._read(columns)
        encoder = Encoder.of(self.loaded, read, self.settings)
        made = encoded(encoder, kinds, np.arange(rows), advance=lambda _: None)
        vectors = vectors_of_kinds(made, kinds, self.settings)
        return {f"{kind}{SUFFIX}": values for kind, values in vectors.items()} | novelty_columns(self.novelty, made)

    def _read(self, columns: Mapping[str, Column]) -> _Cells:
        """Images and spectra, after comparing them with what the model was trained on."""
        image: ImageDescription | None = None
        spectrum: SpectrumDescription | None = None
        images: NDArray[np.float32] | None = None
        spectra: Spectra | None = None
        if self.cells.image is not None:
            images = _numbers(columns, self.cells.image, dimensions=4)
            if images.shape[1] != len(self.cells.bands):
                raise StoreError(
                    f"{self.cells.image}: has {images.shape[1]} bands, and {', '.join(self.cells.bands)} are said"
                )
            image = ImageDescription(
                bands=self.cells.bands,
                size=(images.shape[2], images.shape[3]),
                pixel_scale_arcsec=self.cells.pixel_scale_arcsec,
            )
        if self.cells.flux is not None:
            grid = np.array(self.cells.wavelength)
            flux = _numbers(columns, self.cells.flux, dimensions=2)
            if flux.shape[1] != len(grid):
                raise StoreError(f"{self.cells.flux}: spectra of {flux.shape[1]} pixels, on {len(grid)} wavelengths")
            said = self.cells.ivar is not None
            ivar = _numbers(columns, self.cells.ivar, dimensions=2) if self.cells.ivar else np.ones_like(flux)
            if ivar.shape != flux.shape:
                raise StoreError(f"{self.cells.ivar}: is {ivar.shape}, and the spectra are {flux.shape}")
            mask = ~(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))
            whole = np.broadcast_to(grid, flux.shape)
            spectra = Spectra(np.where(np.isfinite(flux), flux, 0), np.where(mask, 0, ivar), mask, whole)
            found = describe_grid(grid, what="the table")
            spectrum = found.model_copy(update={"ivar": "measured" if said else "unknown"})
        about = SurveyDescription(image=image, spectrum=spectrum, object_id="int64", id_name="row", properties=())
        self.loaded.check(about, "the table")
        if self.loaded.scales:
            self.loaded.check_scales(scales_of(images, self.cells.bands, spectra), "the table")
        return _Cells(self.cells.bands, images, spectra)


def _numbers(columns: Mapping[str, Column], name: str, *, dimensions: int) -> NDArray[np.float32]:
    try:
        values = columns[name].values().astype(np.float32)
    except (StoreError, ValueError, TypeError) as error:
        raise StoreError(f"{name}: {error}") from error
    if values.ndim != dimensions:
        shape = "(band, y, x)" if dimensions == 4 else "(wavelength,)"
        raise StoreError(f"{name}: cells are {values.shape[1:]}, {shape} was expected")
    return values
