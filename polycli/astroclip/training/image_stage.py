"""The image stage of pretraining as tasks of the engine, one for each objective that a recipe can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.training import PretrainRecipe
from polycli.astroclip.training.described import ModelFacts
from polycli.astroclip.training.distillation import LARGE_CROPS, SelfDistillation
from polycli.astroclip.training.distillation_losses import spread
from polycli.astroclip.training.masked_image import MaskedImages
from polycli.astroclip.training.momentum import MomentumContrast
from polycli.astroclip.training.stages import PretrainTask, check_image_size
from polycli.astroclip.training.validation import partner_scores, run_over
from polycli.console import warn
from polycli.engine.layers import depths_in_order
from polycli.engine.task import World
from polycli.errors import RecipeError

#: Unit vectors of validation images that vary less than this are as good as one vector.
SMALLEST_SPREAD = 0.01
#: Factor on cosines of the vectors that a teacher has for two crops, less their mean.
_TEACHER_SCALE = 5.0


class ImagePretraining(PretrainTask):
    """The base of the tasks of learning from images alone."""

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        super().__init__(recipe, stores, world)
        check_image_size(recipe.model, self.batches)

    def description(self) -> ModelFacts:
        """Return what is said of all models of objects, and by which objective this one learned."""
        kind = self.recipe.objective.kind
        return replace(super().description(), objective=None if kind == "moco" else kind)

    def depths(self) -> Mapping[str, int] | None:
        """Return how deep each parameter lies; the backbone is a chain, and heads lie above it."""
        return depths_in_order(self.model, self.network.blocks())

    def spread_of(self, vectors: Tensor, world: World) -> dict[str, float]:
        """Scores how much the vectors of all validation images vary, and warns where they hardly do."""
        found = float(spread(vectors))
        if len(vectors) > 1 and found < SMALLEST_SPREAD and world.rank == 0:
            warn(
                f"the vectors of {len(vectors)} validation images hardly vary: spread {found:.2g}, where 0 is one "
                "vector for all; the encoder has collapsed, or not begun to tell images apart"
            )
        return {"validation/spread": found}


class ContrastPretraining(ImagePretraining):
    """Tell views of an image from other images."""

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        super().__init__(recipe, stores, world)
        self.model = MomentumContrast(self.network, recipe.moco, recipe.augmentation, bands=self.batches.bands)

    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Scores how well each view finds the other view of its image among those of all validation images."""
        _, found = run_over(forward, self._validation, self._count, world)
        scale = 1 / self.recipe.moco.temperature
        scores = partner_scores(found["one"], found["other"], scale=scale, both_ways=False)
        return scores | self.spread_of(found["one"], world)


class DistillationPretraining(ImagePretraining):
    """Foretell what a teacher says of other crops and hidden patches; the teacher is what is exported."""

    model: SelfDistillation

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        super().__init__(recipe, stores, world)
        if self.batches.image is not None and min(self.batches.image.size) < recipe.dinov2.local_size:
            raise RecipeError(
                f"dinov2.local_size {recipe.dinov2.local_size}: the cutouts are {self.batches.image.size[0]} x "
                f"{self.batches.image.size[1]} pixels, smaller than a small crop"
            )
        self.model = SelfDistillation(
            self.network,
            recipe.dinov2,
            recipe.augmentation,
            bands=self.batches.bands,
            steps=recipe.train.steps,
        )

    def exported(self) -> nn.Module:
        """Return the teacher, which is what people share and use."""
        return self.model.teacher

    def patches_per_image(self) -> int:
        """Patches of all crops of one image."""
        section, patch = self.recipe.dinov2, self.model.image.patch_size
        return LARGE_CROPS * super().patches_per_image() + section.local_crops * (section.local_size // patch) ** 2

    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Scores how well the teacher's vector of one crop finds that of the other one of its image."""
        _, found = run_over(forward, self._validation, self._count, world)
        one, other = found["one"], found["other"]
        # What all vectors share would hide how they differ.
        mean = (one.mean(dim=0) + other.mean(dim=0)) / 2
        scores = partner_scores(one - mean, other - mean, scale=_TEACHER_SCALE, both_ways=False)
        return scores | self.spread_of(one, world)


class MaskedImagePretraining(ImagePretraining):
    """The task of reconstructing patches that are hidden."""

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[ObjectStore], world: World) -> None:
        super().__init__(recipe, stores, world)
        self.model = MaskedImages(self.network, recipe.masked_image, recipe.augmentation, bands=self.batches.bands)

    def scores(self, forward: nn.Module, world: World) -> dict[str, float]:
        """The mean over micro-batches of the error, where the middle of each cutout is seen."""
        losses, found = run_over(forward, self._validation, self._count, world)
        return {"validation/loss": float(losses.double().mean())} | self.spread_of(found["vectors"], world)


OBJECTIVES: dict[str, type[ImagePretraining]] = {
    "moco": ContrastPretraining,
    "dinov2": DistillationPretraining,
    "masked": MaskedImagePretraining,
}
