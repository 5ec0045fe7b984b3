"""Chooses the trajectories of a store that eval and calibrate score, after a check of everything against it."""

from __future__ import annotations

from dataclasses import replace

from polycli.errors import StoreError
from polycli.mpp.data.about import physics_of, statistics_of
from polycli.mpp.data.oddities import warn_of_scale
from polycli.mpp.data.parameters import told_of_rows
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.trained import check_trained
from polycli.mpp.scoring.measure import Subset
from polycli.mpp.scoring.rollout import conditions
from polycli.mpp.scoring.told import say_told
from polycli.requests import Split
from polycli.store.reader import Store


def choose_subset(
    store: Store, loaded: LoadedNetwork, *, split: Split, limit: int | None, allow_untrained: bool, from_frame: int = 0
) -> Subset:
    """The first `limit` trajectories of a split, from a frame on.

    Raises:
        StoreError: the model does not know the data, or there is nothing to score.
    """
    loaded.refuse_unless_it_forecasts()
    about = physics_of(store.manifest, store.path)
    read = conditions(str(store.path), about, known=loaded.section.fields)
    stride = loaded.time_stride
    told = loaded.section.told
    check_trained(
        loaded.trained, str(store.path), about, time_stride=stride, allow=allow_untrained, dt_told="dt" in told
    )
    rows = store.rows(split)[:limit]
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no trajectory is in the split {split}; there are {dict(store.manifest.splits)}",
            hint="choose another --split, or prepare the store from more trajectories",
        )
    warn_of_scale(store.name, statistics_of(store.manifest, store.path))
    values = told_of_rows(store, rows, told, interval=about.dt * stride)
    say_told(store.name, values, loaded.model)
    subset = Subset(store, about, replace(read, told=values), rows, loaded.history, stride, from_frame)
    frames = store.manifest.arrays["fields"].shape[1]
    if subset.frames <= subset.history:
        begin = f" from frame {from_frame} on" if from_frame else ""
        raise StoreError(
            f"{store.path}: a trajectory has {frames} frames, history {subset.history} at time_stride "
            f"{subset.time_stride} needs at least {subset.history * subset.time_stride + 1 + from_frame}{begin}",
            hint="--set data.history=N, with fewer frames than the model was trained with, or longer trajectories",
        )
    return subset
