"""Masked modelling of spectra: what is hidden, and how its reconstruction is scored (Parker et al. 2024, 4.2)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polycli.astroclip.data.randomness import uniform

_STREAM = 1


def chunk_mask(keys: Int[Tensor, " b"], tokens: int, *, chunks: int, chunk_length: int) -> Bool[Tensor, "b t"]:
    """Chooses the tokens to hide: one stretch of `chunk_length` in each of `chunks` equal regions, at any place in it.

    As published, the first region begins with token 0, which holds mean and deviation, so that it is hidden too when
    the first stretch begins with it (in one of 79 spectra of 7781 pixels), and a stretch never ends with its region.
    Tokens that are left over behind the last region are never hidden.
    """
    region = tokens // chunks
    if region <= chunk_length:
        raise ValueError(f"{tokens} tokens have no {chunks} regions longer than {chunk_length}")
    starts = (uniform(keys, _STREAM, chunks) * (region - chunk_length)).long()
    starts = starts + region * torch.arange(chunks, device=keys.device)
    places = torch.arange(tokens, device=keys.device)
    distance = places[None, None, :] - starts[:, :, None]
    return ((distance >= 0) & (distance < chunk_length)).any(dim=1)


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
