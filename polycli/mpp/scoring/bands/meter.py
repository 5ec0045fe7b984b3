"""How far forecasts are from the truth, as bands are made and judged by it: one number for each field and step.

A band of half-width w holds a forecast at a step when at least a share `points` of the points of a field have
|forecast - truth| <= w. So the score of a forecast is the smallest such w, and whether a band holds it is whether the
score is at most w: by trajectory, which is the unit that is exchangeable. With `points` 1, a band that holds
holds everywhere (sup norm); below, as uncertainty-quantifying operators have it, almost everywhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def deviation(
    prediction: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    points: float,
    spread: Float[Tensor, "b c h w"] | None = None,
) -> Tensor:
    """The smallest half-width that holds a share `points` of each field: (b, c) float64, infinite for bad numbers.

    With a `spread`, the half-width is a multiple of it at every point.

    >>> truth = torch.zeros(1, 1, 2, 5)
    >>> forecast = torch.arange(10.0).reshape(1, 1, 2, 5)
    >>> deviation(forecast, truth, 0.9).item(), deviation(forecast, truth, 1.0).item()
    (8.0, 9.0)
    """
    error = _distance(prediction, target, spread).flatten(start_dim=2)
    count = error.shape[-1]
    # 0.95 of 20 points is 19 of them, whatever 0.95 is in binary.
    return error.kthvalue(max(1, math.ceil(round(points * count, 6))), dim=-1).values


class BandMeter:
    """Gathers what bands are made and judged by while rollouts run: `record` is called for every step."""

    def __init__(
        self, shape: tuple[int, int, int], *, points: float, draws: int = 1, half_width: Floats | None = None
    ) -> None:
        """Make room for (trajectory, step, field) scores; with half-widths (level, step, field) also for shares."""
        self._points, self._half_width = points, half_width
        #: Forecasts of each context whose spread scales the bands; 1 where they are not scaled.
        self.draws = draws
        #: (trajectory, step, field): the mean of the spread over the field, by which half-widths are multiplied.
        self.spread: Floats = np.ones(shape)
        #: (trajectory, step, field): the score of each forecast.
        self.deviation: Floats = np.full(shape, np.inf)
        #: (level, trajectory, step, field): the share of points within each band; None where there are no bands.
        self.inside: Floats | None = None if half_width is None else np.zeros((len(half_width), *shape))

    def record(self, rows: slice, step: int, prediction: Tensor, target: Tensor, spread: Tensor | None) -> None:
        """Measure the frames of some trajectories at one step, counted from 0: (rows, field, x, y) all."""
        self.deviation[rows, step] = deviation(prediction, target, self._points, spread).cpu().numpy()
        if spread is not None:
            self.spread[rows, step] = spread.double().mean(dim=(-2, -1)).cpu().numpy()
        if self.inside is None or self._half_width is None or step >= self._half_width.shape[1]:
            return
        error = _distance(prediction, target, spread)
        for level, width in enumerate(self._half_width[:, step]):
            bound = torch.as_tensor(width, device=error.device)[:, None, None]
            self.inside[level, rows, step] = (error <= bound).double().mean(dim=(-2, -1)).cpu().numpy()


def largest_so_far(errors: Floats) -> Floats:
    """The largest VRMSE up to each step, (trajectory, step, 1 + field), of (trajectory, step, field): first the mean
    over fields, then each field.
    """
    with_mean = np.concatenate([errors.mean(axis=2, keepdims=True), errors], axis=2)
    so_far: Floats = np.maximum.accumulate(with_mean, axis=1)
    return so_far


def _distance(prediction: Tensor, target: Tensor, spread: Tensor | None) -> Tensor:
    error = (prediction.double() - target.double()).abs()
    return torch.nan_to_num(error if spread is None else error / spread.double(), nan=torch.inf, posinf=torch.inf)
