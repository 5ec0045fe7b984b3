"""Absolute position: tokens are told how far along an axis they lie, where the recipe has it.

The published model knows distances between tokens alone. Where walls or inflows force the flow it can help to know the
place itself; on a periodic axis there is no place to know, and a model that learns one no longer treats all places
alike (Walrus: worse on periodic flows, better between walls).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.mpp.model.mixture import MixedPlacement
from polycli.mpp.model.normalization import widen
from polycli.mpp.model.padding import PERIODIC, Placement

#: `walls`: along axes that are not periodic; `all`: along all.
Axes = Literal["walls", "all"]
#: Waves along an axis, of half a wave and its multiples, that describe a place on it.
WAVES = 8


class AbsolutePosition(nn.Module):
    """Adds to each token a learned function of its place along H and W. All zero at first: nothing is added."""

    def __init__(self, width: int, axes: Axes) -> None:
        super().__init__()
        self.axes = axes
        self.height = nn.Parameter(torch.zeros(2 * WAVES, width))
        self.width = nn.Parameter(torch.zeros(2 * WAVES, width))

    def forward(
        self, tokens: Float[Tensor, "b t hp wp d"], bcs: Int[Tensor, "b 2"], placement: Placement | MixedPlacement
    ) -> Float[Tensor, "b t hp wp d"]:
        """The tokens of a grid that was laid over the patches by `placement`, with their places added."""
        weights = (self.height, self.width)
        added = []
        for axis, weight in enumerate(weights):
            places = token_places(tokens.shape[2 + axis], placement, axis, device=tokens.device)
            along = waves(places).to(weight.dtype) @ weight
            if self.axes == "walls":
                along = along * (bcs[:, 1 - axis] != PERIODIC)[:, None, None]
            else:
                along = along.expand(tokens.shape[0], -1, -1)
            added.append(along)
        height, width = added
        return tokens + (height[:, None, :, None] + width[:, None, None, :]).to(tokens.dtype)


def token_places(
    tokens: int, placement: Placement | MixedPlacement, axis: int, device: torch.device
) -> Float[Tensor, "*b n"]:
    """The places of the tokens' centres along an axis of the grid, from 0 to 1; what was moved is moved back.

    They are those of each sample where samples have grids of their own.
    """
    if isinstance(placement, MixedPlacement):
        return placement.token_places(axis)
    points = placement.grid[axis]
    whole = points + placement.before[axis] + placement.behind[axis]
    centres = (torch.arange(tokens, device=device, dtype=torch.float32) + 0.5) * (whole / tokens)
    places = centres - placement.before[axis] - placement.rolled[axis]
    return (places.remainder(points) if placement.rolled[axis] else places) / points


def waves(places: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n k"]:
    """Cosines and sines of half a wave and its multiples: (..., n, 2 `WAVES`)."""
    angles = widen(places)[..., None] * (math.pi * torch.arange(1, WAVES + 1, device=places.device))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
