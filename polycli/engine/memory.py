"""Out of memory: how it is recognised, what is said about it, and a rehearsal that shows it before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from polycli.engine.deepspeed.optimizers import STATES
from polycli.engine.ranks import gather
from polycli.engine.stepper import Stepper
from polycli.engine.task import Batch, Task
from polycli.errors import TrainingError
from polycli.launch import World
from polycli.sections import EngineSection, OptimSection, TrainSection

_FLOAT = 4  # bytes


def wants_check(engine: EngineSection, device: torch.device) -> bool:
    """Whether to rehearse. On CPUs memory is seldom short and a forward pass is long, so there only if asked."""
    return engine.memory_check == "always" or (engine.memory_check == "auto" and device.type == "cuda")


def rehearse(task: Task, stepper: Stepper, optim: OptimSection, world: World, *, step: int) -> None:
    """Forward and backward of the costliest micro-batches, as in step `step`, without moving anything.

    Gradients are dropped and buffers put back; random numbers are seeded anew by every step. All ranks call this.
    """
    model = stepper.engine.module
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    # At stage 0 the optimizer makes its state in the first step; until then something else takes its place.
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    pending = not stepper.sharded and not stepper.engine.basic_optimizer.state
    stand_in = torch.empty(
        STATES[optim.name] * trained * _FLOAT if pending else 0, dtype=torch.uint8, device=stepper.device
    )
    stepper.rehearse(_costliest(task, world, step))
    del stand_in
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had no memory left."""
    # On CPUs torch raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory(error: BaseException, train: TrainSection, engine: EngineSection, world: World) -> TrainingError:
    """The sentence for it, with what this recipe could still lower, the cheapest first."""
    remedies = []
    if train.micro_batch_size > 1:
        remedies.append(f"train.micro_batch_size={train.micro_batch_size // 2} (the result stays the same)")
    if not engine.activation_checkpointing:
        remedies.append("engine.activation_checkpointing=true")
    if engine.precision == "float32" and torch.cuda.is_available():
        remedies.append("engine.precision=bfloat16")
    if engine.zero_stage < 3 and world.size > 1:
        remedies.append(f"engine.zero_stage={engine.zero_stage + 1}")
    if not engine.offload:
        remedies.append("engine.offload=true" + (" with engine.zero_stage=1" if engine.zero_stage == 0 else ""))
    hint = "--set " + ", or ".join(remedies) if remedies else "use more processes, a larger device or a smaller model"
    first_line = (str(error).splitlines() or ["no details"])[0]
    return TrainingError(
        f"rank {world.rank} ran out of memory with micro-batches of {train.micro_batch_size} ({first_line})", hint=hint
    )


def _costliest(task: Task, world: World, step: int) -> list[Batch]:
    """Load the batches that the task names, or one of each shape among the step's own micro-batches."""
    costliest = task.costliest_batches(world)
    if costliest is not None:
        return [micro_batch.load() for micro_batch in costliest]
    batches = [micro_batch.load() for micro_batch in task.micro_batches(step, world)]
    # Ranks compute together, so all take the micro-batches at which any of them meets a new shape.
    wanted = {index for indices in gather(world, _new_shapes(batches)) for index in indices}
    return [batch for index, batch in enumerate(batches) if index in wanted]


def _new_shapes(batches: Sequence[Batch]) -> list[int]:
    """Return the indices of the batches whose shapes no earlier one has."""
    seen: list[Any] = []
    indices = []
    for index, batch in enumerate(batches):
        shapes = {name: tensor.shape for name, tensor in batch.items()}
        if shapes not in seen:
            seen.append(shapes)
            indices.append(index)
    return indices
