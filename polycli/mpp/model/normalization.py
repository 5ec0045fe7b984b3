"""Normalises AViT's input fields by their statistics, and the tokens of a frame by the two norms of its blocks.

Everything here is computed in float32 (or float64 where the input has it), whatever autocast says, and with floors
relative to the scale of the numbers: a frame without variance or a field of zeros gives finite values and gradients.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

#: Smallest spread of a field, relative to its root mean square. Float32 resolves 1e-7 of a value.
FIELD_FLOOR = 1e-6
#: Smallest scale of any field; its square is still a normal float32.
SMALLEST_SCALE = 1e-12
#: Smallest spread of a channel over a frame, relative to its mean there: no channel comes out above 1e4.
CHANNEL_FLOOR = 1e-4
SMALLEST_SPREAD = 1e-6
INSTANCE_EPSILON = 1e-5


def widen(x: Tensor) -> Tensor:
    """Casts to float32, unless the tensor has a wider type already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def field_statistics(
    x: Float[Tensor, "b t c h w"], own: Bool[Tensor, "b 1 1 h w"] | None = None
) -> tuple[Float[Tensor, "b 1 c 1 1"], Float[Tensor, "b 1 c 1 1"]]:
    """Mean and standard deviation per sample and field over time and space (reversible instance norm, Kim et al. 2022).

    As published, the standard deviation is unbiased and no gradient flows through either. A constant field has the
    standard deviation `FIELD_FLOOR` times its value. Where samples are padded with zeros, `own` are their own points.
    """
    if own is not None:
        points = x.shape[1] * own.sum(dim=(3, 4), keepdim=True)
        mean = x.sum(dim=(1, 3, 4), keepdim=True) / points
        squares = ((x - mean) * own).square().sum(dim=(1, 3, 4), keepdim=True)
        variance = squares / (points - 1).clamp(min=1)
        return mean, _safe_root(variance, mean.square() + variance)
    mean = x.mean(dim=(1, 3, 4), keepdim=True)
    count = x.shape[1] * x.shape[3] * x.shape[4]
    variance = (x - mean).square().sum(dim=(1, 3, 4), keepdim=True) / max(count - 1, 1)
    return mean, _safe_root(variance, mean.square() + variance)


@torch.no_grad()
def change_scale(
    x: Float[Tensor, "b t c h w"],
    field_scale: Float[Tensor, "b 1 c 1 1"],
    own: Bool[Tensor, "b 1 1 h w"] | None = None,
) -> Float[Tensor, "b 1 c 1 1"]:
    """Root mean square of the frame-to-frame changes per sample and field; with one frame, the field's own spread.

    Where samples are padded with zeros, `own` are their own points.
    """
    if x.shape[1] == 1:
        return field_scale
    change = x[:, 1:] - x[:, :-1]
    changes, values = (part.square().mean(dim=(1, 3, 4), keepdim=True) for part in (change, x))
    if own is not None:
        # Zeros change neither sum; what they add is to the number of points alone.
        part = own.to(x.dtype).mean(dim=(3, 4), keepdim=True)
        changes, values = changes / part, values / part
    return _safe_root(changes, values)


def _safe_root(mean_square: Tensor, reference_mean_square: Tensor) -> Tensor:
    return (mean_square + FIELD_FLOOR**2 * reference_mean_square + SMALLEST_SCALE**2).sqrt()


def _frame_moments(
    x: Float[Tensor, "*b h w d"], own: Bool[Tensor, "*b h w 1"] | None
) -> tuple[Tensor, Tensor, Tensor, int | Tensor]:
    """Mean, centred values, mean square of these, and how many values each mean is over: all tokens of a frame.

    A frame of one token has no spread over space; its statistics are those over the channels. Where samples of several
    grids share a batch, `own` are the tokens of each one, more than one of them.
    """
    if own is not None:
        tokens = own.sum(dim=(-3, -2), keepdim=True, dtype=x.dtype)
        mean = (x * own).sum(dim=(-3, -2), keepdim=True) / tokens
        centred = (x - mean) * own
        return mean, centred, centred.square().sum(dim=(-3, -2), keepdim=True) / tokens, tokens
    count = x.shape[-3] * x.shape[-2]
    dims, count = ((-1,), x.shape[-1]) if count == 1 else ((-3, -2), count)
    mean = x.mean(dim=dims, keepdim=True)
    centred = x - mean
    return mean, centred, centred.square().mean(dim=dims, keepdim=True), count


class FrameNorm(nn.Module):
    """Instance norm over the tokens of one frame, channels last: zero mean, unit variance, then an affine map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "*b h w d"], own: Bool[Tensor, "*b h w 1"] | None = None
    ) -> Float[Tensor, "*b h w d"]:
        """Returns the normalised tokens in float32; of tokens that are padding, zeros."""
        _, centred, variance, _ = _frame_moments(widen(x), own)
        normalised = centred * ((variance + INSTANCE_EPSILON).rsqrt() * self.weight) + self.bias
        return normalised if own is None else normalised * own


class RMSInstanceNorm(nn.Module):
    """Division by the standard deviation over one frame, channels last, without subtracting the mean.

    The published checkpoints carry a `bias` that nothing uses. It is kept, frozen, so that they load and export under
    their own names and sizes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels), requires_grad=False)

    def forward(
        self, x: Float[Tensor, "*b h w d"], own: Bool[Tensor, "*b h w 1"] | None = None
    ) -> Float[Tensor, "*b h w d"]:
        """Returns the scaled tokens in float32; of tokens that are padding, zeros."""
        x = widen(x) if own is None else widen(x) * own
        mean, _, mean_square, count = _frame_moments(x, own)
        variance = mean_square * (count / (count - 1))
        floor = CHANNEL_FLOOR**2 * mean.square() + SMALLEST_SPREAD**2
        return x * ((variance + floor).rsqrt() * self.weight)
