"""The learning rate as a pure function of the optimizer step, so that nothing about it needs saving."""

from __future__ import annotations

import math

from polycli.sections import OptimSection, ScheduleSection


def warmup_steps(section: ScheduleSection, steps: int) -> int:
    """The warm-up, clipped to a run of `steps`."""
    return min(section.warmup_steps, steps)


def learning_rate_factor(section: ScheduleSection, steps: int, step: int) -> float:
    """The factor on the peak learning rate in optimizer step `step`, counted from 0, of a run of `steps`.

    Warm-up is linear from zero and reaches 1 in its last step. The cosine reaches `final_fraction` in the run's last
    step (Loshchilov and Hutter 2017, without restarts).
    """
    warmup = warmup_steps(section, steps)
    done = step + 1
    if done <= warmup:
        return done / warmup
    if section.name == "constant":
        return 1.0
    progress = min((done - warmup) / (steps - warmup), 1.0)
    return section.final_fraction + (1 - section.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def scheduled_rate(optim: OptimSection, section: ScheduleSection, steps: int, step: int) -> float:
    """The learning rate of optimizer step `step`, counted from 0, of a run of `steps`."""
    return optim.learning_rate * learning_rate_factor(section, steps, step)


def scheduled_decay(optim: OptimSection, steps: int, step: int) -> float:
    """The weight decay of optimizer step `step`, counted from 0, of a run of `steps`.

    >>> optim = OptimSection(weight_decay=0.04, final_weight_decay=0.4)
    >>> [round(scheduled_decay(optim, 3, step), 2) for step in range(3)]
    [0.04, 0.22, 0.4]
    """
    if optim.final_weight_decay is None:
        return optim.weight_decay
    return cosine(optim.weight_decay, optim.final_weight_decay, steps, step)


def cosine(first: float, last: float, steps: int, step: int) -> float:
    """The value at step `step` of half a cosine from `first`, in step 0, to `last`, in the last of `steps`."""
    progress = min(step / (steps - 1), 1.0) if steps > 1 else 1.0
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
