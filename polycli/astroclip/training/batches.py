"""Stores to batches of objects, in an order that is a pure function of (seed, step).

Whatever is drawn at random about an object, its augmentation or its mask, is drawn from a key that belongs to its place
in that order. Neither depends on the number of ranks or readers, nor on the micro-batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.astroclip.data.description import ImageDescription, SpectrumDescription, refuse_mismatch, spanning
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.data.scales import Scales, scales_of_store
from polycli.astroclip.data.store import ObjectStore, Spectra
from polycli.astroclip.recipe.model import BANDS
from polycli.astroclip.recipe.training import DataSection
from polycli.astroclip.training.described import StoreUse
from polycli.checkpoints.trained_on import TrainedOn
from polycli.engine.batches.order import shuffled
from polycli.engine.batches.plan import check_division
from polycli.engine.task import Batch, World
from polycli.errors import StoreError
from polycli.requests import Split
from polycli.sections import TrainSection
from polycli.workflow.overlap import trained_entry

Rows = NDArray[np.int64]
#: Keys of validation are those of a training that never happens.
VALIDATION_SEED = -1


class ObjectPool:
    """The objects of one split of several stores, numbered one store behind the other."""

    def __init__(self, stores: Sequence[ObjectStore], rows: Sequence[Rows]) -> None:
        self.stores, self.rows = tuple(stores), tuple(rows)
        self._ends = np.cumsum([len(found) for found in rows])

    @classmethod
    def of(cls, stores: Sequence[ObjectStore], split: Split, *, limit: int | None = None, seed: int = 0) -> ObjectPool:
        """All objects of a split; with a limit so many of each store, at random, and of those smaller limits a part."""
        chosen = []
        for store in stores:
            rows = store.rows(split)
            if limit is not None and limit < len(rows):
                rows = np.sort(rows[shuffled(np.arange(limit), len(rows), seed, "limit", store.name)])
            chosen.append(rows)
        return cls(stores, chosen)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, numbers: Rows, read: Callable[[ObjectStore, Rows], Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Returns what `read` gives for some objects, in their order, whichever stores they are in."""
        owners = np.searchsorted(self._ends, numbers, side="right")
        found: list[NDArray[Any]] | None = None
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            first = 0 if owner == 0 else self._ends[owner - 1]
            parts = read(self.stores[owner], self.rows[owner][numbers[places] - first])
            if len(places) == len(numbers):
                return list(parts)
            if found is None:
                found = [np.empty((len(numbers), *part.shape[1:]), part.dtype) for part in parts]
            for whole, part in zip(found, parts, strict=True):
                whole[places] = part
        return found or []

    def column(self, read: Callable[[ObjectStore, Rows], NDArray[Any]]) -> NDArray[Any]:
        """One value per object, of all objects."""
        return np.concatenate([read(store, rows) for store, rows in zip(self.stores, self.rows, strict=True)])

    def names(self, numbers: Rows) -> tuple[str, ...]:
        """`store[row]` of some objects, for messages; ids would have to be read."""
        owners = np.searchsorted(self._ends, numbers, side="right")
        firsts = self._ends - [len(rows) for rows in self.rows]
        return tuple(
            f"{self.stores[owner].name}[{self.rows[owner][number - firsts[owner]]}]"
            for owner, number in zip(owners, numbers, strict=True)
        )

    def trained_on(self) -> dict[str, TrainedOn]:
        """Maps each store to its hash and those of this pool's rows, as model.json has them."""
        return {
            store.name: trained_entry(store.store, rows) for store, rows in zip(self.stores, self.rows, strict=True)
        }


@dataclass(frozen=True)
class Needs:
    """The data that each object of a batch must have."""

    image: bool = False
    spectrum: bool = False
    ivar: bool = False
    mask: bool = False
    #: Whether spectra may be on unlike grids, so that their wavelengths are read, and shorter ones padded.
    wavelength: bool = False
    #: Bands of the images, in this order, whatever more the stores have; those of the first store if empty.
    bands: tuple[str, ...] = ()
    #: Whether inverse variances must be measured ones: some sources have none, and 1 stands in their place.
    noise: bool = False


@dataclass
class ObjectBatch:
    """One micro-batch, not yet read: the engine's `MicroBatch`."""

    pool: ObjectPool
    numbers: Rows
    keys: Tensor
    needs: Needs
    weight: float
    #: Which of how many micro-batches of this rank's step.
    place: tuple[int, int]
    #: By name: a value per object of the pool, such as what is to be predicted.
    labels: dict[str, Tensor]
    #: The objects, by store and row.
    samples: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.samples = self.pool.names(self.numbers)

    def load(self) -> Batch:
        """Images and spectra as they lie in the stores; everything else happens where the model is."""
        names: list[str] = []
        if self.needs.image:
            names.append("image")
        if self.needs.spectrum:
            names += ["flux", *(name for name in ("ivar", "mask", "wavelength") if getattr(self.needs, name))]
        pixels = max((store.about.spectrum.pixels for store in self.pool.stores if store.about.spectrum), default=0)

        def read(store: ObjectStore, rows: Rows) -> list[NDArray[Any]]:
            found: dict[str, NDArray[Any]] = {"image": self._images(store, rows)} if self.needs.image else {}
            if self.needs.spectrum:
                spectra = store.read_spectra(rows)
                found |= _padded(spectra, pixels) if self.needs.wavelength else vars(spectra)
            return [found[name] for name in names]

        arrays = self.pool.read(self.numbers, read) if names else []
        batch = {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}
        places = torch.from_numpy(self.numbers)
        batch |= {name: values[places] for name, values in self.labels.items()}
        return {**batch, "keys": self.keys, "place": torch.tensor(self.place)}

    def _images(self, store: ObjectStore, rows: Rows) -> NDArray[np.float32]:
        """Images with the bands that are needed, which each store has where it has them."""
        images = store.read_images(rows)
        if not self.needs.bands or store.bands == self.needs.bands:
            return images
        return np.ascontiguousarray(images[:, [store.bands.index(band) for band in self.needs.bands]])


class ObjectBatches:
    """The order of training, and the fixed objects of validation."""

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        data: DataSection,
        train: TrainSection,
        needs: Needs,
        *,
        whole_share: bool = False,
    ) -> None:
        """`whole_share`: a rank's share of the global batch is one micro-batch, which the model cuts by itself."""
        stores = sorted(stores, key=lambda store: store.name)  # the order of --data must not matter
        self.data, self.train, self.needs, self.whole_share = data, train, needs, whole_share
        self.training = ObjectPool.of(stores, "train", limit=data.limit, seed=train.seed)
        self.held_back = ObjectPool.of(stores, "validation")
        self.image, self.spectrum = descriptions(stores, needs)
        #: Of the longest spectra of the store where these are shortest; 0 where there are none. Masking looks after
        #: those that are shorter by themselves.
        self.fewest_pixels = min((store.about.spectrum.pixels for store in stores if store.about.spectrum), default=0)
        if self.image is not None:
            self.needs = replace(needs, bands=self.image.bands)
        #: Whether images and spectra are read; not where vectors among the labels stand for them.
        self.needs_data = True
        #: By name, one value per object of the pool; `finetune` fills them.
        self.training_labels: dict[str, Tensor] = {}
        self.held_back_labels: dict[str, Tensor] = {}
        if not len(self.training):
            raise StoreError(f"{', '.join(str(store.path) for store in stores)}: no object is in the training split")

    @cached_property
    def scales(self) -> dict[str, Scales]:
        """Maps each store to how large the pixels and fluxes are of which some objects train, as model.json has it."""
        pool, use = self.training, {"images": self.image is not None, "spectra": self.spectrum is not None}
        return {
            store.name: scales_of_store(store, rows, **use) for store, rows in zip(pool.stores, pool.rows, strict=True)
        }

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of the images."""
        return BANDS if self.image is None else self.image.bands

    def check_division(self, world_size: int) -> None:
        """Raise RecipeError where the global batch cannot be shared out to this many ranks."""
        check_division(self.train.global_batch_size, 1, world_size, [self.train.micro_batch_size])

    def micro_batches(self, step: int, world: World) -> list[ObjectBatch]:
        """One rank's slice of the global batch of a step, in micro-batches."""
        size = self.train.global_batch_size
        positions = step * size + np.arange(size, dtype=np.int64)
        numbers = shuffled(positions, len(self.training), self.train.seed, "objects")
        keys = keys_of(self.train.seed, torch.from_numpy(positions))
        share = size // world.size
        count = 1 if self.whole_share else share // self.train.micro_batch_size
        mine = slice(world.rank * share, (world.rank + 1) * share)
        chunks = zip(numbers[mine].reshape(count, -1), keys[mine].view(count, -1), strict=True)
        return [
            ObjectBatch(self.training, chunk, own, self._needs(), 1 / count, (index, count), self.training_labels)
            for index, (chunk, own) in enumerate(chunks)
        ]

    def validation(self, world: World) -> tuple[list[ObjectBatch], int]:
        """This rank's part of the validation objects, which never change, and how many there are over all ranks.

        Chunk c goes to rank c modulo the number of ranks, the last chunks filled up with repeats, so that all ranks
        call forward equally often. Of all ranks' chunks in turn, the first so many objects are real.
        """
        total = min(self.data.validation_objects, len(self.held_back))
        if total == 0:
            return [], 0
        numbers = np.linspace(0, len(self.held_back) - 1, total).round().astype(np.int64)
        size = min(self.train.micro_batch_size, total)
        turns = math.ceil(total / (size * world.size))
        padded = np.resize(numbers, turns * world.size * size).reshape(turns, world.size, size)[:, world.rank]
        batches = []
        for chunk in padded:
            keys = keys_of(VALIDATION_SEED, torch.from_numpy(chunk))
            batches.append(ObjectBatch(self.held_back, chunk, keys, self._needs(), 1.0, (0, 1), self.held_back_labels))
        return batches, total

    def _needs(self) -> Needs:
        return self.needs if self.needs_data else Needs()

    def summary(self) -> dict[str, StoreUse]:
        """Describes each store and how much of it is used, as data.json has it."""
        held_back = dict(zip(self.held_back.stores, self.held_back.rows, strict=True))
        return {
            store.name: StoreUse(
                path=str(store.path.resolve()),
                store_hash=store.manifest.store_hash,
                training=len(rows),
                validation=len(held_back[store]),
            )
            for store, rows in zip(self.training.stores, self.training.rows, strict=True)
        }


def _padded(spectra: Spectra, pixels: int) -> dict[str, NDArray[Any]]:
    """Spectra with masked pixels of no wavelength behind them, up to the longest of all stores."""
    more = ((0, 0), (0, pixels - spectra.flux.shape[1]))
    padded = {name: np.pad(values, more) for name, values in vars(spectra).items() if name != "mask"}
    wavelength = padded["wavelength"].astype(np.float32)
    return {**padded, "mask": np.pad(spectra.mask, more, constant_values=True), "wavelength": wavelength}


def descriptions(
    stores: Sequence[ObjectStore], needs: Needs
) -> tuple[ImageDescription | None, SpectrumDescription | None]:
    """Returns the descriptions of images and spectra, on which all stores must agree; None for what is not needed.

    Where grids may differ, the description of the spectra spans them all.

    Raises:
        StoreError: a store lacks a modality, or two differ in bands, pixel scale, wavelengths or units; or the noise of
            spectra is needed, and unknown.
    """
    image, spectrum = (stores[0].about.image, stores[0].about.spectrum) if stores else (None, None)
    if image is not None and needs.bands:
        image = image.model_copy(update={"bands": needs.bands})
    for store in stores:
        for needed, expected, found, kind in (
            (needs.image, image, store.about.image, "images"),
            (needs.spectrum, spectrum, store.about.spectrum, "spectra"),
        ):
            if not needed:
                continue
            if expected is None or found is None:
                raise StoreError(
                    f"{store.path}: has no {kind}, which this training needs", hint="prepare a source that has them"
                )
            if isinstance(found, SpectrumDescription) and found.own and not needs.wavelength:
                raise StoreError(
                    f"{store.path}: its spectra have wavelengths of their own, and this encoder knows one grid",
                    hint="--set model.spectrum.grid=native, or prepare the store with resample.first, last and step",
                )
            refuse_mismatch(expected, found, what=str(store.path), any_grid=needs.wavelength)
            if (
                needs.wavelength
                and isinstance(expected, SpectrumDescription)
                and isinstance(found, SpectrumDescription)
            ):
                spectrum = spanning(expected, found)
            if needs.noise and isinstance(found, SpectrumDescription) and found.ivar == "unknown":
                raise StoreError(
                    f"{store.path}: how noisy its spectra are is unknown, and this training adds noise to them, or "
                    "weighs pixels, by that",
                    hint="prepare a source with inverse variances, or --set augmentation.spectrum_noise=0 --set "
                    "masking.weight=none, and no model.spectrum.templates",
                )
            if (
                isinstance(found, ImageDescription)
                and isinstance(expected, ImageDescription)
                and found.size != expected.size
            ):
                raise StoreError(f"{store.path}: images of {found.size} pixels, {expected.size} was expected")
    return (image if needs.image else None), (spectrum if needs.spectrum else None)
