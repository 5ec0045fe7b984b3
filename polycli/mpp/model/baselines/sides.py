"""Points beyond the sides of a grid, by the rule of each side, for convolutions that reach over them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polycli.mpp.model.padding import OPEN, PERIODIC, WALL, beyond


def with_margins(
    x: Float[Tensor, "b h w d"], bcs: Int[Tensor, "b 2"], reach: int | tuple[int, int]
) -> Float[Tensor, "b hm wm d"]:
    """`x` with `reach` points more at both ends of both axes: the other end's, mirrored, or the outermost repeated.

    Args:
        x: hidden fields, channels last.
        bcs: 0 wall, 1 periodic, 2 open; [:, 0] is along W, [:, 1] along H. Samples may differ.
        reach: points, or points along H and along W.
    """
    along = (reach, reach) if isinstance(reach, int) else reach
    for axis, flags, points in ((1, bcs[:, 1], along[0]), (2, bcs[:, 0], along[1])):
        if points == 0:
            continue
        wall, periodic = ((flags == rule)[:, None, None, None] for rule in (WALL, PERIODIC))
        strips = {rule: _strips(x, axis, points, rule) for rule in (WALL, PERIODIC, OPEN)}
        before, behind = (
            torch.where(wall, strips[WALL][end], torch.where(periodic, strips[PERIODIC][end], strips[OPEN][end]))
            for end in (0, 1)
        )
        x = torch.cat([before, x, behind], dim=axis)
    return x


def _strips(x: Tensor, axis: int, reach: int, rule: int) -> tuple[Tensor, Tensor]:
    """The points before an axis and behind it, where its sides have a rule."""
    points = x.shape[axis]
    if reach > points:  # Only coarse grids are shorter than a convolution reaches.
        before, behind = (torch.tensor(places, device=x.device) for places in beyond(points, reach, rule))
        return x.index_select(axis, before), x.index_select(axis, behind)
    first, last = x.narrow(axis, 0, reach), x.narrow(axis, points - reach, reach)
    if rule == PERIODIC:
        return last, first
    if rule == WALL:
        return first.flip(axis), last.flip(axis)
    shape = [*x.shape]
    shape[axis] = reach
    return x.narrow(axis, 0, 1).expand(shape), x.narrow(axis, points - 1, 1).expand(shape)
