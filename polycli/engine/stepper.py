"""One optimizer step: accumulate, agree that the numbers are finite, clip, move; the same at every ZeRO stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from polycli.engine.batches.prefetch import LoadedBatch
from polycli.engine.deepspeed.backend import to_device
from polycli.engine.deepspeed.optimizers import FACTOR
from polycli.engine.task import Batch


@dataclass
class StepResult:
    """Losses, weights, metrics and sample names of one step on one rank; tensors are scalars on the device."""

    losses: list[Tensor] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    metrics: list[dict[str, Tensor]] = field(default_factory=list)
    samples: list[tuple[str, ...]] = field(default_factory=list)
    gradient_norm: float = float("nan")
    #: Whether the optimizer moved; False on all ranks where a loss or gradient of any rank was not finite.
    moved: bool = False

    def bad_samples(self) -> list[str]:
        """Names of the samples in this rank's micro-batches whose loss was not finite."""
        pairs = zip(self.losses, self.samples, strict=True)
        return [name for loss, names in pairs if not bool(torch.isfinite(loss)) for name in names]


class Stepper:
    """Runs steps on a DeepSpeed engine."""

    def __init__(self, engine: Any, *, device: torch.device, clip_norm: float | None) -> None:  # noqa: ANN401
        self.engine, self.device, self.clip_norm = engine, device, clip_norm
        self.sharded = engine.zero_optimization_stage() > 0

    def learning_rate(self) -> float:
        """Return the learning rate of the last step, as layers take it that have the whole of it; for D-Adaptation,
        times its estimate of the step size.
        """
        group = self.engine.basic_optimizer.param_groups[0]
        return float(group["lr"]) / float(group.get(FACTOR, 1.0)) * float(group.get("d", 1.0))

    def accumulate(self, loaded: LoadedBatch, result: StepResult) -> None:
        """Forward and backward of one micro-batch; its loss counts by its weight."""
        self.engine.set_gradient_accumulation_boundary(loaded.last)
        loss, metrics = self.engine(to_device(loaded.batch, self.device))
        result.losses.append(loss.detach())
        result.weights.append(loaded.micro_batch.weight)
        result.metrics.append({name: value.detach() for name, value in metrics.items()})
        result.samples.append(loaded.micro_batch.samples)
        self.engine.backward(_poisoned(loss) * loaded.micro_batch.weight, scale_wrt_gas=False)

    def move(self, result: StepResult, learning_rate: float, weight_decay: float | None = None) -> None:
        """Clip and step, unless some rank's numbers are not finite; then the gradients are dropped on all ranks."""
        for group in self.engine.basic_optimizer.param_groups:
            group["lr"] = learning_rate * group.get(FACTOR, 1.0)
            if weight_decay is not None and group["weight_decay"] > 0:  # The others are biases and norms.
                group["weight_decay"] = weight_decay
        if self.sharded:
            # From stage 1 on DeepSpeed reduces the norm over all ranks and drops the step where it is not finite.
            self.engine.step()
            result.moved = not self.engine.optimizer.overflow
            result.gradient_norm = float(self.engine.get_global_grad_norm())
            return
        # At stage 0 it would step all the same. Gradients are averaged over ranks by now, so all ranks see one norm.
        gradients = [p.grad for p in self.engine.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        result.gradient_norm = float(norm)
        result.moved = bool(torch.isfinite(norm))
        if not result.moved:
            self.engine.zero_grad()
            return
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.engine.module.parameters(), self.clip_norm, norm)
        self.engine.step()

    def rehearse(self, batches: Sequence[Batch]) -> None:
        """Compute each batch as a micro-batch of one step that is then dropped, as a step of bad numbers is."""
        for number, batch in enumerate(batches, start=1):
            self.engine.set_gradient_accumulation_boundary(number == len(batches))
            loss, _ = self.engine(to_device(batch, self.device))
            self.engine.backward(loss * torch.nan, scale_wrt_gas=False)
        if self.sharded:
            self.engine.step()
        else:
            self.engine.zero_grad()


def _poisoned(loss: Tensor) -> Tensor:
    """The loss, with a gradient that is sure to be NaN where the loss is not finite.

    An infinite loss can have a finite gradient. Poisoned, it is caught with the gradient norm, on all ranks, and no
    extra exchange is needed.
    """
    one = torch.ones((), device=loss.device, dtype=loss.dtype)
    return loss * torch.where(torch.isfinite(loss), one, one * torch.nan)
