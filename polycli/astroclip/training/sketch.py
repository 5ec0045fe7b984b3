"""A training of AstroCLIP before it starts, for `--dry-run`: one of the stages, or a finetuning."""

from __future__ import annotations

from collections.abc import Sequence

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.astroclip import parameter_count
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.batches import ObjectBatches
from polycli.astroclip.training.costs import finetuning_flops, pretraining_flops
from polycli.astroclip.training.described import StoreUse
from polycli.astroclip.training.image_costs import crop_bytes, follower_bytes, unexported_parameters
from polycli.astroclip.training.stages import check_templates, needs_of
from polycli.workflow.sketch import Sketch, Words

#: What is assumed of spectra where no store is given: DESI's.
ASSUMED_PIXELS = 7781


def sketch(recipe: PretrainRecipe | FinetuneRecipe, stores: Sequence[ObjectStore]) -> Sketch:
    """Sketch a training on stores, or on assumed spectra where there are none; the recipe has the encoders' sizes.

    Raises:
        StoreError: recipe and stores do not fit each other.
        RecipeError: templates are for other wavelengths.
    """
    pixels, data = ASSUMED_PIXELS, dict[str, StoreUse]()
    if stores:
        batches = ObjectBatches(stores, recipe.data, recipe.train, needs_of(recipe))
        check_templates(recipe.model, batches)
        pixels = pixels if batches.spectrum is None else batches.spectrum.pixels
        data = batches.summary()
    if isinstance(recipe, PretrainRecipe):
        stage, flops = str(recipe.stage), pretraining_flops(recipe, pixels)
    else:
        stage, flops = "finetune", finetuning_flops(recipe, pixels)
    images = recipe if isinstance(recipe, PretrainRecipe) and recipe.stage == "image" else None
    return Sketch(
        recipe=recipe,
        parameters=parameter_count(recipe.model),
        flops_per_step=recipe.train.global_batch_size * flops,
        micro_batch_size=recipe.train.micro_batch_size,
        activations=None if images is None else crop_bytes(images),
        unexported=0 if images is None else unexported_parameters(images),
        more_memory={} if images is None else follower_bytes(images),
        data=data,
        assumed=None if stores else {"pixels": ASSUMED_PIXELS},
        words=Words(
            sample=("object", "objects"),
            first={"stage": stage},
            data={
                name: f"{use.training:,} objects to train on, {use.validation:,} held back for validation"
                for name, use in data.items()
            },
        ),
    )
