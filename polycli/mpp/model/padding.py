"""The place of a grid among the patches: axes are lengthened by the rule of their boundary, and cut back at the end.

A grid that the patch size divides passes through untouched. Otherwise each axis gets the missing points, half of them
before and half behind, as the physics beyond the boundary has them: a periodic axis goes on with its other end, a wall
mirrors, an open boundary repeats the outermost point. No value is interpolated, so the points of the data keep theirs.
A placement may also move the grid against the patches, which jitter does: see `jitter`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

WALL, PERIODIC, OPEN = 0, 1, 2


def missing_points(points: int, patch_size: int) -> tuple[int, int]:
    """Points to add (before, behind) an axis so that the patch size divides it.

    >>> missing_points(30, 16), missing_points(32, 16)
    ((1, 1), (0, 0))
    """
    missing = -points % patch_size
    return missing // 2, missing - missing // 2


@dataclass(frozen=True)
class Placement:
    """How a grid is laid over whole patches; each pair is (along H, along W)."""

    grid: tuple[int, int]
    #: Points added before and behind each axis.
    before: tuple[int, int]
    behind: tuple[int, int]
    #: Points by which each axis is rolled first; other than 0 on periodic axes alone.
    rolled: tuple[int, int] = (0, 0)

    @classmethod
    def centred(cls, grid: tuple[int, int], patch_size: int) -> Placement:
        """The placement that adds no more than is missing, half of it on either side, and moves nothing."""
        height, width = (missing_points(points, patch_size) for points in grid)
        return cls(grid, (height[0], width[0]), (height[1], width[1]))

    def lay(self, x: Float[Tensor, "b t c h w"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b t c hp wp"]:
        """`x` as the patches see it.

        Args:
            x: frames on their own grid.
            bcs: 0 wall, 1 periodic, 2 open; [:, 0] is along W, [:, 1] along H.
        """
        x = _rolled(x, self.rolled)
        for axis, before, behind, flags in zip((3, 4), self.before, self.behind, (bcs[:, 1], bcs[:, 0]), strict=True):
            if before or behind:
                place = torch.arange(-before, x.shape[axis] + behind, device=flags.device)
                sources = source_points(place, x.shape[axis], flags[:, None])
                shape = [1, 1, 1, 1, 1]
                shape[0], shape[axis] = sources.shape
                sizes = [*x.shape]
                sizes[axis] = sources.shape[1]
                x = x.gather(axis, sources.view(shape).expand(sizes))
        return x

    def take_back(self, y: Float[Tensor, "b c hp wp"]) -> Float[Tensor, "b c h w"]:
        """The part of `y` that lies on the data's own grid, in its own order."""
        (top, left), (height, width) = self.before, self.grid
        return _rolled(y[..., top : top + height, left : left + width], (-self.rolled[0], -self.rolled[1]))


def pad_to_patches(
    x: Float[Tensor, "b t c h w"], bcs: Int[Tensor, "b 2"], patch_size: int
) -> Float[Tensor, "b t c hp wp"]:
    """`x` with both axes lengthened to multiples of the patch size."""
    return Placement.centred((x.shape[3], x.shape[4]), patch_size).lay(x, bcs)


def crop_to_grid(y: Float[Tensor, "b c hp wp"], grid: tuple[int, int], patch_size: int) -> Float[Tensor, "b c h w"]:
    """The part of `y` that lies on the data's own grid: what `pad_to_patches` added is cut away."""
    return Placement.centred(grid, patch_size).take_back(y)


def _rolled(x: Tensor, points: tuple[int, int]) -> Tensor:
    return x.roll(points, dims=(-2, -1)) if any(points) else x


def source_points(
    place: Int[Tensor, "*b p"], points: int | Int[Tensor, "b 1"], flags: Int[Tensor, "b 1"]
) -> Int[Tensor, "b p"]:
    """The index of the point of an axis that each place on it, or beyond its ends, repeats.

    Args:
        place: counted from the axis' first point, for all samples or for each.
        points: how many points the axis has, in all samples or in each.
        flags: 0 wall, 1 periodic, 2 open.
    """
    folded = place.remainder(2 * points)
    wall = torch.where(folded < points, folded, 2 * points - 1 - folded)
    last = torch.as_tensor(points - 1, device=flags.device)
    nearest = torch.minimum(place.clamp(min=0), last)
    return torch.where(flags == PERIODIC, place.remainder(points), torch.where(flags == OPEN, nearest, wall))


def beyond(points: int, reach: int, rule: int) -> tuple[list[int], list[int]]:
    """The indices of the points that `reach` points before an axis and behind it repeat, where its sides have a rule.

    >>> beyond(4, 2, WALL), beyond(4, 2, PERIODIC), beyond(4, 2, OPEN)
    (([1, 0], [3, 2]), ([2, 3], [0, 1]), ([0, 0], [3, 3]))
    """
    ends = ([*range(-reach, 0)], [*range(points, points + reach)])
    if rule == PERIODIC:
        before, behind = ([place % points for place in end] for end in ends)
    elif rule == OPEN:
        before, behind = ([min(max(place, 0), points - 1) for place in end] for end in ends)
    else:
        before, behind = ([min(place % (2 * points), (-1 - place) % (2 * points)) for place in end] for end in ends)
    return before, behind
