"""The layers by which numbers enter the network and leave it: always in float32, whatever autocast says.

In: the vector of [NUM] times the number (Golkar et al. 2023, equation 1), the same plus a bank of saturating terms,
one per decade, so that numbers of any size move the embedding, or the vector plus what is seen of digits or bits. Out:
some outputs per position, such as a number in linear or asinh space, and rising quantiles beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polycli.xval.model.number_features import features_of
from polycli.xval.recipe.model import ModelSection

#: Spaces other than linear map the largest decade here, as the paper's preprocessing maps its data.
SPAN = 5.0


@dataclass(frozen=True)
class LinearSpace:
    """The number space in which numbers are as they are."""

    def encode(self, numbers: Tensor) -> Tensor:
        """Identity: numbers are unchanged in this space."""
        return numbers

    def decode(self, codes: Tensor) -> Tensor:
        """Identity: numbers are unchanged in this space."""
        return codes


@dataclass(frozen=True)
class AsinhSpace:
    """Linear near zero, logarithmic beyond `softness`: asinh(x / softness), scaled so that `largest` becomes 5."""

    softness: float
    largest: float

    @classmethod
    def of(cls, decades: tuple[int, int]) -> AsinhSpace:
        """The space for numbers from 10^low to 10^high."""
        return cls(10.0 ** decades[0], 10.0 ** decades[1])

    @property
    def _scale(self) -> float:
        return SPAN / math.asinh(self.largest / self.softness)

    def encode(self, numbers: Tensor) -> Tensor:
        """Codes of numbers; finite for every finite float32."""
        size = numbers.abs()
        # asinh(x / s) overflows for x / s beyond float32, where it is ln(2 x) - ln(s) to the last bit.
        far = torch.log(size.clamp(min=1e-30)) + (math.log(2.0) - math.log(self.softness))
        near = torch.asinh(size.clamp(max=1e6 * self.softness) / self.softness)
        return torch.sign(numbers) * torch.where(size > 1e6 * self.softness, far, near) * self._scale

    def decode(self, codes: Tensor) -> Tensor:
        """Numbers of codes; codes beyond float32 give its largest number."""
        most = math.log(2.0) + math.log(torch.finfo(torch.float32).max) - math.log(self.softness)
        bounded = (codes / self._scale).clamp(-most, most).double()
        limit = torch.finfo(torch.float32).max
        return (torch.sinh(bounded) * self.softness).clamp(-limit, limit).float()


NumberSpace = LinearSpace | AsinhSpace


def number_space(name: str, decades: tuple[int, int]) -> NumberSpace:
    """The space that a recipe names."""
    return AsinhSpace.of(decades) if name == "asinh" else LinearSpace()


class MultiscaleBank(nn.Module):
    """Sum over decades k of phi_k(x) u_k, phi_k(x) = x / sqrt(s_k^2 + x^2), s_k = 10^k.

    phi is what the first layer normalisation makes of x u in plain xVal, at s = 1; a bank has one for every decade.
    """

    def __init__(self, width: int, decades: tuple[int, int], start: float) -> None:
        super().__init__()
        self.scales = tuple(10.0**power for power in range(decades[0], decades[1] + 1))
        self.vectors = nn.Linear(len(self.scales), width, bias=False)
        nn.init.normal_(self.vectors.weight, std=start) if start else nn.init.zeros_(self.vectors.weight)

    def forward(self, numbers: Float[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """Returns the vectors to add to the embeddings of numbers; zero where the number is zero."""
        scales = torch.tensor(self.scales, dtype=torch.float32, device=numbers.device)
        x = numbers[..., None]
        # hypot neither overflows nor underflows where squares would.
        return self.vectors(x / torch.hypot(x, scales))  # type: ignore[no-any-return]


class NumberEncoder(nn.Module):
    """Token embeddings to token embeddings that know their numbers; only [NUM] positions change."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.features = features_of(section)
        self.reading = None
        if self.features is not None:
            self.reading = nn.Linear(self.features.width, section.embed_dim, bias=False)
            # As large as the vector of [NUM] that it is added to.
            nn.init.normal_(self.reading.weight, std=self.features.width**-0.5)
        multiscale = section.encoding == "multiscale"
        self.space = number_space(section.number_term if multiscale else "linear", section.decades)
        self.bank = MultiscaleBank(section.embed_dim, section.decades, section.bank_start) if multiscale else None

    def forward(
        self, embedded: Float[Tensor, "b l d"], numbers: Float[Tensor, "b l"], is_number: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l d"]:
        """`embedded` times the number's term, plus the bank's terms, or plus its features, at numbers.

        Unchanged elsewhere.
        """
        with torch.autocast(embedded.device.type, enabled=False):
            if self.features is not None and self.reading is not None:
                seen = self.reading(self.features.of(numbers))
                return embedded.float() + torch.where(is_number[..., None], seen, 0.0)
            numbers = torch.where(is_number, numbers.float(), 0.0)
            factor = torch.where(is_number, self.space.encode(numbers), 1.0)
            result = embedded.float() * factor[..., None]
            return result if self.bank is None else result + self.bank(numbers)


class NumberHead(nn.Sequential):
    """One value, or some, from a token's vector, in float32; the parameter names of the published model."""

    def __init__(self, width: int, hidden: int, outputs: int = 1) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b o"]:
        """Predicts codes in the number space."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            for layer in self:
                x = layer(x)
            return x
