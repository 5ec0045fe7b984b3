"""A model's weights on their way into a checkpoint and back.

`model.safetensors` and `model.json` are the pair that people share, and all that eval, predict, embed and finetune
read. What a resume needs besides stands in `weights.safetensors`: tensors that the exported part of the model lacks,
and all training weights where the pair has their moving average.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import polycli
from polycli.checkpoints.exported import MODEL_SCHEMA_VERSION
from polycli.checkpoints.manifest import MODEL_NAME, Checkpoint
from polycli.engine.deepspeed.backend import gathered
from polycli.engine.task import Task
from polycli.errors import CheckpointError
from polycli.json_records import to_object
from polycli.launch import World

WEIGHTS_NAME = "weights.safetensors"
#: Elements gathered at a time under ZeRO 3, which bounds the memory that an export takes on each rank.
GATHER_ELEMENTS = 100_000_000


def exported_weights(module: nn.Module, world: World) -> dict[str, Tensor]:
    """The state dict in float32 on the CPU, whole also under ZeRO 3; empty on all ranks but 0. All ranks call this."""
    return _whole(module.state_dict(keep_vars=True), world)


def remaining_weights(task: Task, world: World, *, averaged: bool) -> dict[str, Tensor]:
    """Return the tensors that a resume needs besides model.safetensors; all where that has averaged weights."""
    exported = set() if averaged else {id(tensor) for tensor in task.exported().state_dict(keep_vars=True).values()}
    state = task.model.state_dict(keep_vars=True)
    return _whole({name: tensor for name, tensor in state.items() if id(tensor) not in exported}, world)


def restore_weights(task: Task, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's training weights into a model that no engine has taken over yet.

    Raises:
        CheckpointError: it lacks a tensor of the model, or has one of another shape.
    """
    shared = load_file(checkpoint.directory / MODEL_NAME)
    rest = load_file(checkpoint.directory / WEIGHTS_NAME) if WEIGHTS_NAME in checkpoint.manifest.files else {}
    names = {id(tensor): name for name, tensor in task.exported().state_dict(keep_vars=True).items()}
    for name, tensor in task.model.state_dict(keep_vars=True).items():
        saved = rest.get(name, shared.get(names.get(id(tensor), "")))
        if saved is None or saved.shape != tensor.shape:
            state = "not there" if saved is None else f"of shape {tuple(saved.shape)}"
            raise CheckpointError(
                f"{checkpoint.directory}: {name} is {state}, the model has it of shape {tuple(tensor.shape)}"
            )
        with torch.no_grad():
            tensor.copy_(saved)


def model_description(
    task: Task, *, step: int, metric: tuple[str, float] | None, ema_decay: float | None = None
) -> str:
    """The text of model.json; `ema_decay` where the weights are a moving average."""
    document = {
        "format": "polycli-model",
        "schema_version": MODEL_SCHEMA_VERSION,
        "family": task.family,
        "verb": task.verb,
        "version": polycli.__version__,
        "step": step,
        "metric": None if metric is None else {"name": metric[0], "value": metric[1]},
        **({} if ema_decay is None else {"ema": ema_decay}),
        **to_object(task.description()),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _whole(tensors: dict[str, Tensor], world: World) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for part in _parts(tensors):
        with gathered(list(part.values())):
            if world.rank == 0:
                weights.update({name: _owned(tensor) for name, tensor in part.items()})
    return weights


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


def _owned(tensor: Tensor) -> Tensor:
    """A copy that owns its memory, as safetensors asks for tied weights too; float32 if it is floating-point."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device="cpu", dtype=dtype, copy=True).contiguous()
