"""Objects of a store to vectors, batch by batch.

Shared by eval, predict and embed, so that equal objects give equal vectors whatever else is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.astroclip.data.scales import scales_of_store
from polycli.astroclip.data.store import ObjectStore, Spectra
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.recipe.model import MODALITIES, Modality
from polycli.astroclip.recipe.settings import EncodingSettings
from polycli.errors import StoreError
from polycli.workflow.loaded import evaluation_device

#: Of the head, of the backbone before it, or of the templates of a spectrum encoder.
Source = Literal["embedding", "backbone", "templates"]
Vectors = NDArray[np.float32]
#: Images or spectra, as read.
Values = NDArray[np.float32] | Spectra
#: Changes what is read before the model sees it: (values, rows) to values.
ImageLook = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
SpectrumLook = Callable[[Spectra, NDArray[np.int64]], Spectra]


def common_modalities(loaded: LoadedAstroClip, store: ObjectStore) -> tuple[Modality, ...]:
    """Returns the modalities that model and store share, after comparing bands, scales, wavelengths and units.

    Raises:
        StoreError: there is none, or the store's data are not as those of the training.
    """
    loaded.check(store.about, str(store.path))
    if loaded.spectrum is not None and store.has_own_grids:
        loaded.check_ranges(store.wavelength_ranges(), lambda row: store.id_texts([row])[0], str(store.path))
    reads = [name for name in MODALITIES if getattr(loaded, name) is not None]
    if loaded.scales:
        use = {"images": "image" in reads, "spectra": "spectrum" in reads}
        loaded.check_scales(scales_of_store(store, store.rows(), **use), str(store.path))
    found = tuple(name for name in reads if getattr(store.about, name) is not None)
    if not found:
        has, sees = ("spectra" if there else "images" for there in (store.has_spectra, reads[0] == "spectrum"))
        raise StoreError(
            f"{store.path}: holds {has} alone, and the checkpoint reads {sees} alone",
            hint="give data of the checkpoint's modality, or a checkpoint of the align stage, which reads both",
        )
    return found


class Readable(Protocol):
    """Images and spectra that can be read by row: a store, or cells of a table."""

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of the images, in the order of their axis."""
        ...

    def read_images(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Returns (n, band, y, x) nanomaggies."""
        ...

    def read_spectra(self, rows: NDArray[np.int64], /) -> Spectra:
        """Returns flux, inverse variance and mask."""
        ...


class Encoder:
    """A model that turns batches of one store into vectors."""

    def __init__(
        self, model: AstroClip, store: Readable, *, precision: Literal["float32", "bfloat16"], batch_size: int
    ) -> None:
        self.device = evaluation_device()
        self.model = model.requires_grad_(requires_grad=False).to(self.device)
        self.store, self.batch_size = store, batch_size
        self.half = precision == "bfloat16"

    @classmethod
    def of(cls, loaded: LoadedAstroClip, store: Readable, settings: EncodingSettings) -> Encoder:
        """The encoder of a checkpoint, with the batch size and precision of a verb's settings."""
        return cls(loaded.model, store, precision=settings.precision, batch_size=settings.batch_size)

    def batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rows in parts of the batch size."""
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    def vectors(
        self,
        modality: Modality,
        rows: NDArray[np.int64],
        *,
        source: Source = "embedding",
        look: ImageLook | SpectrumLook | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Vectors:
        """(n, d) float32 vectors of `rows`, in their order; of the head, or of the backbone alone."""
        found = []
        for batch, values in self._read_ahead(modality, rows):
            seen = values if look is None else look(values, batch)  # type: ignore[arg-type]
            found.append(self.encode(seen, source=source))
            advance(len(batch))
        return np.concatenate(found) if found else np.empty((0, self.model.width(modality, source)), np.float32)

    def encode(self, values: Values, *, source: Source = "embedding") -> Vectors:
        """Vectors of what was read from the store."""
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            if isinstance(values, Spectra):
                spectra = self.spectrum_input(values)
                if source == "templates":  # Of one grid, and so without wavelengths.
                    return _numbers(self.model.spectrum_templates(spectra.flux, spectra.ivar, spectra.mask))
                if source == "embedding":
                    return _numbers(self.model.embed_spectrum(*spectra))
                return _numbers(self.model.spectrum_features(spectra))
            rgb = self.image_input(values)
            return _numbers((self.model.embed_image if source == "embedding" else self.model.image_features)(rgb))

    def image_input(self, images: NDArray[np.float32]) -> Tensor:
        """Turns (n, bands, H, W) nanomaggies into the input of the image encoder."""
        return self.model.image_input(torch.from_numpy(images).to(self.device), self.store.bands)

    def spectrum_input(self, spectra: Spectra) -> SpectrumInputs:
        """Flux, inverse variance and mask on the device, and wavelengths where the model reads any grid."""
        flux, ivar, mask = (torch.from_numpy(np.ascontiguousarray(part)).to(self.device) for part in spectra)
        section, wavelength = self.model.section.spectrum, None
        if spectra.wavelength is not None and section is not None and section.grid == "native":
            wavelength = torch.from_numpy(spectra.wavelength.astype(np.float32)).to(self.device)
        return SpectrumInputs(flux, ivar, mask.bool(), wavelength)

    def _read_ahead(self, modality: Modality, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Values]]:
        """Batches of rows with what was read of them, one batch ahead of the model."""
        read: Callable[[NDArray[np.int64]], Values]
        read = self.store.read_images if modality == "image" else self.store.read_spectra
        waiting: deque[tuple[NDArray[np.int64], Future[Values]]] = deque()
        with ThreadPoolExecutor(1) as reader:
            for batch in self.batches(rows):
                waiting.append((batch, reader.submit(read, batch)))
                if len(waiting) > 1:
                    ready, values = waiting.popleft()
                    yield ready, values.result()
            for ready, values in waiting:
                yield ready, values.result()


def _numbers(vectors: Tensor) -> Vectors:
    return vectors.float().cpu().numpy()
