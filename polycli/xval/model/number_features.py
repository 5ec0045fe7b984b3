"""Shows the model numbers in another way than by their size: waves of their digits, or their bits, all in float64.

`fone` (Zhou et al. 2025, FoNE, arXiv 2502.09741): for the digit of 10^i, cos and sin of 2 pi x / 10^(i + 1).
`bits` (Kreitner et al. 2025, BitTokens, arXiv 2510.06824): the 64 bits of x and of 1 / x in IEEE 754, as -1 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polycli.xval.numbers.choice import PUBLISHED_EXPONENTS
from polycli.xval.recipe.model import ModelSection

#: Bits of a float64: sign, 11 of the exponent, 52 of the fraction.
BITS = 64


class Features(Protocol):
    """Numbers to what is added to the vector of [NUM], after a linear map."""

    @property
    def width(self) -> int:
        """The number of features of a number."""
        ...

    def of(self, numbers: Float[Tensor, "*b"]) -> Float[Tensor, "*b f"]:
        """Features between -1 and 1, in float32."""
        ...


@dataclass(frozen=True)
class Waves:
    """A pair of cos and sin for each digit from 10^low to 10^high, that of the last digit first."""

    exponents: tuple[int, int]

    @property
    def width(self) -> int:
        """Two for each digit."""
        return 2 * (self.exponents[1] - self.exponents[0] + 1)

    def of(self, numbers: Float[Tensor, "*b"]) -> Float[Tensor, "*b f"]:
        """cos(2 pi x / T) and sin(2 pi x / T) for each period T; negative numbers differ in the sines."""
        powers = range(self.exponents[0] + 1, self.exponents[1] + 2)
        periods = torch.tensor([10.0**power for power in powers], dtype=torch.float64, device=numbers.device)
        # The remainder first: the angle of a number of many periods would lose its digits.
        turns = torch.remainder(numbers.double()[..., None], periods) / periods
        angles = 2 * math.pi * turns
        return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2).float()


@dataclass(frozen=True)
class Bits:
    """The bits of a number and of its reciprocal, the sign first."""

    @property
    def width(self) -> int:
        """Those of two float64."""
        return 2 * BITS

    def of(self, numbers: Float[Tensor, "*b"]) -> Float[Tensor, "*b f"]:
        """-1 where a bit is 0; the reciprocal of 0 is infinity, which has bits too."""
        double = numbers.double()
        both = torch.stack([bits_of(double), bits_of(double.reciprocal())], dim=-2).flatten(-2)
        return both.float() * 2 - 1


def bits_of(numbers: Float[Tensor, "*b"]) -> Int[Tensor, "*b 64"]:
    """The bits of float64 numbers, 0 or 1, the sign first."""
    shifts = torch.arange(BITS - 1, -1, -1, device=numbers.device)
    return (numbers.contiguous().view(torch.int64)[..., None] >> shifts) & 1


def number_of(bits: Int[Tensor, "*b 64"]) -> Float[Tensor, "*b"]:
    """The float64 numbers that have these bits."""
    shifts = torch.arange(BITS - 1, -1, -1, device=bits.device)
    # The sum of the shifted bits wraps around for a sign of 1, as two's complement has it.
    return (bits.long() << shifts).sum(dim=-1).view(torch.float64)


def features_of(section: ModelSection) -> Features | None:
    """The features that an encoding adds; None where the number itself multiplies the vector."""
    if section.encoding == "fone":
        return Waves(section.exponents or PUBLISHED_EXPONENTS)
    return Bits() if section.encoding == "bits" else None
