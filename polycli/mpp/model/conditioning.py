"""Tells a network what no frame shows: the time between frames and parameters of the physics.

Numbers are standardised as they were in training and mapped to a scale and a shift of the tokens before each block. The
last layer begins at zero, so that a network that is told something for the first time answers as it did before. What is
not known of a trajectory has a learnt value of its own; training hides some numbers so that it is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

#: The name under which the time between frames is told.
DT = "dt"
#: Below this, a number that is learnt as a logarithm counts as this.
_SMALLEST = 1e-30


class Conditioning(nn.Module):
    """Numbers about each sample to a scale and a shift for each block.

    Attributes:
        names: what is told, in the order of the numbers.
    """

    centre: Tensor
    scale: Tensor
    logarithm: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, names: Sequence[str], blocks: int, width: int, dropout: float) -> None:
        super().__init__()
        self.names, self.blocks, self.dropout = tuple(names), blocks, dropout
        count = len(self.names)
        self.absent = nn.Parameter(torch.zeros(count))
        self.inner = nn.Linear(2 * count, width)
        self.outer = nn.Linear(width, blocks * 2 * width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        for name, value in (("centre", 0.0), ("scale", 1.0), ("logarithm", 0.0), ("low", 0.0), ("high", 0.0)):
            self.register_buffer(name, torch.full((count,), value))

    def forward(
        self, values: Float[Tensor, "b m"] | None, batch: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n b 1 1 1 d"], Float[Tensor, "n b 1 1 1 d"]]:
        """Scale and shift of the tokens before each of the n blocks; NaN, and None for all, is not known."""
        with torch.autocast(self.centre.device.type, enabled=False):
            if values is None:
                values = torch.full((batch, len(self.names)), torch.nan, device=self.centre.device)
            values = values.to(self.centre.dtype)
            known = torch.isfinite(values)
            if self.training and self.dropout > 0:
                known = known & (torch.rand(values.shape, device=values.device) >= self.dropout)
            seen = torch.where(known, self._standardised(values), self.absent)
            hidden = functional.gelu(self.inner(torch.cat([seen, known.to(seen.dtype)], dim=1)))
            told = self.outer(hidden).to(dtype).reshape(batch, self.blocks, 2, 1, 1, 1, -1)
            scale, shift = told.movedim(0, 2).unbind(dim=1)
            return scale, shift

    def _standardised(self, values: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        whole = torch.nan_to_num(values)
        learnt = torch.where(self.logarithm > 0, whole.clamp(min=_SMALLEST).log10(), whole)
        return (learnt - self.centre) / self.scale

    @torch.no_grad()
    def take_scales(self, values: Mapping[str, Sequence[float]], logarithms: Mapping[str, bool]) -> None:
        """Take scale and range of some of the numbers from their values in training."""
        for name, found in values.items():
            place = self.names.index(name)
            column = torch.tensor(found, dtype=torch.float64)
            learnt = column.clamp(min=_SMALLEST).log10() if logarithms[name] else column
            deviation = float(learnt.std(correction=0))
            self.centre[place] = learnt.mean()
            # A number that was the same throughout training has no scale; another one is then told in its own units.
            self.scale[place] = deviation if deviation > 1e-6 * (1 + abs(float(learnt.mean()))) else 1.0
            self.logarithm[place] = float(logarithms[name])
            self.low[place], self.high[place] = column.min(), column.max()

    @torch.no_grad()
    def copy_from(self, other: Conditioning) -> None:
        """Take over everything about the numbers that another one knows, by name; new ones change nothing yet."""
        places = [self.names.index(name) for name in other.names]
        old, new = len(other.names), len(self.names)
        self.inner.weight.zero_()
        for mine, theirs in ((places, range(old)), ([new + place for place in places], range(old, 2 * old))):
            self.inner.weight[:, mine] = other.inner.weight[:, list(theirs)]
        self.inner.bias.copy_(other.inner.bias)
        self.outer.load_state_dict(other.outer.state_dict())
        for name in ("absent", "centre", "scale", "logarithm", "low", "high"):
            getattr(self, name)[places] = getattr(other, name)
