"""The loss: the squared error of the next frame, or of several that are rolled out, per sample and field over a scale.

Training may be unrolled over several steps and may add noise to its input; validation is one step without noise.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polycli.mpp.model.metrics import EPSILON, mean_square, mean_square_error, nrmse, variance, vrmse
from polycli.mpp.model.mixture import first_points, own_values
from polycli.mpp.model.network import Network
from polycli.mpp.model.normalization import change_scale, field_statistics, widen
from polycli.mpp.recipe.physics import ABSENT
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
        """Mean loss over steps, samples and fields, and each sample's NRMSE and VRMSE of the first step.

        Args:
            batch: `fields` (B, T + K, C, H, W), of which the last K frames are the targets: `objective.unroll` of them
                while training, else one; `state_labels` (C,) or (B, C); `bcs` (B, 2); where samples of several
                physics share the batch, `grids` (B, 2), as `Network.forward` takes them: no loss and no metric sees
                padding then, and each sample counts as much as any other, however many fields it has.
        """
        fields, steps = batch["fields"], self.objective.unroll if self.training else 1
        own, shares = None, None
        if "grids" in batch:
            own = first_points(batch["grids"], fields.shape[3], fields.shape[4])[:, None]
            shares = _shares(batch["state_labels"], widen(fields).dtype)
            fields = own_values(fields, batch["state_labels"], batch["grids"])
        history = fields.shape[1] - steps
        context = fields[:, :history]
        if self.training and self.objective.noise > 0:
            context = with_noise(context, self.objective.noise, own)
        only_last = self.objective.unroll_gradients == "last_step"
        more = {key: batch[key] for key in ("told", "grids") if key in batch}
        losses: list[Tensor] = []
        metrics: dict[str, Tensor] = {}
        for step in range(steps):
            counts = step == steps - 1 or not only_last
            last, target = fields[:, history + step - 1], fields[:, history + step]
            with nullcontext() if counts else torch.no_grad():
                prediction = self.model(context, batch["state_labels"], batch["bcs"], **more)
            if counts:
                errors = mean_square_error(prediction, target, own) / self._scale(last, target, own)
                losses.append(_mean_over_fields(errors, shares).mean() if shares is not None else errors.mean())
            if step == 0:
                with torch.no_grad():
                    metrics = {
                        "nrmse": _mean_over_fields(nrmse(prediction, target, own), shares),
                        "vrmse": _mean_over_fields(vrmse(prediction, target, own), shares),
                    }
            if step + 1 < steps:
                fed_back = prediction if self.objective.unroll_gradients == "through_time" else prediction.detach()
                context = torch.cat([context[:, 1:], fed_back[:, None].to(context.dtype)], dim=1)
        return torch.stack(losses).mean() if len(losses) > 1 else losses[0], metrics

    def _scale(
        self, last: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], own: Bool[Tensor, "b 1 h w"] | None
    ) -> Float[Tensor, "b c"]:
        """The square that squared errors are divided by; a field is never so still that this is zero."""
        if self.objective.normalise_by == "target":
            return mean_square(target, own) + EPSILON
        floor = RELATIVE_FLOOR * mean_square(target, own) + SMALLEST_SQUARE
        if self.objective.normalise_by == "variance":
            return variance(target, own) + floor
        return mean_square_error(last, target, own) + floor


def _shares(state_labels: Int[Tensor, "b c"], dtype: torch.dtype) -> Float[Tensor, "b c"]:
    """The weight of each channel in the mean over its sample's fields."""
    has = (state_labels != ABSENT).to(dtype)
    return has / has.sum(dim=1, keepdim=True)


def _mean_over_fields(values: Float[Tensor, "b c"], shares: Float[Tensor, "b c"] | None) -> Float[Tensor, " b"]:
    return values.mean(dim=-1) if shares is None else (values * shares).sum(dim=-1)


@torch.no_grad()
def with_noise(
    context: Float[Tensor, "b t c h w"], level: float, own: Bool[Tensor, "b 1 h w"] | None = None
) -> Float[Tensor, "b t c h w"]:
    """The frames with independent normal noise of standard deviation `level` times the size of the field's changes.

    That size is the root mean square of the changes from frame to frame in the context, by sample and field, so that a
    level means the same for slow and fast physics; with one frame, it is the field's own spread. Where samples are
    padded with zeros, `own` are their own points.
    """
    x = widen(context)
    own = None if own is None else own[:, None]
    scale = change_scale(x, field_statistics(x, own)[1], own)
    return x + level * scale * torch.randn_like(x)
