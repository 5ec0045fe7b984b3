"""Stages of pretraining as tasks of the engine: masked spectra and alignment; images are in `image_stage`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.model.specformer import fewest_pixels, token_count
from polycli.astroclip.recipe.model import ImageSection, ModelSection
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.batches import Needs, ObjectBatches
from polycli.astroclip.training.costs import pretraining_flops
from polycli.astroclip.training.described import ModelFacts
from polycli.astroclip.training.objectives import Alignment, MaskedModelling
from polycli.astroclip.training.task import ObjectsTask
from polycli.astroclip.training.validation import partner_scores, run_over
from polycli.engine.task import World
from polycli.errors import RecipeError

Stage = Literal["spectrum", "image", "align"]


class PretrainTask(ObjectsTask):
    """The base of the three stages of pretraining."""

    recipe: PretrainRecipe

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        """Raise RecipeError or StoreError where recipe, stores and processes do not fit each other."""
        aligns = recipe.stage == "align"
        batches = ObjectBatches(stores, recipe.data, recipe.train, needs_of(recipe), whole_share=aligns)
        super().__init__(recipe, batches, world)
        check_templates(recipe.model, batches)
        torch.manual_seed(recipe.train.seed)  # the same weights on every rank
        self.network = AstroClip(recipe.model)

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Scores over the validation objects, with `validation/loss`; empty where there are none."""
        return self.scores(forward, world) if self._count else {}

    @abstractmethod
    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Returns what `validate` gives, where there is anything to validate on."""

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks, forward and backward."""
        return self.recipe.train.global_batch_size * pretraining_flops(self.recipe, self._pixels())

    def tokens_per_step(self) -> float:
        """Patches and pieces of spectra of one optimizer step over all ranks."""
        model, tokens = self.recipe.model, self.patches_per_image()
        if model.spectrum is not None:
            tokens += token_count(model.spectrum, self._pixels()) + model.spectrum.added_tokens
        return float(tokens * self.recipe.train.global_batch_size)

    def patches_per_image(self) -> int:
        """Patches of all that training looks at of one image."""
        image = self.recipe.model.image
        return 0 if image is None or image.name != "vit" else (image.size // image.patch_size) ** 2

    def _pixels(self) -> int:
        return 0 if self.batches.spectrum is None else self.batches.spectrum.pixels


class SpectrumPretraining(PretrainTask):
    """The task of reconstructing hidden stretches of spectra."""

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        super().__init__(recipe, stores, world)
        section = self.network.section.spectrum
        tokens = 0 if section is None else token_count(section, self.batches.fewest_pixels)
        region = tokens // recipe.masking.chunks
        if region <= recipe.masking.chunk_length:
            raise RecipeError(
                f"masking: {tokens} tokens in {recipe.masking.chunks} regions of {region} are too short for "
                f"stretches of {recipe.masking.chunk_length}",
                hint=f"--set masking.chunk_length={max(region // 2, 1)}",
            )
        if section is not None and section.grid == "trained" and tokens > section.max_length:
            raise RecipeError(
                f"model.spectrum.max_length {section.max_length}: {self._pixels()} pixels are {tokens} tokens",
                hint=f"--set model.spectrum.max_length={tokens}",
            )
        self.model = MaskedModelling(self.network, recipe.masking)

    def description(self) -> ModelFacts:
        """Return what is said of all models of objects, and how spectra were hidden, which eval repeats."""
        return replace(super().description(), masking=self.recipe.masking)

    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """The mean over micro-batches of the loss, which includes the templates' where there are some."""
        losses, _ = run_over(forward, self._validation, self._count, world)
        return {"validation/loss": float(losses.double().mean())}


class AlignPretraining(PretrainTask):
    """Find the spectrum of an image and the image of a spectrum."""

    def __init__(
        self,
        recipe: PretrainRecipe,
        stores: Sequence[ObjectStore],
        world: World,
        initial: Mapping[str, LoadedAstroClip] | None = None,
    ) -> None:
        """`initial`: by `init.image` and `init.spectrum`, what to start from; of the sizes that the recipe has."""
        super().__init__(recipe, stores, world)
        self.earlier = {place: loaded.trained_on for place, loaded in (initial or {}).items()}
        check_image_size(recipe.model, self.batches)
        check_spectrum_length(recipe.model, self.batches)
        for place, loaded in (initial or {}).items():
            copy_encoder(loaded.model, self.network, place.removeprefix("init."))
        self.model: Alignment = Alignment(
            self.network,
            recipe.align,
            recipe.augmentation,
            bands=self.batches.bands,
            chunk_size=recipe.train.micro_batch_size,
        )

    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Scores how well images and spectra find each other among all validation objects, at the published scale."""
        _, found = run_over(forward, self._validation, self._count, world)
        return partner_scores(found["one"], found["other"], scale=self.recipe.align.scale)


def needs_of(recipe: PretrainRecipe | FinetuneRecipe) -> Needs:
    """Returns what the model, and the changes to its input, have to see of each object."""
    model = recipe.model
    inputs = () if model.spectrum is None else model.spectrum.inputs
    # Masked modelling changes no spectrum, nor does a head on vectors that were made once.
    changes = recipe.stage == "align" if isinstance(recipe, PretrainRecipe) else not recipe.freeze
    noisier = model.spectrum is not None and changes and recipe.augmentation.spectrum_noise > 0
    weighs = isinstance(recipe, PretrainRecipe) and recipe.stage == "spectrum" and recipe.masking.weight == "ivar"
    fits = model.spectrum is not None and model.spectrum.templates is not None
    native = model.spectrum is not None and model.spectrum.grid == "native"
    return Needs(
        image=model.image is not None,
        spectrum=model.spectrum is not None,
        bands=() if model.image is None else model.image.bands,
        ivar="ivar" in inputs or noisier,
        mask="mask" in inputs or native,
        wavelength=native,
        noise=noisier or weighs or fits,
    )


def check_image_size(model: ModelSection, batches: ObjectBatches) -> None:
    """`RecipeError` where cutouts are smaller than the model's input."""
    if model.image is None or batches.image is None:
        return
    if min(batches.image.size) < model.image.size:
        raise RecipeError(
            f"model.image.size {model.image.size}: the cutouts are {batches.image.size[0]} x {batches.image.size[1]} "
            "pixels, smaller than the model's input",
            hint=_size_that_fits(model.image, min(batches.image.size)),
        )


def check_spectrum_length(model: ModelSection, batches: ObjectBatches) -> None:
    """`RecipeError` where no piece of the model's fits into the spectra."""
    if model.spectrum is None or batches.spectrum is None:
        return
    pixels, fewest = batches.spectrum.pixels, fewest_pixels(model.spectrum)
    if pixels < fewest:
        raise RecipeError(
            f"model.spectrum.section_length {model.spectrum.section_length}: the spectra are {pixels} pixels long, and "
            f"at least {fewest} were expected",
            hint=f"model.spectrum.section_length={pixels + model.spectrum.section_length - fewest} or less, and a "
            "section_step that is no longer",
        )


def _size_that_fits(section: ImageSection, pixels: int) -> str:
    """Names the largest input that cutouts of so many pixels fill, and patch sizes with which none is left over."""
    if section.name != "vit":
        return f"--set model.image.size={pixels} fits"
    largest = pixels // section.patch_size * section.patch_size
    whole = [size for size in range(4, pixels // 4 + 1) if pixels % size == 0]
    others = f"of {pixels} pixels, patches of {', '.join(map(str, whole))} leave nothing over" if whole else ""
    if largest == 0:
        return f"patches of {section.patch_size} pixels are larger than the cutouts{f'; {others}' if others else ''}"
    fits = f"--set model.image.size={largest} fits with patches of {section.patch_size}"
    return fits if largest == pixels or not others else f"{fits}; {others}"


def check_templates(model: ModelSection, batches: ObjectBatches) -> None:
    """`RecipeError` where templates are for other wavelengths than the spectra have."""
    section, grid = None if model.spectrum is None else model.spectrum.templates, batches.spectrum
    if section is None or grid is None:
        return
    if grid.step is None:
        raise RecipeError(
            "model.spectrum.templates: the wavelengths of these stores do not rise in even steps, as templates need",
            hint="prepare the stores with resample.first, resample.last and resample.step in the recipe",
        )
    for name in ("first", "last", "step"):
        found, expected = getattr(grid, name), getattr(section, name)
        if not math.isclose(found, expected, rel_tol=1e-4):
            raise RecipeError(
                f"model.spectrum.templates.{name} is {expected:g} A, the spectra have {found:g} A",
                hint=f"--set model.spectrum.templates.{name}={found:g}",
            )


def copy_encoder(source: AstroClip, target: AstroClip, modality: str) -> None:
    """Give `target` one encoder of `source`: the backbone, and the head where both have alike ones."""
    prefix = f"{modality}_encoder."
    ours = target.state_dict()
    theirs = {name: value for name, value in source.state_dict().items() if name.startswith(prefix)}
    head = {name: value.shape for name, value in ours.items() if name.startswith(prefix) and ".backbone." not in name}
    if any(name not in theirs or theirs[name].shape != shape for name, shape in head.items()):
        theirs = {name: value for name, value in theirs.items() if ".backbone." in name}
    target.load_state_dict({**ours, **theirs})
