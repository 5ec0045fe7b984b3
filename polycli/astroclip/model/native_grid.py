"""Spectra on grids of their own: which pixels and pieces count, by how much, and positions by wavelength.

Sums over pixels and tokens are weighted by their width in the logarithm of the wavelength, so that they are integrals
over the spectrum: a grid that is finer in the blue than another one counts the blue no more often.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.errors import UserError

#: Periods of the waves that a position is made of, in the logarithm of the wavelength: from beyond all of optical and
#: infrared light down to a piece of 20 pixels of DESI, so that the place of a line is told to a fraction of that.
_LONGEST, _SHORTEST, _WAVES = 4.0, 0.004, 32
#: The logarithmic width of a piece of DESI: a token of this width has weight 1, as that of mean and deviation has.
_USUAL_WIDTH = 0.003


class Pieces(NamedTuple):
    """The places of tokens; the first token, of mean and deviation, lies nowhere and always counts."""

    #: The logarithm of the middle wavelength in Angstrom, and of the last over the first; any where a piece is absent.
    middle: Float[Tensor, "b p"]
    width: Float[Tensor, "b p"]
    #: How much each token counts, the first included: 0 in padding, and where no pixel of a piece was measured.
    share: Float[Tensor, "b t"]


class WavelengthEncoding(nn.Module):
    """Positions that vary smoothly with the wavelength and the width of a piece, for any grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * _WAVES + 1, width)
        nn.init.normal_(self.proj.weight, std=1 / math.sqrt(width * _WAVES))
        nn.init.zeros_(self.proj.bias)

    def forward(self, pieces: Pieces) -> Float[Tensor, "b t d"]:
        """One vector for each token; the first one's is the same in all spectra."""
        steps = torch.arange(_WAVES, device=pieces.middle.device) / (_WAVES - 1)
        phase = pieces.middle[..., None] * (2 * math.pi / (_LONGEST * (_SHORTEST / _LONGEST) ** steps))
        width = (pieces.width / _USUAL_WIDTH).log()
        waves = torch.cat([phase.sin(), phase.cos(), width[..., None]], dim=2)
        return self.proj(functional.pad(waves, (0, 0, 1, 0)).to(self.proj.weight.dtype))  # type: ignore[no-any-return]


def pixel_weights(
    mask: Bool[Tensor, "b l"] | None, wavelength: Float[Tensor, "b l"] | None, like: Float[Tensor, "b l"]
) -> Float[Tensor, "b l"]:
    """The logarithmic width of each pixel that was measured; 0 where it is masked, or padding without a wavelength.

    Raises:
        UserError: there are no wavelengths, or not one for each pixel.
    """
    if wavelength is None:
        raise UserError("this spectrum encoder reads spectra on their own grids, and their wavelengths were not given")
    if wavelength.shape != like.shape:
        raise UserError(f"wavelengths are {tuple(wavelength.shape)}, and the spectra are {tuple(like.shape)}")
    there = wavelength > 0
    place = torch.where(there, wavelength, 1.0).double().log()
    # The distance to the next pixel, where both are there; a pixel reaches half of it on either side.
    gaps = torch.where(there[:, 1:] & there[:, :-1], place.diff(dim=1), 0.0)
    before, after = functional.pad(gaps, (1, 0)), functional.pad(gaps, (0, 1))
    width = torch.where((before > 0) & (after > 0), (before + after) / 2, before + after).float()
    return torch.where(there if mask is None else there & ~mask.bool(), width, 0.0)


def weighted_deviation_and_mean(
    flux: Float[Tensor, "b l"], weight: Float[Tensor, "b l"]
) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """Standard deviation and mean of each spectrum; zeros where nothing has a weight."""
    # Zeros stand for what has no weight: it may hold anything.
    total, flux = weight.sum(dim=1, keepdim=True), torch.where(weight > 0, flux, 0.0)
    total = total.clamp(min=torch.finfo(total.dtype).tiny)
    mean = (flux * weight).sum(dim=1, keepdim=True) / total
    squares = ((flux - mean).square() * weight).sum(dim=1, keepdim=True)
    return (squares / total).sqrt(), mean


def pieces_of(wavelength: Float[Tensor, "b p n"], weight: Float[Tensor, "b p n"]) -> Pieces:
    """Finds where pieces lie, from the wavelengths of their pixels; those that reach into padding are absent."""
    first, last = wavelength[..., 0], wavelength[..., -1]
    there = (wavelength > 0).all(dim=2) & (weight > 0).any(dim=2)
    # Absent pieces have any place that gives finite numbers: nothing looks at them.
    first, last = (torch.where(there, end, torch.full_like(end, other)) for end, other in ((first, 1.0), (last, 2.0)))
    width = last.log() - first.log()
    share = functional.pad(width / _USUAL_WIDTH * there, (1, 0), value=1.0)
    return Pieces((first.log() + last.log()) / 2, width, share)
