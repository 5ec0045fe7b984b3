"""The best linear forecast from near by: a stencil for each field, fitted by least squares on training trajectories.

The change of a field at a point is a sum over all fields at the 3 x 3 points around it in the last two frames, each
times a number of its own, and a constant. The numbers are those of least squared error over training windows; nothing
is iterated. Linear equations with short reach are forecast exactly by it; a network that is no better than it has
learnt no more than their like.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.mpp.model.baselines.sides import with_margins
from polycli.mpp.scoring.measure import Subset

#: Frames that it looks at, and points to each side.
FRAMES, REACH = 2, 1
#: Points that it is fitted on, at most; it has some hundred numbers for each field.
MOST_POINTS = 2**19
#: Directions in which the training windows vary less than this part of the largest are left out of the fit.
_SMALLEST_PART = 1e-10


class LinearStencil(nn.Module):
    """The fitted forecast, for the fields of one dataset in their own order.

    Attributes:
        weight: for each field (C,) a number for each input: (C, inputs + 1), the last one the constant.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " c"], scale: Float[Tensor, " c"], frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.register_buffer("mean", mean.double().view(-1, 1, 1))
        self.register_buffer("scale", scale.double().view(-1, 1, 1))
        inputs = len(mean) * frames * (2 * REACH + 1) ** 2
        self.weight = nn.Parameter(torch.zeros(len(mean), inputs + 1, dtype=torch.float64), requires_grad=False)

    def forward(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Tensor,  # noqa: ARG002  # The fields are those that it was fitted on.
        bcs: Int[Tensor, "b 2"],
    ) -> Float[Tensor, "b c h w"]:
        """The frame after the last one of `x`."""
        change = torch.einsum("bhwk,ck->bchw", self.inputs(x, bcs), self.weight)
        return x[:, -1].double() + self.scale * change

    def inputs(self, x: Float[Tensor, "b t c h w"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b h w k"]:
        """Everything that is multiplied at each point, in float64; the last input is one."""
        scaled = ((x[:, -self.frames :].double() - self.mean) / self.scale).flatten(1, 2).permute(0, 2, 3, 1)
        wide = with_margins(scaled, bcs, REACH)
        height, width = x.shape[3:]
        shifts = [
            wide[:, down : down + height, right : right + width]
            for down in range(2 * REACH + 1)
            for right in range(2 * REACH + 1)
        ]
        return torch.cat([*shifts, torch.ones_like(scaled[..., :1])], dim=-1)

    @property
    def operations(self) -> int:
        """Multiplications and additions at each point of the grid."""
        return 2 * self.weight.numel()


def fit_stencil(subset: Subset, rows: NDArray[np.int64], *, device: torch.device) -> LinearStencil:
    """Fit on the trajectories `rows` of the store, at as many windows as `MOST_POINTS` allows.

    Args:
        subset: how frames are taken from the store; its own rows are not looked at.
        rows: trajectories, none of which is to be scored.
        device: where it is computed.
    """
    frames = min(FRAMES, subset.history)
    starts = subset.store.manifest.arrays["fields"].shape[1] - frames * subset.time_stride
    height, width = subset.about.grid
    count = max(1, min(len(rows) * starts, MOST_POINTS // (height * width)))
    chosen = np.unique(np.linspace(0, len(rows) * starts - 1, count).round().astype(np.int64))
    windows = [(int(rows[number // starts]), int(number % starts)) for number in chosen]
    block = max(1, 2**17 // (height * width))
    first = subset.load(windows[:: max(1, len(windows) // 64)], frames).double()
    spread, mean = torch.std_mean(first, dim=(0, 1, 3, 4))
    stencil = LinearStencil(mean, torch.where(spread > 0, spread, torch.ones_like(spread)), frames).to(device)
    boundaries = torch.tensor(subset.read.boundaries, device=device)
    products: Tensor | None = None
    answers: Tensor | None = None
    for begin in range(0, len(windows), block):
        loaded = subset.load(windows[begin : begin + block], frames + 1).to(device).double()
        inputs = stencil.inputs(loaded[:, :-1], boundaries.expand(len(loaded), 2)).flatten(0, 2)
        change = ((loaded[:, -1] - loaded[:, -2]) / stencil.scale).movedim(1, -1).flatten(0, 2)
        products = inputs.T @ inputs if products is None else products + inputs.T @ inputs
        answers = inputs.T @ change if answers is None else answers + inputs.T @ change
    assert products is not None  # noqa: S101  # There is at least one window.
    assert answers is not None  # noqa: S101
    solved = np.linalg.lstsq(products.cpu().numpy(), answers.cpu().numpy(), rcond=_SMALLEST_PART)[0]
    stencil.weight.copy_(torch.from_numpy(solved.T))
    return stencil
