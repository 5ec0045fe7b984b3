"""Frames to tokens and back for a video transformer: a token is a tube, some points wide and some frames long."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

#: How quickly the waves of the positions grow longer, as Vaswani et al. (2017) have it.
_LONGEST = 10000.0


def cut_tubes(x: Float[Tensor, "b t c h w"], frames: int, points: int) -> Float[Tensor, "b n hp wp c k"]:
    """The values of each tube, by field: those of `frames` frames at `points` x `points` points, the last axis fastest.

    >>> cut_tubes(torch.arange(32.0).view(1, 2, 1, 4, 4), 2, 2)[0, 0, 0, 1, 0].tolist()
    [2.0, 3.0, 6.0, 7.0, 18.0, 19.0, 22.0, 23.0]
    """
    batch, times, fields, height, width = x.shape
    parts = x.reshape(
        batch, times // frames, frames, fields, height // points, points, width // points, points
    )  # (b, n, k, c, hp, i, wp, j)
    return parts.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(5)


def frame_of(tubes: Float[Tensor, "b hp wp c k"], frame: int, points: int) -> Float[Tensor, "b c h w"]:
    """One frame of the tubes of one time, put together."""
    pixels = torch.unflatten(tubes, -1, (-1, points, points))[..., frame, :, :]
    return pixels.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


class TubeEmbedding(nn.Module):
    """A linear map from the values of a tube to a token, with a kernel for each known state."""

    def __init__(self, states: int, frames: int, points: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, states, frames, points, points))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.weight.view(width, -1))

    def forward(
        self, tubes: Float[Tensor, "b n hp wp c k"], selection: Float[Tensor, "s c n"]
    ) -> Float[Tensor, "b n hp wp d"]:
        """Returns tokens in float32."""
        with torch.autocast(tubes.device.type, enabled=False):
            kernel = torch.einsum("dnk,scn->sdck", self.weight.flatten(2), selection).flatten(2)
            values = tubes.flatten(-2)
            if kernel.shape[0] == 1:
                return functional.linear(values, kernel[0], self.bias)
            return torch.einsum("bnhwk,bdk->bnhwd", values, kernel) + self.bias


class TubeReadout(nn.Module):
    """A linear map from a token to the values of its tube in the wanted fields."""

    def __init__(self, states: int, frames: int, points: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(states, frames, points, points, width))
        self.bias = nn.Parameter(torch.zeros(states, frames, points, points))
        nn.init.xavier_uniform_(self.weight.view(-1, width))

    def forward(self, tokens: Float[Tensor, "b l d"], selection: Float[Tensor, "s c n"]) -> Float[Tensor, "b l c k"]:
        """Returns values in float32."""
        with torch.autocast(tokens.device.type, enabled=False):
            kernel = torch.einsum("nkd,scn->sckd", self.weight.flatten(1, 3), selection)
            bias = torch.einsum("nk,scn->sck", self.bias.flatten(1), selection)
            tokens = tokens.to(kernel.dtype)
            if kernel.shape[0] == 1:
                values = torch.unflatten(functional.linear(tokens, kernel[0].flatten(0, 1)), -1, kernel.shape[1:3])
            else:
                values = torch.einsum("bld,bckd->blck", tokens, kernel)
            return values + bias[:, None]


def positions(places: Int[Tensor, "*n"], width: int) -> Float[Tensor, "*n {width}"]:
    """Sines and cosines of a place in a sequence, alternating, as Vaswani et al. (2017) and VideoMAE have them."""
    wave = torch.arange(width, device=places.device, dtype=torch.float64)
    angle = places.double()[..., None] * torch.exp(-math.log(_LONGEST) * (2 * (wave // 2)) / width)
    return torch.where(wave % 2 == 0, angle.sin(), angle.cos()).float()


def numbered(
    times: range, height: int, width: int, grid: tuple[int, int, int], device: torch.device
) -> Int[Tensor, "n p"]:
    """The place of each token: numbers along W, then H, then time, on a grid of tokens at least as large as theirs.

    Tokens of a small grid keep the numbers that they have in the corner of the large one, so that a step along an axis
    is the same step for any data.
    """
    rows, columns = max(grid[1], height), max(grid[2], width)
    time = torch.tensor(list(times), device=device)[:, None, None] * rows * columns
    row = torch.arange(height, device=device)[:, None] * columns
    return (time + row + torch.arange(width, device=device)).flatten(1)


def hidden_places(places: int, ratio: float) -> int:
    """How many places of a frame are hidden: the part `ratio`, rounded, but never none and never all.

    >>> hidden_places(196, 0.9), hidden_places(4, 0.01), hidden_places(4, 0.99)
    (176, 1, 3)
    """
    return min(max(round(places * ratio), 1), places - 1)
