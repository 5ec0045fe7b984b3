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
