"""Normalised errors of predicted fields, as MPP and The Well define them.

All functions take fields as (batch, field, height, width) and return one value per sample and field, so that callers
decide what to average over. Sums are in float32 whatever the input's precision (float64 stays float64). Where samples
of several grids share a batch, `own` are each one's own points, and both fields are zero elsewhere.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from polycli.mpp.model.normalization import widen

#: Both papers add it to the squared scale; a target of zeros gives a large finite number.
EPSILON = 1e-7
SPACE = (-2, -1)


def mean_square_error(
    prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None = None
) -> Float[Tensor, "b c"]:
    """Mean over space of the squared difference."""
    return _mean((widen(prediction) - widen(target)).square(), own)


def mean_square(target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None = None) -> Float[Tensor, "b c"]:
    """Mean over space of the squared value."""
    return _mean(widen(target).square(), own)


def variance(target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None = None) -> Float[Tensor, "b c"]:
    """Unbiased variance over space, in two passes, so that a field on a large constant keeps its digits."""
    target = widen(target)
    centred = target - _mean(target, own)[..., None, None]
    if own is not None:
        return (centred * own).square().sum(dim=SPACE) / (own.sum(dim=SPACE) - 1).clamp(min=1)
    return centred.square().sum(dim=SPACE) / max(target.shape[-2] * target.shape[-1] - 1, 1)


def _mean(values: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None) -> Float[Tensor, "b c"]:
    return values.mean(dim=SPACE) if own is None else values.sum(dim=SPACE) / own.sum(dim=SPACE)


def nrmse(
    prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None = None
) -> Float[Tensor, "b c"]:
    """Root mean square error over the root mean square of the target (McCabe et al. 2024, section 5).

    The mean is over space, and the root is taken before any average over samples or fields.

    Example:
        >>> import torch
        >>> target = torch.tensor([1.0, -1.0]).repeat(1, 1, 4, 2)  # one sample of one field, 4 x 4 points
        >>> round(nrmse(1.1 * target, target).item(), 4)  # too large by a tenth everywhere
        0.1
    """
    return (mean_square_error(prediction, target, own) / (mean_square(target, own) + EPSILON)).sqrt()


def vrmse(
    prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None = None
) -> Float[Tensor, "b c"]:
    """Root mean square error over the standard deviation of the target (Ohana et al. 2024, The Well).

    The standard deviation is unbiased, as in The Well's code; predicting the target's mean scores 1, but for the
    n / (n - 1) between the two estimates.

    Example:
        >>> import torch
        >>> target = torch.tensor([1.0, -1.0]).repeat(1, 1, 4, 2)
        >>> round(vrmse(torch.zeros_like(target), target).item(), 4)  # the mean everywhere: sqrt(15 / 16)
        0.9682
    """
    return (mean_square_error(prediction, target, own) / (variance(target, own) + EPSILON)).sqrt()
