"""The costs of learning from images: operations for one image, and what each objective holds in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn

from polycli.astroclip.model.astroclip import image_backbone, parameter_count
from polycli.astroclip.model.heads import MlpHead
from polycli.astroclip.model.masking import seen_patches
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import ImageSection
from polycli.astroclip.recipe.objectives import Dinov2Section, MaskedImageSection
from polycli.astroclip.recipe.training import PretrainRecipe
from polycli.astroclip.training.distillation import LARGE_CROPS, prototype_head
from polycli.astroclip.training.masked_image import PatchDecoder
from polycli.engine.blocks import recompute_blocks
from polycli.engine.costs.activations import kept_bytes
from polycli.engine.costs.flops import PASSES, forward_flops, over_blocks
from polycli.nn.skeleton import skeleton

_FLOAT = 4  # bytes


class VectorsSeen(NamedTuple):
    """How many vectors of one image go through DINOv2's heads, on average."""

    student: float
    teacher: float
    #: Hidden patches, through the heads of both.
    patches: float


@lru_cache(maxsize=256)
def image_flops(section: ImageSection) -> int:
    """Count the operations of one forward pass of one image."""

    def forward(model: nn.Module) -> object:
        return model(torch.empty(1, section.planes, section.size, section.size))

    def cost(depth: int) -> int:
        return forward_flops(lambda: VisionTransformer(section.model_copy(update={"depth": depth})), forward)

    if section.name != "vit":
        return forward_flops(lambda: image_backbone(section), forward)
    return over_blocks(section.depth, cost)


def image_objective_flops(recipe: PretrainRecipe) -> float:
    """Count the operations of the image stage for one object, with those of DINOv2's heads and of decoders."""
    section = recipe.model.image
    if section is None:
        return 0.0
    image = float(image_flops(section))
    if recipe.objective.kind == "moco":
        return (PASSES + 1) * image  # the momentum encoder sees one view, forward alone
    if recipe.objective.kind == "masked":
        return PASSES * float(masked_flops(section, recipe.masked_image))
    small, seen = small_crop(section, recipe.dinov2), vectors_seen(section, recipe.dinov2)
    crops = recipe.dinov2.local_crops
    head = float(
        forward_flops(
            lambda: prototype_head(section, recipe.dinov2), lambda model: model(torch.empty(1, section.features))
        )
    )
    of_heads = PASSES * (seen.student + seen.patches) + seen.teacher + seen.patches
    of_crops = (PASSES + 1) * LARGE_CROPS * image + (PASSES * crops * image_flops(small) if crops else 0)
    return of_crops + of_heads * head


@lru_cache(maxsize=256)
def masked_flops(section: ImageSection, masked: MaskedImageSection) -> int:
    """Count the operations of one forward pass of the masked autoencoder on one image."""
    patches = (section.size // section.patch_size) ** 2

    def encode(model: VisionTransformer) -> object:
        seen, _ = seen_patches(torch.zeros(1, dtype=torch.long), patches, hidden=masked.hidden)
        return model(torch.empty(1, section.planes, section.size, section.size), seen=seen)

    def decode(model: PatchDecoder) -> object:
        seen, hidden = seen_patches(torch.zeros(1, dtype=torch.long), patches, hidden=masked.hidden)
        return model(torch.empty(1, 1 + seen.shape[1], section.embed_dim), seen, hidden)

    def encoder(depth: int) -> int:
        return forward_flops(lambda: VisionTransformer(section.model_copy(update={"depth": depth})), encode)

    def decoder(depth: int) -> int:
        sizes = masked.model_copy(update={"decoder_depth": depth})
        return forward_flops(lambda: PatchDecoder(section, sizes), decode)

    return over_blocks(section.depth, encoder) + over_blocks(masked.decoder_depth, decoder)


def small_crop(section: ImageSection, crops: Dinov2Section) -> ImageSection:
    """The encoder as it sees a small crop."""
    return section.model_copy(update={"size": crops.local_size})


def vectors_seen(section: ImageSection, crops: Dinov2Section) -> VectorsSeen:
    """Count the vectors that go through the heads for one image."""
    patches = LARGE_CROPS * (section.size // section.patch_size) ** 2
    share = crops.masked_images * (crops.least_masked + crops.most_masked) / 2 if crops.patch_weight > 0 else 0.0
    return VectorsSeen(LARGE_CROPS + crops.local_crops, LARGE_CROPS, share * patches)


def unexported_parameters(recipe: PretrainRecipe) -> int:
    """Count the parameters that an objective trains beside the network: a projection, heads or a decoder."""
    section = recipe.model.image
    if section is None:
        return 0
    with skeleton():
        if recipe.objective.kind == "moco":
            beside: nn.Module = MlpHead(section.features, recipe.moco.projection)
        elif recipe.objective.kind == "dinov2":
            beside = prototype_head(section, recipe.dinov2)
        else:
            beside = PatchDecoder(section, recipe.masked_image)
    count = sum(parameter.numel() for parameter in beside.parameters())
    return 2 * count if recipe.objective.kind == "dinov2" and recipe.dinov2.separate_heads else count


def follower_bytes(recipe: PretrainRecipe) -> dict[str, int]:
    """Count what each process holds that no optimizer moves: the slower copy of all that trains, and MoCo's queue."""
    if recipe.objective.kind == "masked":
        return {}
    numbers = parameter_count(recipe.model) + unexported_parameters(recipe)
    if recipe.objective.kind == "moco":
        return {"momentum_encoder": _FLOAT * (numbers + recipe.moco.queue_size * recipe.moco.projection)}
    return {"teacher": _FLOAT * numbers}


def crop_bytes(recipe: PretrainRecipe) -> int | None:
    """Count what the student's forward passes over the crops of one micro-batch keep, with the logits; for DINOv2."""
    section, crops = recipe.model.image, recipe.dinov2
    if section is None or recipe.objective.kind != "dinov2":
        return None
    batch, seen = recipe.train.micro_batch_size, vectors_seen(section, crops)

    def kept(size: ImageSection, images: int) -> int:
        def make(depth: int) -> VisionTransformer:
            model = VisionTransformer(size.model_copy(update={"depth": depth}))
            if recipe.engine.activation_checkpointing:
                recompute_blocks(list(model.blocks))
            return model

        def forward(model: VisionTransformer) -> object:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.engine.precision == "bfloat16"):
                return model(torch.empty(images, size.planes, size.size, size.size))

        return over_blocks(size.depth, lambda depth: kept_bytes(lambda: make(depth), forward))

    of_crops = kept(section, LARGE_CROPS * batch)
    if crops.local_crops:
        of_crops += kept(small_crop(section, crops), crops.local_crops * batch)
    # Logits and their logarithms of the student, distributions of the teacher: float32 of each prototype.
    rows = 2 * (seen.student + seen.patches) + seen.teacher + seen.patches
    return of_crops + round(rows * batch * crops.prototypes * _FLOAT)
