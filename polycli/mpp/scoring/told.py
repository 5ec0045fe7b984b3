"""Says what a model hears of data beside frames: what is not known, and what is beyond the values of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.console import note, warn
from polycli.mpp.data.parameters import told_of
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.network import Network
from polycli.mpp.predicting.inputs import ContextSource
from polycli.mpp.scoring.window_tables import parameters_of

#: A number is beyond training where it is beyond its range by more than this share of it: stores keep rounded numbers.
_MARGIN = 1e-3


def say_told(name: str, told: NDArray[np.float32] | None, model: Network) -> None:
    """Note what the data called `name` do not say, and warn of what lies beyond the values of training.

    Args:
        name: what sentences call the data.
        told: what the model is told of each trajectory, (trajectory, number), NaN where it is not known.
        model: the network, which keeps the ranges of its training.
    """
    conditioning = model.conditioning if isinstance(model, AViT) else None
    if told is None or conditioning is None:
        return
    ranges = zip(conditioning.low.tolist(), conditioning.high.tolist(), strict=True)
    for what, values, (low, high) in zip(conditioning.names, told.T, ranges, strict=True):
        known = values[np.isfinite(values)]
        if len(known) < len(values):
            note(
                f"{name}: {what} is not known of {len(values) - len(known)} of {len(values)} trajectories, and the "
                "model is told so"
            )
        margin = _MARGIN * max(abs(low), abs(high))
        beyond = int(((known < low - margin) | (known > high + margin)).sum())
        if beyond:
            warn(
                f"{name}: {what} is between {known.min():g} and {known.max():g}, in training it was between {low:g} "
                f"and {high:g}: for {beyond} of {len(values)} trajectories the model extrapolates"
            )


def told_of_source(source: ContextSource, loaded: LoadedNetwork) -> NDArray[np.float32] | None:
    """The numbers that a model is told of the trajectories of a source, (trajectory, number); None where none."""
    interval = source.about.dt * loaded.time_stride if source.dt_known else np.nan
    return told_of(parameters_of(source), loaded.section.told, interval=interval, count=len(source.ids))
