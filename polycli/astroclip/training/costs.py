"""The costs of a training: operations of encoders, and of both passes of a step for one object."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

from polycli.astroclip.model.conv_attention import ConvAttention
from polycli.astroclip.model.specformer import SpecFormer, token_count
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.image_costs import image_flops, image_objective_flops
from polycli.engine.costs.flops import PASSES, forward_flops, over_blocks


@lru_cache(maxsize=256)
def spectrum_flops(section: SpectrumSection, pixels: int) -> int:
    """Count the operations of one forward pass of one spectrum, with the Fourier transforms of templates."""
    if section.templates is not None:
        pixels = section.templates.pixels
    # Whether there are positions for so many tokens is for others to say.
    longest = max(section.max_length, token_count(section, pixels))

    def forward(model: nn.Module) -> object:
        values = torch.empty(1, pixels)
        grid = (torch.ones(1, pixels),) if section.grid == "native" else ()
        return model(values, values, torch.empty(1, pixels, dtype=torch.bool), *grid)

    def cost(depth: int) -> int:
        sizes = section.model_copy(update={"depth": depth, "max_length": longest})
        return forward_flops(lambda: SpecFormer(sizes), forward)

    if section.name == "conv_attention":
        return forward_flops(lambda: ConvAttention(section), forward)
    return over_blocks(section.depth, cost)


def pretraining_flops(recipe: PretrainRecipe, pixels: int) -> float:
    """Count the operations of both passes for one object, in the recipe's stage."""
    image, spectrum = _encoders(recipe, pixels)
    if recipe.stage == "image":
        return image_objective_flops(recipe)
    times = {
        name: 1 if recipe.stage == "align" and name in recipe.align.freeze else PASSES for name in ("image", "spectrum")
    }
    if recipe.stage == "align":
        views = {"image": recipe.align.within_image, "spectrum": recipe.align.within_spectrum}
        times = {name: number * (2 if views[name] > 0 else 1) for name, number in times.items()}
    return times["image"] * image + times["spectrum"] * spectrum


def finetuning_flops(recipe: FinetuneRecipe, pixels: int) -> float:
    """Count the operations of both passes for one object, without the head; frozen encoders embed it once, before."""
    return 0.0 if recipe.freeze else PASSES * sum(_encoders(recipe, pixels))


def _encoders(recipe: PretrainRecipe | FinetuneRecipe, pixels: int) -> tuple[float, float]:
    """Count the forward passes of the encoder of images and of that of spectra; 0 where there is none."""
    model = recipe.model
    image = 0.0 if model.image is None else float(image_flops(model.image))
    spectrum = 0.0 if model.spectrum is None or not pixels else float(spectrum_flops(model.spectrum, pixels))
    return image, spectrum
