"""Masked modelling: what is hidden of spectra and images, and how a spectrum's reconstruction is scored.

Stretches of spectra are hidden as Parker et al. 2024 (section 4.2) do, blocks of patches as Bao et al. 2022.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polycli.astroclip.data.randomness import uniform

_STREAM = 1
#: Streams for patches lie behind those that augmentations of many views draw from.
_PATCH_STREAM = 1 << 20
_STREAMS_PER_VIEW = 4
#: Rectangles that are tried for each image, and the extremes of their height over their width.
_BLOCKS = 8
_MOST_OBLONG = 1 / 0.3


def chunk_mask(
    keys: Int[Tensor, " b"],
    tokens: int,
    *,
    chunks: int,
    chunk_length: int,
    there: Bool[Tensor, "b t"] | None = None,
) -> Bool[Tensor, "b t"]:
    """Chooses the tokens to hide: one stretch of `chunk_length` in each of `chunks` equal regions, at any place in it.

    As published, the first region begins with token 0, which holds mean and deviation, so that it is hidden too when
    the first stretch begins with it (in one of 79 spectra of 7781 pixels), and a stretch never ends with its region.
    Tokens that are left over behind the last region are never hidden.
    Of spectra on grids of their own, the tokens that are `there` are counted alone: padding changes nothing. Where
    there are too few for stretches of that length, those of this spectrum are half as long as its regions.
    """
    if there is None:
        if tokens // chunks <= chunk_length:
            raise ValueError(f"{tokens} tokens have no {chunks} regions longer than {chunk_length}")
        there = torch.ones(len(keys), tokens, dtype=torch.bool, device=keys.device)
    regions = there.sum(dim=1, keepdim=True) // chunks
    lengths = torch.where(regions > chunk_length, chunk_length, (regions // 2).clamp(min=1))
    starts = (uniform(keys, _STREAM, chunks) * (regions - lengths).clamp(min=0)).long()
    starts = starts + regions * torch.arange(chunks, device=keys.device)
    places = there.cumsum(dim=1) - 1
    distance = places[:, None, :] - starts[:, :, None]
    return ((distance >= 0) & (distance < lengths[:, :, None])).any(dim=1) & there


def hide(tokens: Float[Tensor, "b t f"], hidden: Bool[Tensor, "b t"]) -> Float[Tensor, "b t f"]:
    """Tokens with zeros in place of the hidden ones."""
    return tokens * ~hidden[:, :, None]


def masked_error(
    reconstruction: Float[Tensor, "b t f"],
    target: Float[Tensor, "b t f"],
    masked: Float[Tensor, "b t f"],
    weight: Float[Tensor, "b t f"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error over all numbers of the batch that `masked` changed, each with its `weight`.

    As published, a number counts where it differs between `masked` and `target`: one that is exactly zero never does,
    which leaves out the padding of every token.
    """
    counts: Tensor = masked != target
    if weight is not None:
        counts = counts * weight
    squares = (reconstruction.float() - target).square() * counts
    # Weights may add up to less than one; where nothing counts, the error is zero.
    return squares.sum() / counts.sum().clamp(min=torch.finfo(squares.dtype).tiny)


def block_mask(
    keys: Int[Tensor, " b"], side: int, *, probability: float, least: float, most: float, view: int = 0
) -> Bool[Tensor, "b n"]:
    """Chooses the patches to hide of images of `side` x `side` patches: none, or a share between `least` and `most`.

    Rectangles are hidden one after the other where they do not exceed the share; single patches at random make up what
    is missing, so that the share is exact. With `probability` an image is one of which patches are hidden.
    """
    stream = _PATCH_STREAM + view * _STREAMS_PER_VIEW
    chosen, share = uniform(keys, stream, 2).unbind(dim=1)
    wanted = ((least + (most - least) * share) * side**2).round().clamp(min=1)
    wanted = torch.where(chosen < probability, wanted, torch.zeros_like(wanted)).long()
    hidden = torch.zeros(len(keys), side, side, dtype=torch.bool, device=keys.device)
    steps = torch.arange(side, device=keys.device)
    for size, oblong, top, left in uniform(keys, stream + 1, 4 * _BLOCKS).view(-1, _BLOCKS, 4).permute(1, 2, 0):
        area = wanted * (0.25 + 0.75 * size)
        ratio = _MOST_OBLONG ** (2 * oblong - 1)
        height, width = ((area * factor).sqrt().round().clamp(1, side) for factor in (ratio, 1 / ratio))
        rows, columns = (
            (steps >= first[:, None]) & (steps < (first + length)[:, None])
            for first, length in (
                ((top * (side - height + 1)).floor(), height),
                ((left * (side - width + 1)).floor(), width),
            )
        )
        more = hidden | (rows[:, :, None] & columns[:, None, :])
        hidden = torch.where((more.flatten(1).sum(dim=1) <= wanted)[:, None, None], more, hidden)
    # Hidden ones come first, the others in an order of their own: as many as are wanted.
    order = torch.where(hidden.flatten(1), -1.0, uniform(keys, stream + 2, side**2)).argsort(dim=1, stable=True)
    places = torch.empty_like(order).scatter_(1, order, torch.arange(side**2, device=keys.device).expand_as(order))
    return places < wanted[:, None]


def seen_patches(
    keys: Int[Tensor, " b"], count: int, *, hidden: float
) -> tuple[Int[Tensor, "b k"], Bool[Tensor, "b n"]]:
    """The numbers, in rising order, of the patches that are left where a share is hidden at random; and what is hidden.

    One patch at least is left, and one hidden.
    """
    left = min(max(round(count * (1 - hidden)), 1), count - 1)
    seen = uniform(keys, _PATCH_STREAM + 3, count).argsort(dim=1, stable=True)[:, :left].sort(dim=1).values
    return seen, torch.ones(len(keys), count, dtype=torch.bool, device=keys.device).scatter_(1, seen, value=False)
