"""model.safetensors and model.json: the pair that people share, and all that eval, predict, embed and finetune read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import polycli
from polycli.checkpoints.manifest import DESCRIPTION_NAME, MODEL_NAME
from polycli.engine.backend import gathered
from polycli.engine.task import Task
from polycli.launch import World

#: Elements gathered at a time under ZeRO 3, which bounds the memory that an export takes on each rank.
GATHER_ELEMENTS = 100_000_000


def exported_weights(module: nn.Module, world: World) -> dict[str, Tensor]:
    """The state dict in float32 on the CPU, whole also under ZeRO 3; empty on all ranks but 0. All ranks call this."""
    weights: dict[str, Tensor] = {}
    for part in _parts(module.state_dict(keep_vars=True)):
        with gathered(list(part.values())):
            if world.rank == 0:
                weights.update({name: _shared(tensor) for name, tensor in part.items()})
    return weights


def write_model(
    directory: Path, task: Task, weights: dict[str, Tensor], *, step: int, metric: tuple[str, float] | None
) -> None:
    """Write the pair into `directory`, on rank 0."""
    save_file(weights, directory / MODEL_NAME, metadata={"format": "pt"})
    document = {
        "format": "polycli-model",
        "schema_version": 1,
        "family": task.family,
        "verb": task.verb,
        "version": polycli.__version__,
        "step": step,
        "metric": None if metric is None else {"name": metric[0], "value": metric[1]},
        **task.description(),
    }
    (directory / DESCRIPTION_NAME).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _parts(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The same tensors in parts of bounded size."""
    part: dict[str, Tensor] = {}
    elements = 0
    for name, tensor in tensors.items():
        size = getattr(tensor, "ds_numel", tensor.numel())
        if part and elements + size > GATHER_ELEMENTS:
            yield part
            part, elements = {}, 0
        part[name] = tensor
        elements += size
    if part:
        yield part


def _shared(tensor: Tensor) -> Tensor:
    """A copy that owns its memory, as safetensors asks for tied weights too; float32 if it is floating-point."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device="cpu", dtype=dtype, copy=True).contiguous()
