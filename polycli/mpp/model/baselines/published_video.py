"""Reads weights of a VideoMAE as its pretrained files are published, in the layout of the transformers package.

Names and axes change, numbers do not. Such a model knows three fields, the colours of a video.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from polycli.errors import CheckpointError

_KERNEL = "videomae.embeddings.patch_embeddings.projection.weight"
_HEAD = "decoder.head.weight"
#: Present in every VideoMAE with its decoder.
LANDMARKS = (_KERNEL, "encoder_to_decoder.weight", "mask_token", _HEAD)
COLOURS = ("video.red", "video.green", "video.blue")
#: Heads of the published sizes, by width; others have 64 numbers a head.
_HEADS = {1280: 16, 640: 8}
#: By the beginning of a name there, and by what stands in a block: their names here.
_PLACES = {
    "videomae.encoder.layer.": "blocks.",
    "decoder.decoder_layers.": "decoder.",
}
_IN_BLOCK = {
    "attention.attention.query": "query",
    "attention.attention.key": "key",
    "attention.attention.value": "value",
    "attention.output.dense": "join",
    "intermediate.dense": "expand",
    "output.dense": "shrink",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}
#: Earlier versions of the package kept these two by themselves.
_BIASES = {"attention.attention.q_bias": "query.bias", "attention.attention.v_bias": "value.bias"}
_ALONE = {
    _KERNEL: "patches.weight",
    "videomae.embeddings.patch_embeddings.projection.bias": "patches.bias",
    "videomae.layernorm.weight": "norm.weight",
    "videomae.layernorm.bias": "norm.bias",
    "encoder_to_decoder.weight": "bridge.weight",
    "mask_token": "mask.weight",
    "decoder.norm.weight": "decoder_norm.weight",
    "decoder.norm.bias": "decoder_norm.bias",
    _HEAD: "pixels.weight",
    "decoder.head.bias": "pixels.bias",
}


def is_video(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names of a published VideoMAE, with or without its decoder."""
    return _KERNEL in tensors


def read_video(file: object, tensors: Mapping[str, Tensor]) -> tuple[dict[str, object], dict[str, Tensor]]:
    """The keys of the model section that the tensors tell, and the tensors under our names.

    Raises:
        CheckpointError: the decoder or the last norm of the encoder is missing, as in files that classify, or a tensor
            has no place here.
    """
    if missing := [name for name in (*LANDMARKS, "videomae.layernorm.weight") if name not in tensors]:
        raise CheckpointError(
            f"{file}: a VideoMAE without {missing[0]}; pretrained files have the decoder and the norm before it, files "
            "that classify have not"
        )
    width, colours, frames, points, _ = tensors[_KERNEL].shape
    inner = tensors["encoder_to_decoder.weight"].shape[0]
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found[_renamed(file, name)] = tensor
    shape = (frames, points, points, colours)
    found["pixels.weight"] = found["pixels.weight"].reshape(*shape, inner).permute(3, 0, 1, 2, 4).contiguous()
    found["pixels.bias"] = found["pixels.bias"].reshape(shape).permute(3, 0, 1, 2).contiguous()
    found["mask.weight"] = found["mask.weight"].flatten()
    fields = COLOURS if colours == len(COLOURS) else tuple(f"video.{number}" for number in range(colours))
    section = {
        "kind": "vit",
        "fields": fields,
        "predicts": "change",
        "embed_dim": width,
        "num_heads": _HEADS.get(width, max(width // 64, 1)),
        "blocks": _count(found, "blocks."),
        "decoder_dim": inner,
        "decoder_heads": _HEADS.get(inner, max(inner // 64, 1)),
        "decoder_blocks": _count(found, "decoder."),
        "mlp_ratio": found["blocks.0.expand.weight"].shape[0] // width,
        "patch_size": points,
        "tubelet": frames,
    }
    return section, found


def _renamed(file: object, name: str) -> str:
    if name in _ALONE:
        return _ALONE[name]
    for there, here in _PLACES.items():
        if match := re.fullmatch(re.escape(there) + r"(\d+)\.(.+)", name):
            number, inside = match.groups()
            if inside in _BIASES:
                return f"{here}{number}.{_BIASES[inside]}"
            part, _, kind = inside.rpartition(".")
            if part in _IN_BLOCK:
                return f"{here}{number}.{_IN_BLOCK[part]}.{kind}"
    raise CheckpointError(f"{file}: a VideoMAE with a tensor that has no place here, {name}")


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith(prefix)})
