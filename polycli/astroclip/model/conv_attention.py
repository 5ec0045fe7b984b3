"""Convolutions over a spectrum and attention over wavelengths (Melchior et al. 2023): a supervised baseline.

Three convolutions find features; half of the channels then say at which wavelengths the other half are looked at. It
needs no pretraining, and is what AION-1's table has as the supervised spectrum network.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.model.specformer import SMALLEST_DEVIATION
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.errors import UserError

_KERNELS = (5, 11, 21)
#: By how much each layer makes the spectrum shorter.
_STEP = 4


class ConvAttention(nn.Module):
    """Features of a spectrum at some hundred places, and their mean by attention.

    Attributes:
        section: the recipe section that it was built from; `embed_dim` is the width, and `inputs` what is seen beside
            the flux.
    """

    def __init__(self, section: SpectrumSection) -> None:
        super().__init__()
        self.section = section
        width = section.embed_dim
        channels = (1 + len(section.inputs), max(width // 4, 1), max(width // 2, 1), 2 * width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel_size=kernel, padding=kernel // 2)
            for before, after, kernel in zip(channels, channels[1:], _KERNELS, strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, after) for after in channels[1:])
        self.dropout = nn.Dropout(section.dropout)
        #: Mean and deviation, which the convolutions do not see.
        self.brightness = nn.Linear(2, width)
        self.final = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    @property
    def blocks(self) -> list[nn.Module]:
        """The convolutions, in order."""
        return list(self.convolutions)

    def forward(
        self, flux: Float[Tensor, "b l"], ivar: Tensor | None = None, mask: Tensor | None = None
    ) -> Float[Tensor, "b t d"]:
        """Features at each place, in the order of wavelengths."""
        return self._seen(flux, ivar, mask)[0]

    def pooled(
        self, flux: Float[Tensor, "b l"], ivar: Tensor | None = None, mask: Tensor | None = None
    ) -> Float[Tensor, "b d"]:
        """Returns one vector for each spectrum: features weighed by attention, and what the mean flux tells."""
        features, attention, brightness = self._seen(flux, ivar, mask)
        gathered = (features * attention).sum(dim=1) + brightness
        return self.final(gathered)  # type: ignore[no-any-return]

    def _seen(
        self, flux: Tensor, ivar: Tensor | None, mask: Bool[Tensor, "b l"] | None
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t d"], Float[Tensor, "b d"]]:
        """Features and attention of each place, which adds up to one over them; and what mean and deviation tell."""
        flux = flux.float().flatten(1)
        deviation, mean = torch.std_mean(flux, dim=1, keepdim=True)
        deviation = deviation.clamp(min=SMALLEST_DEVIATION)
        maps = torch.stack([(flux - mean) / deviation, *self._beside(deviation, ivar, mask)], dim=1)
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.max_pool1d(functional.gelu(norm(layer(maps))), _STEP, ceil_mode=True)
        features, weights = self.dropout(maps).transpose(1, 2).chunk(2, dim=2)
        told = self.brightness(torch.cat([torch.asinh(mean), deviation.log()], dim=1))
        return features, weights.float().softmax(dim=1).to(features.dtype), told

    def _beside(self, deviation: Tensor, ivar: Tensor | None, mask: Tensor | None) -> list[Float[Tensor, "b l"]]:
        given = {"ivar": ivar, "mask": mask}
        if absent := [name for name in self.section.inputs if given[name] is None]:
            raise UserError(f"this spectrum encoder sees {absent[0]} too, and none was given")
        found = []
        for name in self.section.inputs:
            values = given[name].float()  # type: ignore[union-attr]
            found.append(torch.log1p(values.clamp(min=0).sqrt() * deviation) if name == "ivar" else values)
        return found
