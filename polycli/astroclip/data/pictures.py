"""Pictures of objects: their cutouts in colour and their spectra, found by `object_id`."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.data.rgb import PLANES, to_rgb
from polycli.astroclip.data.store import ObjectStore
from polycli.store.reader import Store
from polycli.workflow.pictures import Columns, Curve


class ObjectPictures:
    """The images and spectra of one store."""

    def __init__(self, store: Store) -> None:
        self._objects = ObjectStore(store)
        self.has_images = self._objects.has_images and set(self._objects.bands) >= set(PLANES)
        self.has_curves = self._objects.has_spectra

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Maps each id to the first row that has it."""
        ids = self._objects.id_texts()
        return dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))

    def find(self, columns: Columns) -> int | None:
        """The row of the object with this `object_id`; None where there is none."""
        return self._rows.get(str(columns.get("object_id")))

    def image(self, place: int) -> NDArray[np.uint8]:
        """Returns the cutout, (height, width, 3), with the asinh stretch that the image encoder sees."""
        flux = torch.from_numpy(self._objects.read_images([place])[0])
        planes = to_rgb(torch.nan_to_num(flux), self._objects.bands).numpy()
        # Stores have the first line at the bottom, as FITS has.
        return np.ascontiguousarray((planes.transpose(1, 2, 0)[::-1] * 255).round().astype(np.uint8))

    def curve(self, place: int) -> Curve:
        """Returns flux over wavelength; what is masked is unknown."""
        spectra = self._objects.read_spectra([place])
        flux = spectra.flux[0].astype(np.float64)
        wavelength = self._objects.wavelength if spectra.wavelength is None else spectra.wavelength[0]
        flux[spectra.mask[0] | (spectra.ivar[0] <= 0)] = np.nan
        unit = self._objects.about.spectrum
        label = "flux" if unit is None else f"flux / {unit.flux_unit}"
        return Curve(wavelength, flux, "wavelength / \u212b", label)
