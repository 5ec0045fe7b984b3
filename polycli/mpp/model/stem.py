"""Turns fields into tokens and back: non-overlapping convolutions, computed as products over patches, channels last.

A stem is named by the strides of its stages. All share their weights' names and shapes with the published 4.2.2 stem,
so that a checkpoint of one patch size holds every weight that a smaller patch size needs for its own stem:

| patch size | stem  | weights in `in_proj` | head  | weights in `debed`                          |
|------------|-------|----------------------|-------|---------------------------------------------|
| 16         | 4.2.2 | 0, 1, 3, 4, 6, 7     | 2.2.4 | out_proj.0, 1, 3, 4; out_kernel             |
| 8          | 4.2   | 0, 1, 6, 7           | 2.4   | out_proj.0, 1; out_kernel                   |
| 4          | 2.2   | 3, 4, 6, 7           | 2.2   | out_proj.0, 1; out_kernel_2 (its own shape) |

The first and the last product see the fields themselves and are computed in float32 under autocast too: bfloat16 would
round every value to one part in 256. They are a small share of the work.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.mpp.model.mixture import TokenMask
from polycli.mpp.model.normalization import RMSInstanceNorm
from polycli.nn.products import linear

#: By patch size: place in `in_proj` and stride of each stage; a norm follows at the next place.
STEM_STAGES: dict[int, tuple[tuple[int, int], ...]] = {
    16: ((0, 4), (3, 2), (6, 2)),
    8: ((0, 4), (6, 2)),
    4: ((3, 2), (6, 2)),
}
#: By patch size: places in `out_proj` of the stages of stride 2, and the stride of the kernel that gives the fields.
HEAD_STAGES: dict[int, tuple[tuple[int, ...], int]] = {16: ((0, 3), 4), 8: ((0,), 4), 4: ((0,), 2)}


def select_fields(
    labels: Int[Tensor, " c"] | Int[Tensor, "b c"], states: int, dtype: torch.dtype
) -> Float[Tensor, "s c n"]:
    """One-hot rows of the labels; s is 1 for labels (C,), which hold for the whole batch, else the batch size.

    A product with these is a selection whose gradient is a sum in a fixed order. A label outside the vocabulary selects
    nothing.
    """
    labels = labels[None] if labels.ndim == 1 else labels
    return (labels[..., None] == torch.arange(states, device=labels.device)).to(dtype)


class FieldProjection(nn.Module):
    """One column per known state: the linear map from the present fields to the stem's channels (`space_bag`)."""

    def __init__(self, states: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, states))
        self.bias = nn.Parameter(torch.empty(channels))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.uniform_(self.bias, -1 / math.sqrt(states), 1 / math.sqrt(states))

    def forward(
        self, selection: Float[Tensor, "s c n"], *, mixed: bool = False
    ) -> tuple[Float[Tensor, "s d c"], Float[Tensor, "*s d"]]:
        """Columns of the selected fields and the bias, scaled by sqrt(known / present) as if initialised for those.

        Where samples are `mixed`, each has as many fields as it has labels that are known, and a bias of its own.
        """
        if mixed:
            scales = (selection.shape[-1] / selection.sum(dim=(1, 2))).sqrt()[:, None]
            return scales[..., None] * torch.einsum("dn,scn->sdc", self.weight, selection), scales * self.bias
        scale = math.sqrt(selection.shape[-1] / selection.shape[-2])
        return scale * torch.einsum("dn,scn->sdc", self.weight, selection), scale * self.bias


class PatchConvolution(nn.Module):
    """A convolution whose stride is its kernel size, without bias: (..., H, W, I) -> (..., H/k, W/k, O)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, stride, stride))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*b h w i"]) -> Float[Tensor, "*b hk wk o"]:
        """Applies the convolution as one product over patches."""
        blocks = torch.unflatten(torch.unflatten(x, -2, (-1, self.stride)), -4, (-1, self.stride))
        patches = blocks.movedim(-4, -3).flatten(-3)
        return linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1))


class FieldConvolution(nn.Module):
    """The stem's first convolution, taken together with the field projection before it as one convolution of fields.

    The projection acts on each pixel alone, so the two compose exactly, and the projection's channels at full
    resolution (a quarter of the width per pixel, the largest tensor of the unfused model) are never made.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, stride, stride))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(
        self, x: Float[Tensor, "b t c h w"], columns: Float[Tensor, "s d c"], bias: Float[Tensor, "*s d"]
    ) -> Float[Tensor, "b t hk wk o"]:
        """Maps fields to patches with channels last."""
        k = self.stride
        kernel = torch.einsum("odij,sdc->socij", self.weight, columns).flatten(2)
        offset = torch.einsum("odij,...d->...o", self.weight, bias)
        blocks = torch.unflatten(torch.unflatten(x, -1, (-1, k)), -3, (-1, k))
        patches = blocks.permute(0, 1, 3, 5, 2, 4, 6).flatten(-3)
        if offset.ndim == 1 and kernel.shape[0] == 1:
            return functional.linear(patches, kernel[0], offset)
        offset = offset if offset.ndim == 1 else offset[:, None]
        return torch.unflatten(patches.flatten(1, 3) @ kernel.mT + offset, 1, patches.shape[1:4])


class PatchTransposed(nn.Module):
    """A transposed convolution whose stride is its kernel size, without bias: (..., H, W, I) -> (..., kH, kW, O)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(inputs, outputs, stride, stride))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*b h w i"]) -> Float[Tensor, "*b hk wk o"]:
        """One product per token, laid out as a patch."""
        k = self.stride
        y = linear(x, self.weight.permute(2, 3, 1, 0).flatten(0, 2))
        return torch.unflatten(y, -1, (k, k, -1)).movedim(-3, -4).flatten(-5, -4).flatten(-3, -2)


class Stem(nn.Module):
    """Fields to tokens (Touvron et al. 2022, hierarchical MLP stem)."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        channels = width // 4
        self.in_proj = nn.ModuleDict()
        for number, (place, stride) in enumerate(STEM_STAGES[patch_size]):
            outputs = width if place == 6 else channels
            convolution: type[nn.Module] = FieldConvolution if number == 0 else PatchConvolution
            self.in_proj[str(place)] = convolution(channels, outputs, stride)
            self.in_proj[str(place + 1)] = RMSInstanceNorm(outputs)

    def forward(
        self,
        x: Float[Tensor, "b t c h w"],
        columns: Float[Tensor, "s d c"],
        bias: Float[Tensor, "*s d"],
        mask: TokenMask | None = None,
    ) -> Float[Tensor, "b t hp wp width"]:
        """Returns the tokens of every frame in float32; with a mask, zeros where a token is no sample's own."""
        first, *rest = self.in_proj.values()
        with torch.autocast(x.device.type, enabled=False):
            tokens = first(x, columns, bias)
        for layer in rest:
            if isinstance(layer, RMSInstanceNorm):
                tokens = layer(tokens, None if mask is None else mask.at(tokens))
            else:
                tokens = layer(functional.gelu(tokens))
        return tokens  # type: ignore[no-any-return]


class Head(nn.Module):
    """Tokens of one frame to the wanted fields."""

    def __init__(self, patch_size: int, width: int, states: int) -> None:
        super().__init__()
        channels = width // 4
        places, stride = HEAD_STAGES[patch_size]
        self.out_proj = nn.ModuleDict()
        for place in places:
            self.out_proj[str(place)] = PatchTransposed(width if place == 0 else channels, channels, 2)
            self.out_proj[str(place + 1)] = RMSInstanceNorm(channels)
        self.kernel_name = "out_kernel" if stride == 4 else "out_kernel_2"
        kernel = nn.Parameter(torch.empty(channels, states, stride, stride))
        nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
        self.register_parameter(self.kernel_name, kernel)
        bound = 1 / math.sqrt(states * stride**2)
        self.out_bias = nn.Parameter(torch.empty(states).uniform_(-bound, bound))

    def forward(
        self,
        tokens: Float[Tensor, "b hp wp width"],
        selection: Float[Tensor, "s c n"],
        mask: TokenMask | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The selected fields at full resolution, float32."""
        for layer in self.out_proj.values():
            if isinstance(layer, RMSInstanceNorm):
                tokens = functional.gelu(layer(tokens, None if mask is None else mask.at(tokens)))
            else:
                tokens = layer(tokens)
        with torch.autocast(tokens.device.type, enabled=False):
            kernel = torch.einsum("dnij,scn->scijd", getattr(self, self.kernel_name), selection)
            bias = selection @ self.out_bias
            stride = kernel.shape[2]
            rows = kernel.flatten(1, 3)
            if rows.shape[0] == 1:
                pixels = functional.linear(tokens, rows[0])
            else:
                pixels = torch.unflatten(tokens.flatten(1, 2) @ rows.mT, 1, tokens.shape[1:3])
            blocks = torch.unflatten(pixels, -1, (-1, stride, stride)).permute(0, 3, 1, 4, 2, 5)
            return blocks.flatten(4).flatten(2, 3) + bias[..., None, None]
