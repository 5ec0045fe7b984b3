"""The task of predicting columns of the stores, by a small network on a checkpoint's embeddings."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from polycli.astroclip.data.columns import one_unit
from polycli.astroclip.data.scales import scales_of_store
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.data.votes import refuse_absent_votes
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.recipe.model import ModelSection, PropertySection
from polycli.astroclip.recipe.training import FinetuneRecipe
from polycli.astroclip.training.batches import ObjectBatch, ObjectBatches, ObjectPool, Rows
from polycli.astroclip.training.costs import finetuning_flops
from polycli.astroclip.training.described import BeganFrom, ModelFacts
from polycli.astroclip.training.objectives import PropertyFit, input_view
from polycli.astroclip.training.stages import check_image_size, needs_of
from polycli.astroclip.training.task import ObjectsTask
from polycli.astroclip.training.validation import coefficient_of_determination, run_over
from polycli.astroclip.training.votes import counted_votes, refuse_unvoted, right_answers
from polycli.console import note, say
from polycli.engine.costs.flops import PASSES
from polycli.engine.deepspeed.backend import device_of
from polycli.engine.ranks import gather
from polycli.engine.task import World
from polycli.errors import CheckpointError, RecipeError, StoreError, problems_of
from polycli.nn.quantiles import middle_of

#: Objects embedded at a time, where the encoders stay as they are.
EMBEDDED_AT_A_TIME = 64
#: A column that varies less than this, relative to its size, is not blown up to unit deviation.
_SMALLEST_DEVIATION = 1e-6
#: Sizes of the largest number of a column between which heads, which reckon in float32, learn it.
_SIZES = (1e-35, 1e37)


def complete(recipe: FinetuneRecipe, loaded: LoadedAstroClip | None, stores: Sequence[ObjectStore]) -> FinetuneRecipe:
    """The recipe with the checkpoint's encoders in it, those alone that the head sees, and the classes spelled out.

    Without a checkpoint, the encoders are those that the recipe describes.

    Raises:
        CheckpointError: the checkpoint lacks an encoder that the head is to see.
        StoreError: a store lacks a column, or it is of another kind.
    """
    properties = _properties(recipe)
    if properties.votes is not None:
        refuse_absent_votes(properties.votes, stores)
    has = recipe.model if loaded is None else loaded.model.section
    parts: dict[str, BaseModel | None] = {"heads": has.heads, "image": None, "spectrum": None}
    for name in properties.modalities:
        parts[name] = getattr(has, name)
        if parts[name] is None and loaded is not None:
            raise CheckpointError(
                f"{loaded.model_file}: a checkpoint without {name} encoder, and model.properties.modalities names "
                f"{name}",
                hint=f"--set 'model.properties.modalities=[{'spectrum' if name == 'image' else 'image'}]'",
            )
    classes = {name: given or _classes(name, stores, recipe) for name, given in properties.classification.items()}
    parts["properties"] = properties.model_copy(update={"classification": classes})
    try:
        model = ModelSection.model_validate({name: part and part.model_dump() for name, part in parts.items()})
    except ValidationError as error:
        raise RecipeError(f"the head does not fit the checkpoint: {problems_of(error)}") from error
    return recipe.model_copy(update={"model": model})


class PropertyFinetuning(ObjectsTask):
    """The task of predicting columns of the stores."""

    recipe: FinetuneRecipe

    def __init__(
        self, recipe: FinetuneRecipe, stores: Sequence[ObjectStore], world: World, loaded: LoadedAstroClip | None
    ) -> None:
        """Raise RecipeError or StoreError where recipe, stores, checkpoint and processes do not fit each other."""
        self._began_from, self._properties = loaded, _properties(recipe)
        self.earlier = {} if loaded is None else {"--checkpoint": loaded.trained_on}
        if loaded is not None:
            for store in stores:
                loaded.check(store.about, str(store.path))
                loaded.check_scales(scales_of_store(store, store.rows("train")), str(store.path))
        self._units = _units(self._properties.regression, stores)
        super().__init__(recipe, ObjectBatches(stores, recipe.data, recipe.train, needs_of(recipe)), world)
        check_image_size(recipe.model, self.batches)
        self._read_labels()
        torch.manual_seed(recipe.train.seed)  # the same head on every rank
        self.network = AstroClip(recipe.model)
        if loaded is not None:
            self.network.load_state_dict({**self.network.state_dict(), **_shared(loaded.model, self.network)})
        numbers = self.batches.training_labels["numbers"]
        head = self.network.property_head()
        for index in range(numbers.shape[1]):
            # In float64: the squares of what float32 still holds may be beyond it.
            known = numbers[:, index][torch.isfinite(numbers[:, index])].double()
            least = _SMALLEST_DEVIATION * float(known.abs().max()) or 1.0
            head.centre[index] = known.mean()
            head.scale[index] = known.std(correction=0).clamp(min=least)
        fit = PropertyFit(self.network, recipe.augmentation, bands=self.batches.bands)
        fit.freeze_unused(everything=recipe.freeze)
        self.model: nn.Module = fit

    def begin(self, world: World) -> None:
        """Embed all objects once, each rank its part, and standardise the head's input.

        Where the encoders train too, this looks at some objects alone, for the standardisation.
        """
        device = device_of(world)
        self.network.to(device).eval()
        batches = self.batches
        head = self.network.property_head()
        if not self.recipe.freeze:
            some = ObjectPool(
                batches.training.stores, [rows[:: max(len(rows) // 256, 1)] for rows in batches.training.rows]
            )
            _standardise(head, self._embedded(some, world, device))
            return
        say(f"embedding {len(batches.training)} objects to train on and {len(batches.held_back)} to validate on")
        vectors = self._embedded(batches.training, world, device)
        _standardise(head, vectors)
        batches.training_labels["vectors"] = vectors
        if len(batches.held_back):
            batches.held_back_labels["vectors"] = self._embedded(batches.held_back, world, device)
        batches.needs_data = False
        self._validation, self._count = batches.validation(world)

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """The loss, R2 of each number, accuracy of each classification and question over the validation objects."""
        if not self._count:
            return {}
        losses, found = run_over(forward, self._validation, self._count, world)
        truth = {
            name: torch.cat([batch.labels[name][torch.from_numpy(batch.numbers)] for batch in self._all_validation()])[
                : self._count
            ]
            for name in ("numbers", "classes", "votes")
        }
        scores = {"validation/loss": float(losses.double().mean())}
        quantiles, values = self._properties.quantiles, self.network.property_head().posterior.answers
        middle = middle_of(quantiles) if quantiles else 0
        for place, name in enumerate(self._properties.regression):
            prediction = found["numbers"][:, place * values + middle]
            scores[f"validation/{name}/r2"] = coefficient_of_determination(prediction, truth["numbers"][:, place])
        for place, name in enumerate(self._properties.classification):
            known = truth["classes"][:, place] >= 0
            right = found[f"classes/{place}"][known] == truth["classes"][known, place]
            scores[f"validation/{name}/accuracy"] = float(right.float().mean()) if len(right) else float("nan")
        if self._properties.votes is not None:
            scores |= right_answers(self._properties.votes, found["votes"], truth["votes"])
        return scores

    def description(self) -> ModelFacts:
        """Return what is said of all models of objects, and from what this one began."""
        began_from, loaded = None, self._began_from
        if loaded is not None:
            began_from = BeganFrom(checkpoint=str(loaded.model_file), model_hash=loaded.model_hash)
        return replace(
            super().description(), frozen=self.recipe.freeze, began_from=began_from, units=self._units or None
        )

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks."""
        head = sum(parameter.numel() for parameter in self.network.property_head().parameters())
        pixels = 0 if self.batches.spectrum is None else self.batches.spectrum.pixels
        of_head = PASSES * 2.0 * head
        return self.recipe.train.global_batch_size * (of_head + finetuning_flops(self.recipe, pixels))

    def _all_validation(self) -> list[ObjectBatch]:
        batches, _ = self.batches.validation(World())
        return batches

    def _read_labels(self) -> None:
        properties = self._properties
        for pool, labels in (
            (self.batches.training, self.batches.training_labels),
            (self.batches.held_back, self.batches.held_back_labels),
        ):
            numbers = [pool.column(partial(_target, name)) for name in properties.regression]
            for name, values in zip(properties.regression, numbers, strict=True):
                _refuse_sizes(name, values)
            codes = [pool.column(partial(_codes, name, known)) for name, known in properties.classification.items()]
            labels["numbers"] = _stacked(numbers, len(pool), torch.float32)
            labels["classes"] = _stacked(codes, len(pool), torch.long)
            labels["votes"] = counted_votes(properties.votes, pool)
        training = self.batches.training_labels
        if properties.votes is not None:
            refuse_unvoted(properties.votes, training["votes"])
        for name, values in zip(properties.regression, training["numbers"].T, strict=True):
            known = int(torch.isfinite(values).sum())
            if known < 2:
                raise StoreError(f"column {name}: {known} of {len(values)} training objects have a value")
            if properties.quantiles:
                _refuse_constant(name, values[torch.isfinite(values)])
            if known < len(values):
                note(
                    f"column {name}: {len(values) - known} of {len(values)} training objects have no value, passed over"
                )

    @torch.no_grad()
    def _embedded(self, pool: ObjectPool, world: World, device: torch.device) -> Float[Tensor, "n d"]:
        """The head's input for all objects of a pool, on every rank."""
        parts = []
        for start in range(world.rank * EMBEDDED_AT_A_TIME, len(pool), world.size * EMBEDDED_AT_A_TIME):
            numbers = torch.arange(start, min(start + EMBEDDED_AT_A_TIME, len(pool)))
            batch = ObjectBatch(pool, numbers.numpy(), numbers, self.batches.needs, 1.0, (0, 1), {}).load()
            batch = {name: values.to(device) for name, values in batch.items()}
            rgb = None
            if "image" in batch:
                rgb = input_view(self.network, batch["image"], batch["keys"], None, bands=self.batches.bands)
            vectors = self.network.property_input(rgb, SpectrumInputs.of(batch))
            parts.append((start, vectors.float().cpu()))
        ordered = sorted((part for found in gather(world, parts) for part in found), key=lambda part: part[0])
        return torch.cat([vectors for _, vectors in ordered])


def _properties(recipe: FinetuneRecipe) -> PropertySection:
    if recipe.model.properties is None:
        raise RecipeError("model.properties says what to predict, and is absent")
    return recipe.model.properties


def _classes(name: str, stores: Sequence[ObjectStore], recipe: FinetuneRecipe) -> tuple[str, ...]:
    """The classes of the training rows, in order."""
    found: set[str] = set()
    pool = ObjectPool.of(stores, "train", limit=recipe.data.limit, seed=recipe.train.seed)
    for store, rows in zip(pool.stores, pool.rows, strict=True):
        codes, names = store.labels(name, rows)
        found |= {names[code] for code in set(codes.tolist()) if code >= 0}
    if len(found) < 2:
        raise StoreError(f"column {name}: {len(found)} classes among the training objects, two at least are needed")
    return tuple(sorted(found))


def _refuse_sizes(name: str, values: NDArray[np.float64]) -> None:
    """Refuse a column whose numbers float32 has not, or not to all its digits.

    Raises:
        StoreError: the largest number is too large or too small.
    """
    known = np.abs(values[np.isfinite(values)])
    largest = float(known.max(initial=0))
    if largest and not _SIZES[0] <= largest <= _SIZES[1]:
        raise StoreError(
            f"column {name}: its largest number is of size {largest:.3g}, and heads, which reckon in float32, learn "
            f"columns of {_SIZES[0]:g} to {_SIZES[1]:g}",
            hint="join a column of its logarithm, or in another unit, in prepare, and predict that one",
        )


def _refuse_constant(name: str, known: Float[Tensor, " n"]) -> None:
    """Refuse a column without spread, of which no posterior can be learnt or judged.

    Raises:
        StoreError: all known values are the same, or are in float32, in which heads learn.
    """
    if bool((known == known[0]).all()):
        raise StoreError(
            f"column {name}: all {len(known)} training objects that have a value have {float(known[0]):.8g}; the "
            "posterior of a constant is no posterior",
            hint="leave it out of model.properties.regression",
        )


def _units(names: Sequence[str], stores: Sequence[ObjectStore]) -> dict[str, str]:
    """Finds the units of the columns, those alone that a store states.

    Raises:
        StoreError: two stores state different ones of a column.
    """
    found = {name: one_unit(name, {str(store.path): store.units.get(name, "") for store in stores}) for name in names}
    return {name: unit for name, unit in found.items() if unit}


def _target(name: str, store: ObjectStore, rows: Rows) -> NDArray[np.float64]:
    return store.target(name, rows)


def _codes(name: str, known: Sequence[str], store: ObjectStore, rows: Rows) -> NDArray[np.int64]:
    """Class numbers in the order of `known`; -1 for classes that are not among them, or not known."""
    codes, names = store.labels(name, rows)
    unknown = sorted(set(names) - set(known))
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        note(f"{store.path}: column {name} has the class {unknown[0]!r} too" + (f", near {near[0]!r}" if near else ""))
    order = np.array([known.index(found) if found in known else -1 for found in names] + [-1], np.int64)
    return order[codes]


def _stacked(columns: Sequence[Any], count: int, dtype: torch.dtype) -> Tensor:
    if not columns:
        return torch.zeros(count, 0, dtype=dtype)
    return torch.stack([torch.from_numpy(column).to(dtype) for column in columns], dim=1)


def _shared(source: AstroClip, target: AstroClip) -> dict[str, Tensor]:
    """The encoders' tensors that both models have."""
    names = {name for name in target.state_dict() if not name.startswith("properties.")}
    return {name: value for name, value in source.state_dict().items() if name in names}


def _standardise(head: nn.Module, vectors: Float[Tensor, "n d"]) -> None:
    deviation, mean = torch.std_mean(vectors, dim=0, correction=0)
    head.get_buffer("input_centre").copy_(mean)
    head.get_buffer("input_scale").copy_(deviation.clamp(min=_SMALLEST_DEVIATION))
