"""One way to run the model forward in time, shared by eval and predict, so that equal contexts give equal frames.

A rollout is a pure function of (model, context, seed, device, batch size). Forward passes over batches of another size
may round differently, which is why eval and predict roll one trajectory at a time unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.errors import StoreError
from polycli.mpp.model.jitter import Draw
from polycli.mpp.model.network import Network
from polycli.mpp.model.regression import ParameterAViT
from polycli.mpp.recipe.physics import PdeDescription


@dataclass(frozen=True)
class Conditions:
    """Everything besides the frames of a dataset that the model must know: its fields and boundaries."""

    #: Ids of the fields in the model's vocabulary, in the order of the data.
    labels: tuple[int, ...]
    #: (along W, along H): 0 wall, 1 periodic, 2 open.
    boundaries: tuple[int, int]
    #: How many of the last frames the model sees of a context; all of them where absent.
    frames: int | None = None
    #: What the model is told of each trajectory beside frames, (trajectory, number); None where it is told nothing.
    told: NDArray[np.float32] | None = field(default=None, compare=False)

    def at(self, trajectories: Sequence[int] | NDArray[np.int64]) -> Conditions:
        """The conditions of a batch whose contexts are of these trajectories."""
        return self if self.told is None else replace(self, told=self.told[np.asarray(trajectories)])


def conditions(name: str, about: PdeDescription, *, known: Sequence[str]) -> Conditions:
    """Returns how a model that knows the fields `known` must read a dataset.

    Raises:
        StoreError: the model does not know a field.
    """
    unknown = [field for field in about.fields if field not in known]
    if unknown:
        raise StoreError(
            f"{name}: the model does not know the field{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; "
            f"it knows {', '.join(field for field in known if not field.startswith('unused.'))}",
            hint="use a checkpoint that was trained on these fields, or finetune this one on them",
        )
    return Conditions(tuple(known.index(field) for field in about.fields), about.boundary_flags)


def next_frame(
    model: nn.Module,
    context: Float[Tensor, "b t c h w"],
    read: Conditions,
    draw: Draw = Draw(),  # noqa: B008  # An immutable value.
) -> Float[Tensor, "b c h w"]:
    """The frame after `context`, on the model's device; no gradients, and no choice of kernels by timing.

    `draw` matters to models that jitter their patches in forecasts, and to no others.
    """
    function = partial(model, draw=draw) if isinstance(model, Network) else model
    return _applied(model, function, context, read)


def last_tokens(model: Network, context: Float[Tensor, "b t c h w"], read: Conditions) -> Float[Tensor, "b hp wp d"]:
    """The last hidden state of `context`, under the same conditions."""
    return _applied(model, model.features, context, read)


def window_answers(model: ParameterAViT, context: Float[Tensor, "b t c h w"], read: Conditions) -> Float[Tensor, "b n"]:
    """Standardised answers of the model's head about `context`, under the same conditions."""
    return _applied(model, model.standardised, context, read)


def rollout(
    model: nn.Module, context: Float[Tensor, "b t c h w"], read: Conditions, steps: int, *, seed: int = 0
) -> Iterator[Float[Tensor, "b c h w"]]:
    """`steps` frames after `context`, one by one, on the model's device; each is fed back, the oldest dropped.

    With `model.jitter` at `always`, step n has the draw (seed, n) for all trajectories; another seed gives another
    forecast of the same context.
    """
    frames = context.to(next(model.parameters()).device)
    for step in range(steps):
        frame = next_frame(model, frames, read, Draw(seed, step))
        frames = torch.cat([frames[:, 1:], frame[:, None]], dim=1)
        yield frame


def _applied(model: nn.Module, function: Callable[..., Tensor], context: Tensor, read: Conditions) -> Tensor:
    device = next(model.parameters()).device
    context = context if read.frames is None else context[:, -read.frames :]
    labels = torch.tensor(read.labels, dtype=torch.long, device=device)
    boundaries = torch.tensor(read.boundaries, dtype=torch.long, device=device).expand(context.shape[0], 2)
    deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    told = {} if read.told is None else {"told": torch.from_numpy(read.told).to(device)}
    with torch.inference_mode(), deterministic:
        return function(context.to(device), labels, boundaries, **told).float()
