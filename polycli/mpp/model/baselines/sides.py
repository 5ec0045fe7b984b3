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
        rules = {rule: beyond(x.shape[axis], points, rule) for rule in (WALL, PERIODIC, OPEN)}
        ends = []
        for end in (0, 1):
            strips = {
                rule: x.index_select(axis, torch.tensor(places[end], device=x.device)) for rule, places in rules.items()
            }
            wall, periodic = ((flags == rule)[:, None, None, None] for rule in (WALL, PERIODIC))
            ends.append(torch.where(wall, strips[WALL], torch.where(periodic, strips[PERIODIC], strips[OPEN])))
        x = torch.cat([ends[0], x, ends[1]], dim=axis)
    return x
