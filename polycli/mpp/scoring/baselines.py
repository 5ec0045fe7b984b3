"""The forecasts that a model must beat: nothing changes, or everything goes on changing at its present rate."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def persistence(context: Float[Tensor, "b t c h w"], step: int) -> Float[Tensor, "b c h w"]:  # noqa: ARG001  # As below.
    """The last frame known, whatever the step (1 is the first frame after the context)."""
    return context[:, -1]


def linear_extrapolation(context: Float[Tensor, "b t c h w"], step: int) -> Float[Tensor, "b c h w"]:
    """The straight line through the last two frames known, `step` frames on. Exact for fields linear in time."""
    last = context[:, -1]
    return last + step * (last - context[:, -2])
