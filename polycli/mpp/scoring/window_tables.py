"""The rows that windows of trajectories have among embeddings: what they are, their parameters and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polycli.mpp.data.parameters import parameter_names, parameters_of_rows
from polycli.mpp.data.source import DescribedJob
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.padding import missing_points
from polycli.mpp.predicting.inputs import ContextSource, SourceContexts, StoreContexts
from polycli.mpp.predicting.windows import WindowBatch, refuse_gaps, stored_windows, streamed_windows
from polycli.mpp.scoring.rollout import Conditions, last_tokens
from polycli.names import free_names
from polycli.store.embeddings.manifest import ROWS
from polycli.store.embeddings.parts import Tables, with_vectors
from polycli.store.embeddings.plan import data_identity
from polycli.workflow.embedding.rows import Advance, Rows, bytes_of, marks_of

#: The table with a row for each token of the windows.
TOKENS = "tokens"
#: Columns of the rows, before the parameters.
COLUMNS = ("trajectory", "dataset", "split", "window_start", "time")


def parameter_columns(sources: Sequence[ContextSource]) -> dict[str, str]:
    """Maps each parameter or constant of any dataset to the name of its column."""
    given = [name for source in sources for name in parameter_names(source.about)]
    names = list(dict.fromkeys(given))
    return dict(zip(names, free_names(names, taken=[*COLUMNS, "pooled_embedding"], prefix="parameter_"), strict=True))


def parameters_of(source: ContextSource) -> dict[str, NDArray[np.float64]]:
    """Maps the name of each parameter to its value in every trajectory; constants have the same value in all."""
    if isinstance(source, StoreContexts):
        return parameters_of_rows(source.store, source.rows)
    found = {name: np.full(len(source.ids), value) for name, value in source.about.constants.items()}
    if not isinstance(source, SourceContexts) or not source.about.parameter_names:
        return found
    described = [job.parameters for job in source.jobs if isinstance(job, DescribedJob)]
    if len(described) < len(source.jobs):
        return found
    # A limit may have left out the last trajectories.
    values = np.array([row for rows in described for row in rows][: len(source.ids)], dtype=np.float64)
    return found | {name: values[:, index] for index, name in enumerate(source.about.parameter_names)}


@dataclass(frozen=True)
class WindowTables:
    """Makes the rows of the windows of one dataset and, where they are wanted, of their tokens."""

    loaded: LoadedNetwork
    source: ContextSource
    read: Conditions
    #: By parameter the name of its column; those of all datasets.
    columns: Mapping[str, str]
    #: By parameter of this dataset its value for each trajectory.
    parameters: Mapping[str, NDArray[np.float64]]
    tokens: bool

    def __call__(self, batches: Sequence[WindowBatch], first_row: int, advance: Advance) -> Tables:
        """One row for each window, whose first has the index `first_row`, and one for each of their tokens."""
        made = []
        for batch in batches:
            made.append(self._tables(batch, first_row))
            first_row += len(batch)
            advance(len(batch))
        return {name: pa.concat_tables([tables[name] for tables in made]) for name in made[0]}

    def _tables(self, batch: WindowBatch, first_row: int) -> dict[str, pa.Table]:
        frames = batch.read()
        refuse_gaps(self.source, frames, batch)
        tokens = last_tokens(self.loaded.model, torch.from_numpy(frames), self.read)
        rows = self._columns(batch)
        tables = {ROWS: with_vectors(rows, {"pooled_embedding": tokens.mean(dim=(1, 2)).cpu().numpy()})}
        if self.tokens:
            count, height, width, dimension = tokens.shape
            x, y = self._centres(height, width)
            places = pa.table(
                {
                    "row": np.repeat(first_row + np.arange(count), height * width),
                    "trajectory": rows["trajectory"].take(np.repeat(np.arange(count), height * width)),
                    "x": np.tile(np.repeat(x, width), count),
                    "y": np.tile(y, count * height),
                }
            )
            tables[TOKENS] = with_vectors(places, {"token_embedding": tokens.reshape(-1, dimension).cpu().numpy()})
        return tables

    def _columns(self, batch: WindowBatch) -> pa.Table:
        source, chosen = self.source, batch.trajectories
        last = batch.starts + (self.loaded.history - 1) * self.loaded.time_stride
        splits: Sequence[str | None] = [None] * len(batch)
        if isinstance(source, StoreContexts):
            splits = source.store.split_names(source.rows[chosen])
        fixed = [
            pa.array([source.ids[trajectory] for trajectory in chosen], pa.string()),
            pa.array([source.name] * len(batch), pa.string()),
            pa.array(splits, pa.string()),
            pa.array(batch.starts, pa.int64()),
            pa.array(source.time[last], pa.float64()),
        ]
        nothing = pa.nulls(len(batch), pa.float64())
        values = {
            column: pa.array(self.parameters[name][chosen]) if name in self.parameters else nothing
            for name, column in self.columns.items()
        }
        return pa.table({**dict(zip(COLUMNS, fixed, strict=True)), **values})

    def _centres(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The centres of the patches along x and y, in the units of the dataset's extent."""
        patch = self.loaded.model.feature_points
        found = []
        for patches, points, (low, high) in zip(
            (height, width), self.source.about.grid, self.source.about.extent, strict=True
        ):
            first = missing_points(points, patch)[0]
            found.append(low + ((np.arange(patches) + 0.5) * patch - first) * (high - low) / points)
        return found[0], found[1]


def window_rows(
    source: ContextSource, starts: range, tables: WindowTables, *, history: int, time_stride: int, size: int
) -> Rows[WindowBatch]:
    """The windows of a dataset as `embed` sees them: any range of a store's, or those of files in order."""
    frames = {"history": history, "time_stride": time_stride}

    def ids(batch: WindowBatch) -> list[str]:
        pairs = zip(batch.trajectories, batch.starts, strict=True)
        return [f"{source.ids[trajectory]} from frame {start}" for trajectory, start in pairs]

    stored = isinstance(source, StoreContexts)
    return Rows(
        source.name,
        data_identity(source.origin.store_hash, source.ids, str(starts), marks_of(source.files)),
        size,
        tables,
        ids=ids,
        count=len(source.ids) * len(starts),
        bytes=bytes_of(source.store, len(source.ids)) if isinstance(source, StoreContexts) else None,
        take=stored_windows(source, starts, **frames) if isinstance(source, StoreContexts) else None,
        stream=() if stored else streamed_windows(source, starts, **frames, size=size),
    )
