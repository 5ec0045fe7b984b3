"""Patch jitter: the grid lies elsewhere among the patches in every forward pass, and is moved back after decoding.

A fixed lattice of patches leaves its mark on every predicted frame, and a forecast that is fed back adds mark to mark.
Moved at random, the marks do not add up (Walrus, McCabe et al. 2025). A periodic axis is rolled by any number of
points; a wall or an open boundary is lengthened by one patch more than it needs, by the rule of `padding`, and the grid
begins at a random point of the first patch. A whole periodic axis is rolled, not one patch of it: on a ring of an even
number of patches the published position bias tells the two ways to the opposite patch apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from polycli.mpp.model.padding import PERIODIC, Placement, missing_points

#: Two numbers from 0 up to 1: how far the grid is moved along H and along W.
Fractions = tuple[float, float]


class Draw(NamedTuple):
    """Names one of a model's random placements, so that a forecast is the same however often and with whom it is made.

    A forecast takes the draws (seed, 0), (seed, 1) and so on, one for each of its steps; another seed gives another
    forecast of the same frames.
    """

    seed: int = 0
    step: int = 0

    @property
    def fractions(self) -> Fractions:
        """The numbers that this draw stands for; they depend on nothing else."""
        height, width = np.random.Generator(np.random.Philox(key=[self.seed, self.step])).random(2)
        return float(height), float(width)


def drawn_in_training() -> Fractions:
    """Fractions from torch's generator on the CPU, which the engine seeds anew in every step."""
    height, width = torch.rand(2).tolist()
    return height, width


def jittered(grid: tuple[int, int], bcs: Int[Tensor, "b 2"], patch_size: int, fractions: Fractions) -> Placement:
    """The placement of a grid that is moved by `fractions` of what its axes allow, the same for the whole batch.

    Samples of one batch share their boundaries; where they do not, an axis is moved as periodic only where it is
    periodic in all of them.
    """
    periodic = (bcs == PERIODIC).all(dim=0).tolist()[::-1]  # along H, along W
    before, behind, rolled = [], [], []
    for points, wraps, fraction in zip(grid, periodic, fractions, strict=True):
        low, high = missing_points(points, patch_size)
        moved = int(fraction * (points if wraps else patch_size))
        before.append(low if wraps else low + moved)
        behind.append(high if wraps else high + patch_size - moved)
        rolled.append(moved if wraps else 0)
    return Placement(grid, (before[0], before[1]), (behind[0], behind[1]), (rolled[0], rolled[1]))


def widened_grid(grid: tuple[int, int], boundary_flags: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """The points along (H, W) that a jittered model computes on: axes that are not periodic have one patch more."""
    along_w, along_h = boundary_flags
    height, width = (
        points + (0 if flag == PERIODIC else patch_size) for points, flag in zip(grid, (along_h, along_w), strict=True)
    )
    return height, width
