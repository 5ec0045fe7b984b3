"""Works out what a training will need from its recipe's numbers alone: batches that divide, memory of its state."""

from __future__ import annotations

import math
from collections.abc import Sequence

from polycli.console import counted
from polycli.engine.deepspeed.config import BUCKET_ELEMENTS
from polycli.engine.deepspeed.optimizers import STATES
from polycli.errors import RecipeError
from polycli.sections import EngineSection, OptimSection

_FLOAT = 4  # bytes


def check_division(
    global_batch_size: int,
    draws: int,
    processes: int,
    micro_batch_sizes: Sequence[int],
    *,
    draws_key: str = "draws",
    mixed: bool = False,
) -> None:
    """Raise RecipeError, with the nearest sizes that work, unless a global batch divides evenly.

    A global batch is `draws` equal draws, a number that the family's recipe has under `draws_key`; each rank's part of
    each must be whole micro-batches, whichever the dataset. Where draws are mixed in micro-batches, each rank has an
    equal part of every draw, and all of these together are whole micro-batches.
    """
    sizes = math.lcm(*micro_batch_sizes)
    unit = processes * (math.lcm(draws, sizes) if mixed else draws * sizes)
    if global_batch_size % unit == 0:
        return
    below, above = global_batch_size // unit * unit, (global_batch_size // unit + 1) * unit
    nearest = f"{below} and {above}" if below else str(above)
    listed = " and ".join(str(size) for size in sorted(set(micro_batch_sizes)))
    shared_out = "" if draws == 1 else f"{draws_key} {draws}, "
    raise RecipeError(
        f"train.global_batch_size {global_batch_size} is not divisible by {unit}, which {shared_out}"
        f"{counted(processes, 'process', 'processes')} and micro-batches of {listed} need",
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
    average = {} if optim.ema_decay is None else {"weight_average": shard if stage == 3 else whole}
    memory = {
        "parameters": shard if stage == 3 else whole,
        "gradients": shard if stage >= 2 else whole,
        "optimizer": 0 if engine.offload else copies + states,
        **average,
        "communication": _FLOAT * min(BUCKET_ELEMENTS, parameters) if stage >= 1 else 0,
    }
    return {**memory, "offloaded_to_cpu": copies + states} if engine.offload else memory
