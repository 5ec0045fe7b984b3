"""The optimizer's state by parameter, whoever holds it: saved on any number of ranks, and loaded on any other.

ZeRO flattens parameters and cuts them over ranks, each stage in its own way. In files it is always a piece of one
flattened parameter, `state/first element/parameter`, so that what a file means depends neither on the number of ranks
that wrote it nor on the stage, and nothing has to be converted. This works for every optimizer that steps element by
element (AdamW, Adan), and for others at stage 0, where each rank holds everything.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from polycli.engine.deepspeed.optimizers import FACTOR
from polycli.errors import CheckpointError
from polycli.launch import World

#: What an optimizer counts by itself is a scalar, also for a parameter that is one.
_COUNTER = "step"
#: Entries of parameter groups that recipes decide, so that a resume with another recipe does what it says.
_FROM_THE_RECIPE = ("params", "lr", FACTOR, "betas", "eps", "weight_decay")
#: Where others have the name of a state.
_GROUP = ":group"


@dataclass(frozen=True)
class Fragment:
    """A piece of one flattened parameter, whose state this rank holds."""

    parameter: str
    #: Its first element in the flattened parameter.
    start: int
    #: Elements; none where a rank has nothing but padding of this parameter.
    count: int
    #: The tensor that the optimizer steps: the parameter itself, or a flat piece of many.
    holder: Tensor
    #: Where the piece begins in the flattened holder.
    offset: int


def captured_state(engine: Any, world: World) -> dict[str, Tensor]:  # noqa: ANN401
    """Copies, on the CPU, of what this rank has to save."""
    optimizer, tensors = engine.basic_optimizer, {}
    shared = engine.zero_optimization_stage() == 0
    for index, fragment in enumerate(fragments(engine, world)):
        if shared and index % world.size != world.rank:
            # All ranks hold the same; each one writes its share.
            continue
        for key, value in optimizer.state.get(fragment.holder, {}).items():
            if _is_scalar(key, value, fragment.holder):
                if fragment.start == 0 and fragment.count:
                    tensors[f"{key}//{fragment.parameter}"] = _copy(value)
            elif fragment.count:
                piece = value.reshape(-1).narrow(0, fragment.offset, fragment.count)
                tensors[f"{key}/{fragment.start}/{fragment.parameter}"] = _copy(piece)
    if world.rank == 0:
        for number, group in enumerate(optimizer.param_groups):
            values = {key: value for key, value in group.items() if key not in _FROM_THE_RECIPE}
            kept = {key: value for key, value in values.items() if isinstance(value, Tensor)}
            tensors.update({f"{_GROUP}/{number}/{key}": _copy(value) for key, value in kept.items()})
    return tensors


def captured_groups(engine: Any) -> list[dict[str, float]]:  # noqa: ANN401
    """The numbers that the optimizer keeps of each parameter group: Adan's steps, D-Adaptation's estimate."""
    return [
        {key: value for key, value in group.items() if key not in _FROM_THE_RECIPE and _is_number(value)}
        for group in engine.basic_optimizer.param_groups
    ]


def restore_state(engine: Any, world: World, files: Sequence[Path], groups: Sequence[dict[str, float]]) -> None:  # noqa: ANN401
    """Give the optimizer the state in `files`, which any number of ranks at any stage may have written.

    Raises:
        CheckpointError: a piece of a parameter's state is not in them.
    """
    optimizer = engine.basic_optimizer
    if len(groups) != len(optimizer.param_groups):
        count = f"{len(groups)} parameter group{'s' * (len(groups) != 1)}"
        raise CheckpointError(f"{files[0].parent}: of {count}, the optimizer has {len(optimizer.param_groups)}")
    with ExitStack() as stack:
        saved = _SavedState([stack.enter_context(safe_open(file, framework="pt")) for file in files])
        for fragment in fragments(engine, world):
            for key in saved.elementwise[fragment.parameter]:
                state = optimizer.state[fragment.holder]
                if key not in state:
                    state[key] = torch.zeros_like(fragment.holder, memory_format=torch.contiguous_format)
                piece = state[key].view(-1).narrow(0, fragment.offset, fragment.count)
                saved.read_into(piece, fragment.parameter, key, fragment.start)
            for key, value in saved.scalars[fragment.parameter].items():
                state = optimizer.state[fragment.holder]
                if key in state and not torch.equal(state[key], value):
                    raise CheckpointError(
                        f"{files[0].parent}: parameters that this ZeRO stage steps together have taken different "
                        f"numbers of steps ({fragment.parameter}: {value.item():g}, others {state[key].item():g})",
                        hint="resume with the engine.zero_stage that saved them",
                    )
                state[key] = value.clone()
        for number, (group, numbers) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
            group.update(numbers)
            group.update({key: value.to(engine.device) for key, value in saved.groups[number].items()})


def fragments(engine: Any, world: World) -> Iterator[Fragment]:  # noqa: ANN401
    """List the pieces of every trained parameter that this rank holds, as DeepSpeed's stage has laid them out."""
    stage, zero = engine.zero_optimization_stage(), engine.optimizer
    for name, parameter in engine.module.named_parameters():
        if not parameter.requires_grad:
            continue
        if stage == 0:
            yield Fragment(name, 0, parameter.numel(), parameter, 0)
        elif stage == 3:
            # Every parameter is cut into equal parts, the last one padded.
            group, offset, size = zero.grad_position[zero.get_param_id(parameter)]
            start = min(world.rank * size, parameter.ds_numel)
            count = min(size, parameter.ds_numel - start)
            yield Fragment(name, start, count, zero.fp32_partitioned_groups_flat[group], offset)
        elif parameter._hp_mapping is not None:  # noqa: SLF001  # DeepSpeed's link from a parameter to its shard.
            # All parameters of a group are flattened together, and the whole is cut into equal parts.
            mapping = parameter._hp_mapping  # noqa: SLF001
            own, flat = mapping.lp_fragment_address, mapping.hp_fragment_address
            holder = zero.single_partition_of_fp32_groups[mapping.param_group_index]
            yield Fragment(name, own.start, own.numel, holder, flat.start)


class _SavedState:
    """The contents of all ranks' files, by parameter and state."""

    def __init__(self, files: Sequence[Any]) -> None:
        #: By parameter and state: first element, its count, file, and name in it.
        self.pieces: dict[tuple[str, str], list[tuple[int, int, Any, str]]] = defaultdict(list)
        self.elementwise: dict[str, set[str]] = defaultdict(set)
        self.scalars: dict[str, dict[str, Tensor]] = defaultdict(dict)
        self.groups: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for file in files:
            for name in file.keys():  # noqa: SIM118  # Not a mapping.
                self._add(file, name)

    def _add(self, file: Any, name: str) -> None:  # noqa: ANN401
        key, start, parameter = name.split("/", 2)
        if key == _GROUP:
            self.groups[int(start)][parameter] = file.get_tensor(name)
        elif not start:
            self.scalars[parameter][key] = file.get_tensor(name)
        else:
            count = file.get_slice(name).get_shape()[0]
            self.pieces[parameter, key].append((int(start), count, file, name))
            self.elementwise[parameter].add(key)

    def read_into(self, target: Tensor, parameter: str, key: str, start: int) -> None:
        """Fill `target` with the flattened state from element `start` on."""
        end, filled = start + target.numel(), 0
        for first, count, file, name in self.pieces[parameter, key]:
            low, high = max(first, start), min(first + count, end)
            if low < high:
                target[low - start : high - start].copy_(file.get_slice(name)[low - first : high - first])
                filled += high - low
        if filled != target.numel():
            raise CheckpointError(
                f"optimizer state {key!r} of {parameter}: {filled} of {target.numel()} elements from element {start} "
                "on are in the checkpoint"
            )


def _is_scalar(key: str, value: Tensor, holder: Tensor) -> bool:
    return key == _COUNTER or value.shape != holder.shape


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
