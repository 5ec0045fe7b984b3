"""What a training will need, from its recipe's numbers alone: accumulation and memory of training state."""

from __future__ import annotations

from polycli.engine.config import BUCKET_ELEMENTS
from polycli.engine.optimizers import STATES
from polycli.errors import RecipeError
from polycli.sections import EngineSection, OptimSection

_FLOAT = 4  # bytes


def accumulation(global_batch_size: int, micro_batch_size: int, processes: int) -> int:
    """Micro-batches per optimizer step on each rank; `RecipeError`, with the nearest sizes that work, if not whole."""
    unit = micro_batch_size * processes
    if global_batch_size % unit == 0:
        return global_batch_size // unit
    below, above = global_batch_size // unit * unit, (global_batch_size // unit + 1) * unit
    nearest = f"{below} and {above}" if below else str(above)
    noun = "process" if processes == 1 else "processes"
    raise RecipeError(
        f"train.global_batch_size {global_batch_size} is not divisible by {processes} {noun} x micro-batches of "
        f"{micro_batch_size}",
        hint=f"nearest sizes that work: {nearest}; --set train.global_batch_size={above}",
    )


def memory_per_device(parameters: int, optim: OptimSection, engine: EngineSection, processes: int) -> dict[str, int]:
    """Bytes of training state on one device, by what they are for (Rajbhandari et al. 2020, ZeRO); no activations.

    All is float32, with bfloat16 too: that is autocast, which keeps float32 parameters.
    """
    stage = engine.zero_stage
    whole = _FLOAT * parameters
    shard = -(-whole // processes)
    # From stage 1 on DeepSpeed steps a copy of its shard of the parameters.
    copies = shard if stage >= 1 else 0
    states = STATES[optim.name] * (shard if stage >= 1 else whole)
    memory = {
        "parameters": shard if stage == 3 else whole,
        "gradients": shard if stage >= 2 else whole,
        "optimizer": 0 if engine.offload else copies + states,
        "communication": _FLOAT * min(BUCKET_ELEMENTS, parameters) if stage >= 1 else 0,
    }
    return {**memory, "offloaded_to_cpu": copies + states} if engine.offload else memory
