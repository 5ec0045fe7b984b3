"""Reads numbers off the outputs of the number head, which mean a number in some space, its digits or its bits.

All losses are one for each number and in float32. Every answer is a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from polycli.xval.model.number_features import BITS, bits_of, number_of
from polycli.xval.model.number_layers import NumberSpace, number_space
from polycli.xval.numbers.choice import PUBLISHED_EXPONENTS
from polycli.xval.recipe.model import ModelSection

_EXPONENT_BITS = 11
#: Exponents of float64, as they are stored, of numbers below 2^127: float32 holds them.
_EXPONENTS = 1023 + 127


class Readout(Protocol):
    """One way to read numbers off the outputs of a head."""

    @property
    def outputs(self) -> int:
        """The outputs that it needs."""
        ...

    def losses(self, codes: Float[Tensor, "n o"], numbers: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """How wrong the outputs are for the true numbers, one loss each."""
        ...

    def numbers(self, codes: Float[Tensor, "*b o"]) -> Float[Tensor, "*b"]:
        """The numbers that the outputs mean, in the units of the input numbers."""
        ...


@dataclass(frozen=True)
class Regression:
    """One output, the number in linear or asinh space; squared error (Golkar et al. 2023, section 2.3)."""

    space: NumberSpace
    outputs: int = 1

    def losses(self, codes: Float[Tensor, "n o"], numbers: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Squared error in the space."""
        return (codes[..., 0] - self.space.encode(numbers)).square()

    def numbers(self, codes: Float[Tensor, "*b o"]) -> Float[Tensor, "*b"]:
        """The output, taken out of its space."""
        return self.space.decode(codes[..., 0])


@dataclass(frozen=True)
class Digits:
    """Two outputs for each digit, compared with (cos, sin)(2 pi j / 10) of j = 0 to 9 (Zhou et al. 2025), and a sign.

    The sign is one output more, negative numbers being those above 0: the paper's numbers have none.
    """

    exponents: tuple[int, int]

    @property
    def _digits(self) -> int:
        return self.exponents[1] - self.exponents[0] + 1

    @property
    def outputs(self) -> int:
        """Two for each digit, and the sign."""
        return 2 * self._digits + 1

    def losses(self, codes: Float[Tensor, "n o"], numbers: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The mean of the cross-entropies of all digits and of the sign."""
        logits = self._logits(codes)
        digits = functional.cross_entropy(logits.transpose(-1, -2), self.digits_of(numbers), reduction="none")
        sign = functional.binary_cross_entropy_with_logits(codes[..., -1], (numbers < 0).float(), reduction="none")
        return (digits.sum(dim=-1) + sign) / (self._digits + 1)

    def numbers(self, codes: Float[Tensor, "*b o"]) -> Float[Tensor, "*b"]:
        """The likeliest digits, read as a number; float64, so that it is the nearest to its decimal."""
        whole = (self._logits(codes).argmax(dim=-1) * self._powers(codes.device)).sum(dim=-1).double()
        low = self.exponents[0]
        # Powers of ten up to 1e22 are float64 exactly, so that this one operation is all the rounding there is.
        size = whole / 10.0**-low if low < 0 else whole * 10.0**low
        return torch.where((codes[..., -1] > 0) & (size > 0), -size, size)

    def digits_of(self, numbers: Float[Tensor, "*b"]) -> Int[Tensor, "*b d"]:
        """The digits of numbers, the last one first."""
        size, low = numbers.double().abs(), self.exponents[0]
        whole = torch.round(size * 10.0**-low if low < 0 else size / 10.0**low).long()
        return whole[..., None] // self._powers(numbers.device) % 10

    def _powers(self, device: torch.device) -> Int[Tensor, " d"]:
        return torch.tensor([10**place for place in range(self._digits)], device=device)

    def _logits(self, codes: Float[Tensor, "*b o"]) -> Float[Tensor, "*b d 10"]:
        angles = 2 * math.pi * torch.arange(10, device=codes.device) / 10
        waves = torch.stack([angles.cos(), angles.sin()])
        return codes[..., :-1].reshape(*codes.shape[:-1], self._digits, 2) @ waves


@dataclass(frozen=True)
class BitLogits:
    """A logit for each bit of a float64, the sign first (Kreitner et al. 2025)."""

    outputs: int = BITS

    def losses(self, codes: Float[Tensor, "n o"], numbers: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The mean of the binary cross-entropies of all bits."""
        bits = bits_of(numbers.double()).float()
        return functional.binary_cross_entropy_with_logits(codes, bits, reduction="none").mean(dim=-1)

    def numbers(self, codes: Float[Tensor, "*b o"]) -> Float[Tensor, "*b"]:
        """The likeliest number within float32: the bits above 0, but for an exponent that no number read could have."""
        bits = (codes > 0).long()
        places = torch.arange(_EXPONENT_BITS - 1, -1, -1, device=codes.device)
        exponents = (torch.arange(_EXPONENTS, device=codes.device)[:, None] >> places) & 1
        # The logarithm of each exponent's odds is the sum of the logits of its bits that are 1.
        likeliest = (codes[..., 1 : 1 + _EXPONENT_BITS] @ exponents.float().T).argmax(dim=-1)
        bits = torch.cat([bits[..., :1], exponents[likeliest], bits[..., 1 + _EXPONENT_BITS :]], dim=-1)
        return number_of(bits)


def readout_of(section: ModelSection) -> Readout:
    """The readout of an encoding."""
    if section.encoding == "fone":
        return Digits(section.exponents or PUBLISHED_EXPONENTS)
    if section.encoding == "bits":
        return BitLogits()
    return Regression(number_space(section.number_head, section.decades))
