"""Numbers about whole trajectories: means over some windows of each, of a network's answers or of plain statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.data.about import physics_of
from polycli.mpp.model.normalization import widen
from polycli.mpp.predicting.inputs import ContextSource, DataOrigin, StoreContexts
from polycli.mpp.predicting.windows import refuse_gaps, window_batches
from polycli.mpp.scoring.spectra import radial_power
from polycli.store.reader import Store
from polycli.workflow.identity import Identities, KnownRows
from polycli.workflow.loaded import LoadedCheckpoint

Floats = NDArray[np.float64]
#: Makes numbers (window, k) of windows (window, time, C, H, W).
Measure = Callable[[Tensor], Tensor]


def rows_of(store: Store, rows: NDArray[np.int64]) -> StoreContexts:
    """Some rows of a store as a source of windows."""
    return StoreContexts(
        name=store.name,
        about=physics_of(store.manifest, store.path),
        ids=tuple(store.row_ids(rows)),
        time=store.read("time").astype(np.float64),
        origin=DataOrigin(data=str(store.path), store_hash=store.manifest.store_hash),
        store=store,
        rows=rows,
    )


def reference_rows(store: Store, scored: NDArray[np.int64], loaded: LoadedCheckpoint) -> NDArray[np.int64]:
    """The rows that simple methods learn from: those that trained the model or, of another store, its split train.

    None of them is scored.
    """
    rows = np.setdiff1d(store.rows("train"), scored)
    trained = loaded.trained_on.get(store.name)
    if trained is None or not len(rows):
        return rows
    seen = KnownRows.of_training(trained.rows, trained.parts, trained.ids).content_of(Identities.of(store, rows))
    return rows[seen] if seen.any() else rows


def some_of(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """The rows or, where they are more than `most`, a random choice of so many, in order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def trajectory_means(
    source: ContextSource,
    starts: Sequence[int],
    measure: Measure,
    *,
    history: int,
    time_stride: int,
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Floats:
    """The mean of `measure` over the windows at `starts` of each trajectory, (trajectory, k) in their order.

    Args:
        source: the trajectories.
        starts: first frames of the windows.
        measure: makes numbers (window, k) of windows (window, time, C, H, W).
        history: frames of a window.
        time_stride: frames of the source from one frame of a window to the next.
        batch_size: windows that are measured at a time.
        advance: told how many more windows are done.

    Raises:
        SourceError: a frame is not finite.
    """
    sums: Floats | None = None
    frames = {"history": history, "time_stride": time_stride}
    for batch in window_batches(source, starts, **frames, size=batch_size):
        window = batch.read()
        refuse_gaps(source, window, batch)
        found = measure(torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))).double().cpu().numpy()
        sums = np.zeros((len(source.ids), found.shape[1])) if sums is None else sums
        np.add.at(sums, batch.trajectories, found)
        advance(len(batch))
    return np.zeros((0, 0)) if sums is None else sums / len(starts)


def plain_statistics(window: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b c*k"]:
    """Everything about windows that needs no network, field by field: what simple learners are given.

    Of each field: its mean, its standard deviation, the root mean square of its changes from frame to frame (zero with
    one frame), and log10 of its power by radial wavenumber, in the last frame and in the last change.
    """
    window = widen(window)
    change = window[:, 1:] - window[:, :-1] if window.shape[1] > 1 else torch.zeros_like(window)
    simple = [
        window.mean(dim=(1, 3, 4)),
        window.std(dim=(1, 3, 4)),
        change.square().mean(dim=(1, 3, 4)).sqrt(),
    ]
    powers = [_logarithm(radial_power(frames[:, -1])) for frames in (window, change)]
    return torch.cat([torch.stack(simple, dim=-1), *powers], dim=-1).flatten(1)


def joined_statistics(parts: Sequence[tuple[Sequence[str], Floats]]) -> Floats:
    """Plain statistics of datasets with different fields as one table; NaN where a dataset does not have a field.

    `parts` are, for each dataset, its fields and the statistics of its trajectories. Fields of datasets with another
    number of wavenumbers stand in columns of their own.
    """
    places: dict[tuple[str, int], int] = {}
    width = 0
    for fields, values in parts:
        each = values.shape[1] // len(fields)
        for field in fields:
            if (field, each) not in places:
                places[field, each] = width
                width += each
    table = np.full((sum(len(values) for _, values in parts), width), np.nan)
    row = 0
    for fields, values in parts:
        each = values.shape[1] // len(fields)
        for index, field in enumerate(fields):
            first = places[field, each]
            table[row : row + len(values), first : first + each] = values[:, index * each : (index + 1) * each]
        row += len(values)
    return table


def _logarithm(power: Tensor) -> Tensor:
    """Returns log10 of powers, and of no power the log10 of the smallest number that is one."""
    return power.clamp(min=torch.finfo(power.dtype).tiny).log10()
