"""Convolutions in place of the one linear map that makes tokens of pixels (Xiao et al. 2021).

A linear map has to learn a spectral line or the edge of a galaxy anew for every place in a token; convolutions learn it
once. Surveys of some thousand objects, and trainings of minutes, need that.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.recipe.model import PIECE_STEP

_Convolution = TypeVar("_Convolution", nn.Conv1d, nn.Conv2d)


class Layer(NamedTuple):
    """One convolution: channels in and out, and along each axis the pixels that it sees and steps over."""

    inputs: int
    outputs: int
    kernel: int
    step: int


class PatchConvolutions(nn.Module):
    """An image to one vector per patch, each of which sees a little beyond its patch.

    One convolution per prime factor of the patch size, by which it makes the image smaller; the width doubles from each
    to the next, and a linear map comes last.
    """

    def __init__(self, patch_size: int, width: int, planes: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _keeping_variance(nn.Conv2d(before, after, kernel_size=kernel, stride=step, padding=step - 1))
            for before, after, kernel, step in patch_layers(patch_size, width, planes)
        )
        self.proj = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Returns one vector for each patch, in the shape that the convolution that cuts patches would give."""
        maps = rgb
        for layer in self.layers:
            maps = functional.gelu(layer(maps))
        return self.proj(maps)  # type: ignore[no-any-return]


class PieceConvolutions(nn.Module):
    """Each piece of a spectrum, by itself, to its token; beside the flux, whatever context the encoder sees.

    Where the inverse variance is part of that, each pixel is first multiplied by the share of its variance that is not
    noise (Wiener's filter): a token is then not ruled by the few pixels under the lines of the night sky.
    """

    def __init__(self, length: int, width: int, contexts: int) -> None:
        super().__init__()
        layers = piece_layers(width, contexts)
        self.layers = nn.ModuleList(
            # Half of what a kernel is longer than its step, on either side: each layer divides the length exactly.
            _keeping_variance(nn.Conv1d(before, after, kernel_size=kernel, stride=step, padding=(kernel - step) // 2))
            for before, after, kernel, step in layers
        )
        # Two more numbers: the first token's mean and deviation.
        self.proj = nn.Linear(2 + layers[-1].outputs * (length // PIECE_STEP), width)

    def forward(
        self, tokens: Float[Tensor, "b t f"], context: Mapping[str, Float[Tensor, "b t p"]]
    ) -> Float[Tensor, "b t d"]:
        """Embeddings of tokens as `SpecFormer.tokens` makes them."""
        first, pixels = tokens[..., :2], tokens[..., 2:]
        if "ivar" in context:
            pixels = pixels * signal_share(context["ivar"])
        maps = torch.stack([pixels, *context.values()], dim=2).flatten(0, 1)
        for layer in self.layers:
            maps = functional.gelu(layer(maps))
        return self.proj(torch.cat([first, maps.flatten(1).view(*first.shape[:2], -1)], dim=2))  # type: ignore[no-any-return]


def patch_layers(patch_size: int, width: int, planes: int = 3) -> list[Layer]:
    """Builds the convolutions that take an image with so many planes to patches."""
    steps = prime_factors(patch_size)
    channels = [planes, *(max(width >> (len(steps) - number), 8) for number in range(1, len(steps))), width]
    return [
        Layer(before, after, 2 * step - 1, step)
        for step, (before, after) in zip(steps, pairwise(channels), strict=True)
    ]


def piece_layers(width: int, contexts: int) -> list[Layer]:
    """The convolutions over a piece of a spectrum, whose steps make PIECE_STEP."""
    narrow, wide = max(width // 3, 8), max(width // 2, 8)
    return [Layer(1 + contexts, narrow, 8, 4), Layer(narrow, wide, 4, 2)]


def signal_share(log_ratio: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """S^2 / (1 + S^2) of log(1 + S), where S is a spectrum's deviation in units of a pixel's noise."""
    # The square of more than that would be no number; its share is one long before.
    square = torch.expm1(log_ratio.clamp(max=20)).square()
    return square / (1 + square)


def prime_factors(number: int) -> list[int]:
    """Returns the prime factors in rising order; none for 1."""
    factors, factor = [], 2
    while number > 1:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    return factors


def _keeping_variance(convolution: _Convolution) -> _Convolution:
    """Initialises weights so that the variance of the input survives a GELU (He et al. 2015)."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
