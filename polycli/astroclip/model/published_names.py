"""Recognises the model in a file of tensors: public checkpoints' names become ours, and tensors tell the sizes.

Public files: AstroCLIP (`image_encoder.*`, `spectrum_encoder.*`), SpecFormer, DINOv2's teacher with blocks chunked or
flat, and Stein et al.'s MoCo (`encoder_q.*`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

IMAGE, SPECTRUM = "image_encoder.backbone.", "spectrum_encoder.backbone."
#: What tells a backbone from anything else, whatever its sizes.
VIT_LANDMARK, SPECFORMER_LANDMARK, RESNET_LANDMARK = "patch_embed.proj.weight", "data_embed.weight", "conv1.weight"
#: Of stems of convolutions and of templates, which no published model has.
_OURS = (
    *(f"{IMAGE}patch_embed.proj.layers.", f"{SPECTRUM}data_embed.layers.", f"{SPECTRUM}templates."),
    *(f"{IMAGE}stages.", f"{SPECTRUM}convolutions."),
)
_QUERIES = "encoder_q."
#: Of files of the original projects: what is no part of the model, and is left out on purpose.
_TRAINING_ONLY = re.compile(r"(encoder_k\.|dino_head\.|ibot_head\.|(val_)?queue(_ptr)?$)")
_CHUNKED = re.compile(r"^(.*\bblocks)\.\d+\.(\d+)\.(.*)$")
_WRAPPED = "_fsdp_wrapped_module."
#: Published numbers of heads, which tensors do not tell; ViTs of all sizes have 64 numbers per head.
PUBLISHED_SPECTRUM_HEADS, PUBLISHED_HEAD_HEADS, VIT_HEAD_WIDTH = 6, 4, 64
#: Pixels to which Stein et al. and AstroCLIP's workshop version crop cutouts for the ResNet-50.
PUBLISHED_RESNET_SIZE = 96
#: What a ResNet-50 was trained to see: Stein et al.'s alone, and the workshop version's beside a spectrum encoder.
PUBLISHED_RESNET_INPUT, WORKSHOP_INPUT = "stein", "flux"


def our_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names; what nothing of ours has keeps its own, so that a check of all names sees it."""
    found = {name.replace(_WRAPPED, ""): value for name, value in tensors.items()}
    of_moco = _QUERIES + RESNET_LANDMARK in found
    found = {name: value for name, value in found.items() if not (_TRAINING_ONLY.match(name))}
    if of_moco:
        found = {name.removeprefix(_QUERIES): value for name, value in found.items()}
    if SPECFORMER_LANDMARK in found:
        found = {SPECTRUM + name: value for name, value in found.items()}
    elif VIT_LANDMARK in found:
        found = {IMAGE + name: value for name, value in found.items()}
    elif RESNET_LANDMARK in found:
        found = {_resnet_name(name): value for name, value in found.items()}
    return {_flat(name, found): value for name, value in found.items()}


def infer_section(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A model section from tensors under our names, with the published values where tensors do not tell.

    Raises:
        KeyError: a tensor that every such model has is missing.
        ValueError: the tensors are those of convolutions or templates, of which they do not tell enough.
    """
    if any(name.startswith(_OURS) for name in tensors):
        # A tensor does not say what the second channel is, inverse variance or mask, nor which redshifts there are.
        raise ValueError("encoders with convolutions or templates are read with their model.json alone")
    section: dict[str, object] = {}
    if any(name.startswith(IMAGE) for name in tensors):
        section["image"] = _image_section(tensors)
    if any(name.startswith(SPECTRUM) for name in tensors):
        section["spectrum"] = _spectrum_section(tensors)
    heads = _head_section(tensors)
    if heads is not None:
        section["heads"] = heads
    return section


def _resnet_name(name: str) -> str:
    return f"image_encoder.mlp.{name.removeprefix('fc.')}" if name.startswith("fc.") else IMAGE + name


def _flat(name: str, names: Mapping[str, Tensor]) -> str:
    """`blocks.1.8.norm1.weight` is block 8: DINOv2 puts its blocks into chunks and counts on through all of them."""
    match = _CHUNKED.match(name)
    if match is None or not name.startswith(IMAGE):
        return name
    flat = f"{match[1]}.{match[2]}.{match[3]}"
    return name if flat in names else flat


def _image_section(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    if IMAGE + RESNET_LANDMARK in tensors:
        beside_spectra = any(name.startswith(SPECTRUM) for name in tensors)
        seen = WORKSHOP_INPUT if beside_spectra else PUBLISHED_RESNET_INPUT
        return {"name": "resnet50", "size": PUBLISHED_RESNET_SIZE, "input": seen}
    width, _, patch_size, _ = tensors[IMAGE + VIT_LANDMARK].shape
    patches = tensors[IMAGE + "pos_embed"].shape[1] - 1
    return {
        "name": "vit",
        "size": patch_size * round(patches**0.5),
        "patch_size": patch_size,
        "embed_dim": width,
        "depth": _blocks(tensors, IMAGE),
        "num_heads": max(width // VIT_HEAD_WIDTH, 1),
    }


def _spectrum_section(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    width, features = tensors[SPECTRUM + SPECFORMER_LANDMARK].shape
    return {
        "embed_dim": width,
        "depth": _blocks(tensors, SPECTRUM),
        "num_heads": PUBLISHED_SPECTRUM_HEADS,
        "section_length": features - 2,
        "section_step": max((features - 2) // 2, 1),
        "max_length": tensors[SPECTRUM + "position_embed.weight"].shape[0],
        "inputs": tuple(name for name in ("ivar", "mask") if f"{SPECTRUM}{name}_embed.weight" in tensors),
    }


def _head_section(tensors: Mapping[str, Tensor]) -> dict[str, object] | None:
    """Reads the sizes of the heads from the tensors; None without heads."""
    image = {"image": "mlp"} if "image_encoder.mlp.2.weight" in tensors else {}
    for side in ("image_encoder", "spectrum_encoder"):
        query = tensors.get(f"{side}.cross_attention.query")
        if query is not None:
            return {"embed_dim": query.shape[-1], "num_heads": PUBLISHED_HEAD_HEADS, **image}
    return {"embed_dim": tensors["image_encoder.mlp.2.weight"].shape[0], **image} if image else None


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    found = {name.removeprefix(prefix).split(".")[1] for name in tensors if name.startswith(f"{prefix}blocks.")}
    return len(found)
