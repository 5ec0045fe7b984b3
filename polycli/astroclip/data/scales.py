"""Measures how large pixels and fluxes are, so that a model meets no data in another unit than its training's.

Units are often guessed, and numbers a thousand times too large give vectors and predictions all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from polycli.astroclip.data.store import ObjectStore, Spectra

#: Objects of a store that are looked at, in so many runs of neighbouring rows: chunks are read whole.
_OBJECTS, _RUNS = 64, 4
#: Noise and signal both so many times the training's, or that small a part: said, and beyond any survey's difference.
SAID, REFUSED = 4.0, 15.0
#: Of normally distributed values, the median of absolute differences of two over their standard deviation.
_NORMAL = 0.6745 * math.sqrt(2)


class Scale(BaseModel):
    """Medians over objects, in the unit of the values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Standard deviation from pixel to pixel.
    noise: float
    #: The pixel that 1 % of an image exceeds, or the middle of a spectrum's absolute fluxes.
    signal: float


class Scales(BaseModel):
    """The scales of images by band, and of spectra; empty and None where there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Mapping[str, Scale] = Field(default_factory=dict)
    spectrum: Scale | None = None


class OtherScale(NamedTuple):
    """Values whose noise and signal are both larger than the training's, or both smaller."""

    #: Of what: `pixels in band r`, or `fluxes`.
    what: str
    found: Scale
    trained: Scale
    #: How many times at least; below 1 where they are smaller.
    factor: float

    @property
    def is_beyond_surveys(self) -> bool:
        """Whether no other instrument explains it."""
        return abs(math.log(self.factor)) > math.log(REFUSED)

    @property
    def hint(self) -> str:
        """Says by how much the unit that the data were prepared with would have to differ."""
        if self.what == "fluxes":
            other = f"{self.factor:.3g} times smaller" if self.factor > 1 else f"{1 / self.factor:.3g} times larger"
            return f"prepare the data again with their unit: an arrays.flux_unit {other} than it was makes them alike"
        return (
            "prepare the data again with their unit: arrays.pixel_unit, or an arrays.zero_point "
            f"{2.5 * math.log10(self.factor):+.2f} magnitudes from what it was makes them alike"
        )

    def sentence(self, what: str) -> str:
        """Says it of data that are named `what`."""
        larger = f"{self.factor:.3g} times larger" if self.factor > 1 else f"{1 / self.factor:.3g} times smaller"
        return (
            f"{what}: {self.what} are {larger} than those of the training: noise {self.found.noise:.3g} against "
            f"{self.trained.noise:.3g}, signal {self.found.signal:.3g} against {self.trained.signal:.3g}"
        )


def scales_of(images: NDArray[np.float32] | None, bands: Sequence[str], spectra: Spectra | None) -> Scales:
    """Scales of images, (n, band, y, x), and of spectra; None for what there is not. Of many, some are looked at."""
    found = {}
    if images is not None:
        for place, band in enumerate(bands):
            plane = images[_some(len(images)), place]
            if scale := _scale(plane, np.isfinite(plane) & (plane != 0), 99):
                found[band] = scale
    if spectra is None:
        return Scales(image=found)
    few = spectra.take(_some(len(spectra.flux)))
    return Scales(image=found, spectrum=_scale(few.flux, ~few.mask & (few.flux != 0), 50))


def scales_of_store(
    store: ObjectStore, rows: NDArray[np.int64], *, images: bool = True, spectra: bool = True
) -> Scales:
    """Scales of some of these rows of a store, where it has `images` or `spectra` and they are asked for."""
    some = rows[_some(len(rows))]
    if not len(some):
        return Scales()
    return scales_of(
        store.read_images(some) if images and store.has_images else None,
        store.bands,
        store.read_spectra(some) if spectra and store.has_spectra else None,
    )


def other_scales(found: Scales, trained: Iterable[Scales]) -> list[OtherScale]:
    """Lists what is of another scale than that of every store of the training, by the one that is nearest."""
    known = list(trained)
    pairs = [
        (f"pixels in band {band}", scale, [each.image[band] for each in known if band in each.image])
        for band, scale in found.image.items()
    ]
    if found.spectrum is not None:
        pairs.append(("fluxes", found.spectrum, [each.spectrum for each in known if each.spectrum is not None]))
    others = []
    for what, scale, candidates in pairs:
        if candidates:
            nearest = min(candidates, key=lambda each: abs(math.log(_factor(scale, each))))
            others.append(OtherScale(what, scale, nearest, _factor(scale, nearest)))
    return [other for other in others if abs(math.log(other.factor)) > math.log(SAID)]


def _some(count: int) -> NDArray[np.int64]:
    """Places of some of so many objects: evenly placed runs of neighbours."""
    runs = np.array_split(np.arange(count), _RUNS)
    return np.concatenate([run[: _OBJECTS // _RUNS] for run in runs])


def _factor(found: Scale, trained: Scale) -> float:
    """How many times both are larger at least, or smaller; 1 where one is larger and the other is not."""
    ratios = [
        math.log(ours / theirs)
        for ours, theirs in ((found.noise, trained.noise), (found.signal, trained.signal))
        if ours > 0 and theirs > 0
    ]
    if not ratios or min(ratios) < 0 < max(ratios):
        return 1.0
    return math.exp(min(ratios, key=abs))


def _scale(values: NDArray[np.float32], used: NDArray[np.bool_], percentile: float) -> Scale | None:
    """Medians over those of some objects, (n, ..., pixels), that have pixels to be used."""
    noises, signals = [], []
    for one, here in zip(values, used, strict=True):
        both = here[..., 1:] & here[..., :-1]
        if both.any():
            noises.append(float(np.median(np.abs(np.diff(one, axis=-1)[both]))) / _NORMAL)
            signals.append(float(np.percentile(np.abs(one[here]), percentile)))
    return Scale(noise=float(np.median(noises)), signal=float(np.median(signals))) if noises else None
