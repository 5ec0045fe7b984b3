"""The loss of pretraining: the squared error of the next frame, per sample and field over that field's own scale."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polycli.mpp.model.metrics import EPSILON, mean_square, mean_square_error, nrmse, variance, vrmse
from polycli.mpp.model.network import Network
from polycli.mpp.recipe.training import ObjectiveSection

#: What is added to a variance or a mean squared change before dividing by it, relative to the field's mean square.
RELATIVE_FLOOR = 1e-8
#: The same for fields of zeros; changes over a short interval are far below the `EPSILON` of the published loss.
SMALLEST_SQUARE = 1e-12


class NextFrame(nn.Module):
    """A network with its loss; `.model` is the network."""

    def __init__(self, model: Network, objective: ObjectiveSection | None = None) -> None:
        super().__init__()
        self.model = model
        self.objective = ObjectiveSection() if objective is None else objective

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, " b"]]]:
        """Mean loss over samples and fields, and each sample's NRMSE and VRMSE averaged over its fields.

        Args:
            batch: `fields` (B, T + 1, C, H, W), of which the last frame is the target; `state_labels` (C,) or (B, C);
                `bcs` (B, 2).
        """
        context, target = batch["fields"][:, :-1], batch["fields"][:, -1]
        prediction = self.model(context, batch["state_labels"], batch["bcs"])
        loss = (mean_square_error(prediction, target) / self._scale(context[:, -1], target)).mean()
        with torch.no_grad():
            metrics = {
                "nrmse": nrmse(prediction, target).mean(dim=-1),
                "vrmse": vrmse(prediction, target).mean(dim=-1),
            }
        return loss, metrics

    def _scale(self, last: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
        """The square that squared errors are divided by; a field is never so still that this is zero."""
        if self.objective.normalise_by == "target":
            return mean_square(target) + EPSILON
        floor = RELATIVE_FLOOR * mean_square(target) + SMALLEST_SQUARE
        if self.objective.normalise_by == "variance":
            return variance(target) + floor
        return mean_square_error(last, target) + floor
