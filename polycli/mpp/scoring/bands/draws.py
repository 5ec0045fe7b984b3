"""Several forecasts from one context: how far the draws of a model's patch jitter lie apart says where it is unsure.

A jittered model has a forecast for each seed (Walrus, McCabe et al. 2025). The one of seed 0 is the forecast; the
standard deviation over all draws at a point is its spread there, which scales the band: wide at fronts, narrow in
quiet zones. Whatever the spread is worth, the promise holds, because scores are divided by it before they are ranked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.mpp.scoring.rollout import Conditions, rollout

#: The spread at a point is at least this part of its root mean square over the frame: where all draws agree by chance,
#: no error would be small enough.
FLOOR = 0.1


def rollout_with_spread(
    model: nn.Module, context: Float[Tensor, "b t c h w"], read: Conditions, steps: int, *, draws: int
) -> Iterator[tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"] | None]]:
    """The frames of `rollout`, each with its spread over `draws` forecasts; None in place of it for one draw."""
    forecasts = [rollout(model, context, read, steps, seed=seed) for seed in range(draws)]
    for frames in zip(*forecasts, strict=True):
        yield frames[0], spread_of(torch.stack(frames)) if draws > 1 else None


def spread_of(frames: Float[Tensor, "s b c h w"]) -> Float[Tensor, "b c h w"]:
    """The standard deviation over draws at every point, in float32, at least `FLOOR` of its mean square's root.

    >>> frames = torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 3.0, 6.0, 0.0]]).reshape(2, 1, 1, 2, 2)
    >>> [round(value, 4) for value in spread_of(frames).flatten().tolist()]  # rms 1.1180
    [0.1118, 1.0, 2.0, 0.1118]
    """
    spread = frames.double().std(dim=0, correction=0)
    floor = FLOOR * spread.square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return torch.maximum(spread, floor).clamp_min(torch.finfo(torch.float32).tiny).float()


def as_array(spread: Tensor | None) -> NDArray[np.float32] | None:
    """Returns a spread as files take it."""
    if spread is None:
        return None
    array: NDArray[np.float32] = spread.cpu().numpy()
    return array
