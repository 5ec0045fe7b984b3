"""What all ranks saw in a step: its loss and metrics, and, where its numbers were not finite, whose fault that was."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from polycli.engine.agreement import gather
from polycli.engine.stepper import StepResult
from polycli.launch import World

#: Sample names that a message shows; metrics.jsonl has them all.
SHOWN_SAMPLES = 8


@dataclass(frozen=True)
class StepReport:
    """Means over the samples of all ranks."""

    loss: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class BadStep:
    """A step that no rank took."""

    reason: str
    samples: list[str]

    def __str__(self) -> str:
        shown = ", ".join(self.samples[:SHOWN_SAMPLES])
        more = len(self.samples) - SHOWN_SAMPLES
        return f"{self.reason} in {shown}{f' and {more} more' if more > 0 else ''}"


def report_of_step(world: World, result: StepResult) -> StepReport:
    """Average over micro-batches by weight and over ranks. Ranks may have metrics that others lack. A collective."""
    totals: dict[str, float] = defaultdict(float)
    shares: dict[str, float] = defaultdict(float)
    for own in gather(world, _own_totals(result)):
        for name, (total, share) in own.items():
            totals[name] += total
            shares[name] += share
    means = {name: totals[name] / shares[name] for name in totals}
    return StepReport(means.pop(""), means)


def explain_bad_step(world: World, result: StepResult) -> BadStep:
    """Which samples made this step's numbers non-finite. A collective: every rank has dropped the step."""
    bad = [name for names in gather(world, result.bad_samples()) for name in names]
    if bad:
        return BadStep("the loss is not finite", bad)
    everything = [name for names in result.samples for name in names]
    present = [name for names in gather(world, everything) for name in names]
    return BadStep("the gradient is not finite, though every loss is,", present)


def _own_totals(result: StepResult) -> dict[str, tuple[float, float]]:
    """By metric, the weighted sum over this rank's micro-batches and the sum of weights; the loss has no name."""
    totals: dict[str, float] = defaultdict(float)
    shares: dict[str, float] = defaultdict(float)
    for weight, loss, metrics in zip(result.weights, result.losses, result.metrics, strict=True):
        for name, value in {"": loss, **metrics}.items():
            totals[name] += weight * float(value.float().mean())
            shares[name] += weight
    return {name: (totals[name], shares[name]) for name in totals}
