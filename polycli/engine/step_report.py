"""Puts together what all ranks saw in a step: its loss and metrics and, of a bad step, its samples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from polycli.console import first_few
from polycli.engine.batches.prefetch import StepSize
from polycli.engine.ranks import everyone, gather
from polycli.engine.stepper import StepResult
from polycli.errors import UnevenBatchesError
from polycli.launch import World

#: Sample names that a message shows; metrics.jsonl has them all.
SHOWN_SAMPLES = 8
#: How far the weights of a step's micro-batches may add up from one.
WEIGHT_TOLERANCE = 1e-6


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
        return f"{self.reason} in {first_few(self.samples, SHOWN_SAMPLES)}"


@dataclass(frozen=True)
class StepAgreement:
    """The facts that all ranks share after a step, from the one exchange that every step has."""

    #: Mean over the samples of all ranks.
    loss: float
    #: The signal that asks for a stop, whichever rank heard it; 0 without one.
    stop_signal: int


def agree(world: World, result: StepResult | None, stop_signal: int, coming: StepSize, expected: int) -> StepAgreement:
    """Share this rank's loss, the signal that it heard and the size of its next step. A collective.

    Raises:
        UnevenBatchesError: the next step is not the same number of micro-batches on all ranks, which would hang; or it
            is not `expected` samples in all, or weighs them so that some are lost.
    """
    loss = (
        sum(weight * float(loss) for weight, loss in zip(result.weights, result.losses, strict=True)) if result else 0
    )
    ranks = everyone(world, [loss, stop_signal, coming.micro_batches, coming.samples, coming.weight])
    losses, signals, batches, samples, weights = zip(*ranks, strict=True)
    if len(set(batches)) > 1:
        counts = ", ".join(f"{int(count)} on rank {rank}" for rank, count in enumerate(batches))
        raise UnevenBatchesError(f"the next step's micro-batches are not as many on all ranks: {counts}")
    if batches[0] and sum(samples) != expected:
        raise UnevenBatchesError(
            f"the next step has {int(sum(samples))} samples over all ranks, train.global_batch_size is {expected}"
        )
    for rank, weight in enumerate(weights):
        if abs(weight - 1) > WEIGHT_TOLERANCE:
            raise UnevenBatchesError(f"the next step's micro-batches on rank {rank} weigh {weight:.6g} in all, not 1")
    return StepAgreement(sum(losses) / world.size, int(max(signals)))


def samples_of_step(world: World, result: StepResult) -> list[str]:
    """The names of all samples of a step, rank by rank. A collective."""
    own = [name for names in result.samples for name in names]
    return [name for names in gather(world, own) for name in names]


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
    """Find the samples that made this step's numbers non-finite. A collective: every rank has dropped the step."""
    bad = [name for names in gather(world, result.bad_samples()) for name in names]
    if bad:
        return BadStep("the loss is not finite", bad)
    return BadStep("the gradient is not finite, though every loss is,", samples_of_step(world, result))


def _own_totals(result: StepResult) -> dict[str, tuple[float, float]]:
    """Return, by metric, the weighted sum over this rank's micro-batches and their weights; the loss has no name."""
    totals: dict[str, float] = defaultdict(float)
    shares: dict[str, float] = defaultdict(float)
    for weight, loss, metrics in zip(result.weights, result.losses, result.metrics, strict=True):
        for name, value in {"": loss, **metrics}.items():
            totals[name] += weight * float(value.float().mean())
            shares[name] += weight
    return {name: (totals[name], shares[name]) for name in totals}
