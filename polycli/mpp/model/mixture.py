"""Batches of several physics: each sample has its own fields, grid and boundaries, and the rest of it is padding.

A sample's fields lie in its first channels and its grid in the first rows and columns of the batch; what lies beyond
may hold anything and is never read. Tokens of the patches behind a sample's last one are zero after every norm, no
attention looks at them, and no mean is over them, so that a sample is computed as if it were alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polycli.errors import UserError
from polycli.mpp.model.jitter import Fractions
from polycli.mpp.model.padding import PERIODIC, source_points
from polycli.mpp.recipe.physics import ABSENT


def first_points(counts: Int[Tensor, "b 2"], height: int, width: int) -> Bool[Tensor, "b h w"]:
    """Whether each point of a grid of (height, width) is among the first `counts` along H and W of its sample."""
    rows = torch.arange(height, device=counts.device) < counts[:, :1]
    columns = torch.arange(width, device=counts.device) < counts[:, 1:]
    return rows[:, :, None] & columns[:, None, :]


def own_values(
    x: Float[Tensor, "b t c h w"], state_labels: Int[Tensor, "b c"], grids: Int[Tensor, "b 2"]
) -> Float[Tensor, "b t c h w"]:
    """`x` with zeros in place of whatever its samples are padded with."""
    own = first_points(grids, x.shape[3], x.shape[4])[:, None, None]
    return torch.where(own & (state_labels != ABSENT)[:, None, :, None, None], x, torch.zeros((), dtype=x.dtype))


def check_grids(grids: object, state_labels: Tensor, *, batch: int, size: tuple[int, int], patch_size: int) -> None:
    """Refuse what does not say which part of each sample of a mixed batch is its own, in a sentence.

    Raises:
        UserError: an input has another shape or type, or a sample is larger than the batch or a single token.
    """
    if not isinstance(grids, Tensor) or tuple(grids.shape) != (batch, 2) or grids.is_floating_point():
        found = tuple(grids.shape) if isinstance(grids, Tensor) else type(grids).__name__
        raise UserError(f"grids is {found}; integers ({batch}, 2) were expected: points along H, along W")
    if state_labels.ndim != 2:
        raise UserError("state_labels is the same for all samples; with grids, (batch, fields) was expected")
    largest = torch.tensor(size, device=grids.device)
    if bool((grids < 1).any()) or bool((grids > largest).any()):
        raise UserError(
            f"grids holds {sorted(set(map(tuple, grids.tolist())))}; the batch has {size[0]} x {size[1]} points"
        )
    if bool((grids <= patch_size).all(dim=1).any()):
        raise UserError(
            f"a sample of at most {patch_size} x {patch_size} points is a single token, which has no spread over "
            "space; it cannot share a batch with other grids"
        )


@dataclass(frozen=True)
class TokenMask:
    """Which tokens of a mixed batch belong to their samples."""

    #: Tokens of each sample along (H, W).
    counts: Int[Tensor, "b 2"]
    #: Tokens of the batch along (H, W).
    largest: tuple[int, int]

    def at(self, x: Float[Tensor, "b *t h w d"]) -> Bool[Tensor, "b *t h w 1"]:
        """The mask for tokens, or for the finer tokens that the stem and the head make of each one."""
        height, width = x.shape[-3:-1]
        inside = first_points(self.counts * (height // self.largest[0]), height, width)[..., None]
        return inside if x.ndim == 4 else inside[:, None]


@dataclass(frozen=True)
class MixedPlacement:
    """How the grid of each sample is laid over whole patches, each by the rule of its own boundaries."""

    #: Points of each sample along (H, W).
    grids: Int[Tensor, "b 2"]
    #: Points added before each axis, and those by which it is rolled first.
    before: Int[Tensor, "b 2"]
    rolled: Int[Tensor, "b 2"]
    mask: TokenMask
    patch_size: int

    @classmethod
    def of(
        cls,
        grids: Int[Tensor, "b 2"],
        size: tuple[int, int],
        bcs: Int[Tensor, "b 2"],
        patch_size: int,
        fractions: Fractions | None,
    ) -> MixedPlacement:
        """The placement that `Placement.centred`, or `jittered` where there are fractions, gives to each sample.

        Args:
            grids: points of each sample along (H, W).
            size: points of the batch along (H, W).
            bcs: 0 wall, 1 periodic, 2 open; [:, 0] is along W, [:, 1] along H.
            patch_size: points of a patch along each axis.
            fractions: how far grids are moved along H and W, where patches are jittered.
        """
        before = (-grids).remainder(patch_size) // 2
        rolled = torch.zeros_like(grids)
        counts = (grids + patch_size - 1) // patch_size
        largest = (-(-size[0] // patch_size), -(-size[1] // patch_size))
        if fractions is not None:
            # As `jittered` has it, sample by sample; every axis that is not periodic is one patch longer.
            periodic = bcs.flip(1) == PERIODIC
            part = torch.tensor(fractions, dtype=torch.float64, device=grids.device)
            rolled = torch.where(periodic, (part * grids).long(), rolled)
            before = torch.where(periodic, before, before + (part * patch_size).long())
            counts = torch.where(periodic, counts, counts + 1)
            largest = (largest[0] + 1, largest[1] + 1)
        return cls(grids, before, rolled, TokenMask(counts, largest), patch_size)

    def lay(self, x: Float[Tensor, "b t c h w"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b t c hp wp"]:
        """`x` as the patches see it, zero behind the last patch of each sample."""
        flags = bcs.flip(1)
        for axis in (0, 1):
            place = torch.arange(self.mask.largest[axis] * self.patch_size, device=x.device)
            place = place - self.before[:, axis, None] - self.rolled[:, axis, None]
            sources = source_points(place, self.grids[:, axis, None], flags[:, axis, None])
            x = _taken(x, 3 + axis, sources)
        own = first_points(self.mask.counts * self.patch_size, x.shape[3], x.shape[4])
        return x * own[:, None, None]

    def take_back(self, y: Float[Tensor, "b c hp wp"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        """The part of `y` that lies on each sample's own grid, in its own order; what lies beyond is not zero."""
        for axis in (0, 1):
            points = self.grids[:, axis, None]
            place = torch.arange(size[axis], device=y.device) + self.rolled[:, axis, None]
            y = _taken(y, 2 + axis, place.remainder(points) + self.before[:, axis, None])
        return y

    def token_places(self, axis: int) -> Float[Tensor, "b n"]:
        """The places of the tokens' centres along an axis of each sample's grid, as `token_places` has them."""
        points, rolled = self.grids[:, axis, None], self.rolled[:, axis, None]
        centres = (
            torch.arange(self.mask.largest[axis], device=points.device, dtype=torch.float32) + 0.5
        ) * self.patch_size
        places = centres - self.before[:, axis, None] - rolled
        return torch.where(rolled > 0, places.remainder(points), places) / points


def _taken(x: Tensor, axis: int, sources: Int[Tensor, "b p"]) -> Tensor:
    """`x` with the points along an axis that `sources` names, for each sample its own."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = sources.shape
    sizes = [*x.shape]
    sizes[axis] = sources.shape[1]
    return x.gather(axis, sources.view(shape).expand(sizes))
