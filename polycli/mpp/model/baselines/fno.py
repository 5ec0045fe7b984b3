"""The Fourier neural operator (Li et al. 2021): layers that act on the low wavenumbers of hidden fields, on any grid.

A layer is built as that of the neuraloperator package: the spectral convolution beside a linear map at each point,
then an MLP at each point beside a scaled copy. `tests/interop` holds the numbers against that package's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.mpp.model.baselines.fields import FieldLifting, FieldReadout, GridNetwork
from polycli.mpp.model.baselines.sides import with_margins
from polycli.mpp.model.padding import PERIODIC
from polycli.mpp.recipe.networks import FnoSection
from polycli.nn.products import linear
from polycli.nn.skeleton import has_values


class SpectralConvolution(nn.Module):
    """A product with a matrix of its own at each wavenumber up to `modes`, and zero beyond: a convolution on the grid.

    Matrices are kept as real and imaginary parts, since optimizers and files take real numbers alone, and the complex
    product is made of real ones. A grid that resolves fewer wavenumbers uses the matrices of those. Coefficients are
    means over the grid, so that a finer grid of the same field gives the same result.
    """

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        #: By wavenumber along H from -modes to modes - 1, along W from 0 to modes; in by out, real and imaginary.
        self.real = nn.Parameter(torch.empty(2 * modes, modes + 1, channels, channels))
        self.imaginary = nn.Parameter(torch.empty(2 * modes, modes + 1, channels, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        for weight in (self.real, self.imaginary):
            nn.init.normal_(weight, std=1 / math.sqrt(2 * channels))

    def forward(self, x: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """Computes in float32 at least, whatever autocast says: there is no transform of shorter numbers."""
        height, width = x.shape[1:3]
        rows, columns = min(self.modes, height // 2), min(self.modes, width // 2)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.real.dtype)
            spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="forward")
            kept = torch.cat([spectrum[:, height - rows :, : columns + 1], spectrum[:, :rows, : columns + 1]], dim=1)
            chosen = slice(self.modes - rows, self.modes + rows), slice(columns + 1)
            real, imaginary = self.real[chosen], self.imaginary[chosen]
            matrices = torch.cat([torch.cat([real, imaginary], -1), torch.cat([-imaginary, real], -1)], -2)
            parts = torch.cat([kept.real, kept.imag], dim=-1).permute(1, 2, 0, 3)
            products = (parts @ matrices).permute(2, 0, 1, 3)
            product = torch.complex(*products.chunk(2, dim=-1))
            # The rows between the lowest and the highest kept wavenumber are zero, and so are the columns beyond.
            between = product.new_zeros(len(x), height - 2 * rows, columns + 1, x.shape[3])
            whole = torch.cat([product[:, rows:], between, product[:, :rows]], dim=1)
            whole = functional.pad(whole, (0, 0, 0, width // 2 - columns))
            result: Tensor = torch.fft.irfft2(whole, s=(height, width), dim=(1, 2), norm="forward") + self.bias
            return result


class FourierLayer(nn.Module):
    """One layer of the operator; the last one ends without a nonlinearity."""

    def __init__(self, channels: int, modes: int, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.spectral = SpectralConvolution(channels, modes)
        self.skip = nn.Linear(channels, channels, bias=False)
        self.narrow = nn.Linear(channels, max(channels // 2, 1))
        self.widen = nn.Linear(max(channels // 2, 1), channels)
        self.gate = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """Returns hidden fields of the same shape."""
        y = self.spectral(x) + linear(x, self.skip.weight)
        y = y if self.last else functional.gelu(y)
        inner = functional.gelu(linear(y, self.narrow.weight, self.narrow.bias))
        y = linear(inner, self.widen.weight, self.widen.bias) + self.gate * x
        return y if self.last else functional.gelu(y)


class FourierOperator(GridNetwork):
    """Next frame from a context of frames, whose channels are taken together at each point."""

    section: FnoSection

    def __init__(self, section: FnoSection) -> None:
        super().__init__(section)
        if section.history is None:
            raise ValueError("an FNO is made for a number of frames: `history` of its section is missing")
        states, inner = len(section.fields), 2 * section.width
        self.lifting = FieldLifting(states, section.history, inner)
        self.places = nn.Linear(2, inner, bias=False) if section.positions else None
        self.lifted = nn.Linear(inner, section.width)
        self.blocks = nn.ModuleList(
            FourierLayer(section.width, section.modes, last=number == section.blocks - 1)
            for number in range(section.blocks)
        )
        self.projection = nn.Linear(section.width, inner)
        self.readout = FieldReadout(inner, states)

    @property
    def shared_ends(self) -> Sequence[nn.Module]:
        """The layers before and behind the Fourier layers, but for what belongs to fields."""
        ends = (self.lifted, self.projection)
        return ends if self.places is None else (self.places, *ends)

    def hidden(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,  # noqa: ARG002  # AViT alone is told something.
    ) -> Float[Tensor, "b h w d"]:
        """Hidden fields after the last Fourier layer. Samples with other sides have a turn of their own."""
        # Which axes are lengthened changes shapes, so that it must be known here. Where operations are counted there
        # are no values: they are counted for periodic sides.
        sides = torch.unique(bcs, dim=0).tolist() if has_values(bcs) else [[PERIODIC, PERIODIC]]
        if len(sides) <= 1:
            return self._hidden(x, selection, bcs, sides[0] if sides else [PERIODIC, PERIODIC])
        result: Tensor | None = None
        for side in sides:
            chosen = (bcs == bcs.new_tensor(side)).all(dim=1).nonzero()[:, 0]
            own = selection[chosen] if len(selection) > 1 else selection
            part = self._hidden(x[chosen], own, bcs[chosen], side)
            result = part.new_zeros(len(x), *part.shape[1:]) if result is None else result
            result = result.index_copy(0, chosen, part)
        assert result is not None  # noqa: S101  # There are sides.
        return result

    def decoded(
        self,
        hidden: Float[Tensor, "b h w d"],
        selection: Float[Tensor, "s c n"],
        grid: tuple[int, int],  # noqa: ARG002  # That of the hidden fields.
    ) -> Float[Tensor, "b c h w"]:
        """Returns the selected fields on the grid."""
        inner = functional.gelu(linear(hidden, self.projection.weight, self.projection.bias))
        return self.readout(inner, selection)  # type: ignore[no-any-return]

    def _hidden(self, x: Tensor, selection: Tensor, bcs: Tensor, side: Sequence[int]) -> Tensor:
        height, width = x.shape[3:]
        share = self.section.domain_padding
        # Sides are said along W first.
        top, left = (
            0 if kind == PERIODIC else math.ceil(share * points)
            for kind, points in ((side[1], height), (side[0], width))
        )
        fields = with_margins(self.lifting(x, selection), bcs, (top, left))
        if self.places is not None:
            fields = fields + self._places(height, top, width, left, fields)
        fields = linear(functional.gelu(fields), self.lifted.weight, self.lifted.bias)
        for block in self.blocks:
            fields = block(fields)
        return fields[:, top : top + height, left : left + width]

    def _places(self, height: int, top: int, width: int, left: int, like: Tensor) -> Tensor:
        """Returns what the position of each point adds: from 0 at the first point of the grid to 1 behind the last."""
        assert self.places is not None  # noqa: S101  # as the caller knows
        x = torch.arange(-top, height + top, device=like.device, dtype=self.places.weight.dtype) / height
        y = torch.arange(-left, width + left, device=like.device, dtype=self.places.weight.dtype) / width
        places = torch.stack(torch.meshgrid(x, y, indexing="ij"), dim=-1)
        return linear(places, self.places.weight)
