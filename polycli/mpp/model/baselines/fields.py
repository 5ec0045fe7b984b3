"""Takes named fields of several frames into a network on the grid, and out of it: the ends that the baselines share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.errors import UserError
from polycli.mpp.model.network import Network
from polycli.mpp.model.stem import FieldProjection


class FieldLifting(nn.Module):
    """The frames of a context as the channels of one image: a linear map at each point, by field and by frame.

    A field has a column of its own, as in AViT, and a frame a matrix of its own by how far it lies back. The two
    compose into one product. A context shorter than `frames` uses the matrices of the latest frames.
    """

    def __init__(self, states: int, frames: int, channels: int) -> None:
        super().__init__()
        self.space_bag = FieldProjection(states, channels)
        #: Of the last frame first.
        self.frames = nn.Parameter(torch.empty(frames, channels, channels))
        nn.init.uniform_(self.frames, -1, 1)
        with torch.no_grad():
            self.frames.mul_(1 / math.sqrt(frames * channels))

    def forward(
        self, x: Float[Tensor, "b t c h w"], selection: Float[Tensor, "s c n"]
    ) -> Float[Tensor, "b h w channels"]:
        """Returns the channels of each point, in float32.

        Raises:
            UserError: there are more frames than matrices.
        """
        if x.shape[1] > len(self.frames):
            raise UserError(f"{x.shape[1]} frames of context; this network has weights for {len(self.frames)} at most")
        with torch.autocast(x.device.type, enabled=False):
            columns, offset = self.space_bag(selection)
            latest = self.frames[: x.shape[1]].flip(0)
            kernel = torch.einsum("tod,sdc->sotc", latest, columns).flatten(2)
            bias = torch.einsum("tod,d->o", latest, offset)
            points = x.permute(0, 3, 4, 1, 2).flatten(3)
            if kernel.shape[0] == 1:
                return functional.linear(points, kernel[0], bias)
            return torch.einsum("bhwk,bok->bhwo", points, kernel) + bias


class FieldReadout(nn.Module):
    """A linear map from channels to the wanted fields, at each point."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(states, channels))
        self.bias = nn.Parameter(torch.zeros(states))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(
        self, x: Float[Tensor, "b h w channels"], selection: Float[Tensor, "s c n"]
    ) -> Float[Tensor, "b c h w"]:
        """Returns the selected fields in float32."""
        with torch.autocast(x.device.type, enabled=False):
            rows = torch.einsum("nd,scn->scd", self.weight, selection)
            bias = selection @ self.bias
            x = x.to(rows.dtype)
            values = functional.linear(x, rows[0]) if rows.shape[0] == 1 else torch.einsum("bhwd,bcd->bhwc", x, rows)
            return values.permute(0, 3, 1, 2) + bias[..., None, None]


class GridNetwork(Network):
    """A network whose hidden state has the resolution of the grid, between a lifting and a readout of fields.

    Attributes:
        lifting: the frames of a context to the channels of each point.
        readout: the channels of each point to fields.
    """

    lifting: FieldLifting
    readout: FieldReadout

    @property
    def feature_points(self) -> int:
        """The last hidden state has the resolution of the grid."""
        return 1

    @property
    def field_axes(self) -> Mapping[str, int]:
        """Columns of the lifting and rows of the readout."""
        return {"lifting.space_bag.weight": 1, "readout.weight": 0, "readout.bias": 0}
