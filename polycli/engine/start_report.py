"""Says, before the first step, where a run goes on from and what of its recipe may surprise."""

from __future__ import annotations

import math

from polycli.checkpoints.manifest import Checkpoint
from polycli.engine.ema import AveragedWeights
from polycli.engine.schedule import scheduled_rate, warmup_steps
from polycli.launch import World
from polycli.sections import EngineSection, OptimSection, ScheduleSection

#: How far two learning rates may be apart and still be the same.
_SAME_RATE = 1e-6


def processes(count: int) -> str:
    """Return `1 process` or `4 processes`."""
    return "1 process" if count == 1 else f"{count} processes"


def change_of_layout(checkpoint: Checkpoint, world: World, engine: EngineSection) -> str | None:
    """A sentence where the checkpoint comes from another number of processes or another ZeRO stage, else None."""
    before = (checkpoint.manifest.world_size, checkpoint.manifest.zero_stage)
    if before == (world.size, engine.zero_stage):
        return None
    return (
        f"saved by {processes(before[0])} at ZeRO {before[1]}, resumed by {processes(world.size)} at ZeRO "
        f"{engine.zero_stage}: optimizer state is distributed anew, every global batch keeps its samples"
    )


def jump_of_rate(
    last: float | None, optim: OptimSection, schedule: ScheduleSection, *, steps: int, step: int
) -> str | None:
    """A sentence where the learning rate leaves the course on which it was, as with more steps than were planned.

    `last` is the rate of the last step taken before `step`; None where nobody knows it.
    """
    if last is None or step >= steps:
        return None
    course, coming = (scheduled_rate(optim, schedule, steps, at) for at in (step - 1, step))
    if math.isclose(last, course, rel_tol=_SAME_RATE):
        return None
    sentence = f"the learning rate was {last:.3g} in step {step} and is {coming:.3g} in step {step + 1}"
    if schedule.name == "constant":
        return sentence
    return (
        f"{sentence}: schedule.name {schedule.name} counts over train.steps, which is {steps:,} now; to go on at the "
        f"last rate, give --resume must --set schedule.name=constant --set optim.learning_rate={last:.3g}"
    )


def short_for_average(average: AveragedWeights | None, steps: int) -> str | None:
    """A sentence where the moving average of the weights looks back over more steps than the run has."""
    if average is None or average.memory <= steps:
        return None
    return (
        f"optim.ema_decay {average.decay} looks back {average.memory:,.0f} steps and the run has "
        f"{steps:,}, so the average stays close to the first weights"
    )


def long_warmup(schedule: ScheduleSection, steps: int) -> str | None:
    """A sentence where the warm-up is longer than the run."""
    if schedule.warmup_steps <= steps:
        return None
    warmup = warmup_steps(schedule, steps)
    return f"schedule.warmup_steps {schedule.warmup_steps} is longer than the run, clipped to {warmup}"
