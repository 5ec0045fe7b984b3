"""The work of prepare's worker processes: a job's trajectories become staged rows, with checks and statistics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from polycli.mpp.data.oddities import ZeroFrames, flags_of
from polycli.mpp.data.source import Job, Trajectory
from polycli.store.builder import StoreBuilder
from polycli.store.layout import ArrayLayout
from polycli.store.statistics import FieldSums, RunningStatistics
from polycli.workflow.identity import frame_numbers

#: Rows are finished together, up to so many bytes or seconds of work, which is what a killed process loses.
_BYTES_AT_RISK, _SECONDS_AT_RISK = 16 * 2**20, 1.0


class Row(TypedDict):
    """Everything that is kept of a trajectory when it is done; it is staged if `rejected` is None."""

    rejected: str | None
    flags: list[str]
    hash: str
    parameters: list[float]
    statistics: FieldSums
    #: A number for each frame, by which it is known again in stores of other strides.
    frames: list[list[int]]


@dataclass(frozen=True)
class StageTask:
    """One job of one dataset, and where its rows go; `keys` name the rows in the builder, in the order of the ids."""

    target: Path
    fingerprint: str
    job: Job
    keys: tuple[str, ...]
    #: (time, field, x, y)
    shape: tuple[int, int, int, int]
    fields: tuple[str, ...]


class _RejectedError(Exception):
    """A trajectory cannot be kept; the text is the reason for the manifest."""


def is_staged(task: StageTask) -> bool:
    """Whether every trajectory of a job is done: staged or rejected."""
    builder = StoreBuilder(task.target, fingerprint=task.fingerprint)
    return all(builder.record(key) is not None for key in task.keys)


def stage(task: StageTask) -> None:
    """Stage the trajectories of a job that an earlier, killed prepare has not finished."""
    builder = StoreBuilder(task.target, fingerprint=task.fingerprint)
    keys = dict(zip(task.job.ids, task.keys, strict=True))
    wanted = [name for name, key in keys.items() if builder.record(key) is None]
    if not wanted:
        return
    done: dict[str, Row] = {}
    since = time.monotonic()
    try:
        for trajectory in task.job.trajectories(wanted):
            key = keys[trajectory.id]
            done[key] = _stage_row(builder, key, trajectory, task)
            if len(done) * _row_bytes(task) >= _BYTES_AT_RISK or time.monotonic() - since >= _SECONDS_AT_RISK:
                builder.finish_all(_taken(done))
                since = time.monotonic()
    finally:
        # Those before one that cannot be read, too, need not be staged again.
        builder.finish_all(_taken(done))


def _taken(rows: dict[str, Row]) -> dict[str, dict[str, object]]:
    """The rows that are waiting, which wait no longer."""
    records = {key: dict(row) for key, row in rows.items()}
    rows.clear()
    return records


def _row_bytes(task: StageTask) -> int:
    return 4 * prod(task.shape)


def _stage_row(builder: StoreBuilder, key: str, trajectory: Trajectory, task: StageTask) -> Row:
    statistics, zeros, frames = RunningStatistics(task.fields), ZeroFrames(), list[list[int]]()
    layout = fields_layout(task.shape)
    parameters = [float(value) for value in trajectory.parameters]
    try:
        staged = builder.stage(key, layout, _checked(_numbered(trajectory.blocks, frames), statistics, zeros, task))
    except _RejectedError as reason:
        return Row(rejected=str(reason), flags=[], hash="", parameters=parameters, statistics={}, frames=[])
    sums = statistics.as_dict()
    return Row(
        rejected=None,
        flags=list(flags_of(sums, zeros)),
        hash=staged.hash,
        parameters=parameters,
        statistics=sums,
        frames=frames,
    )


def fields_layout(shape: tuple[int, int, int, int]) -> ArrayLayout:
    """Returns the layout of rows of (time, field, x, y) in a store."""
    return ArrayLayout.of_trajectories("fields", ("trajectory", "time", "field", "x", "y"), shape)


def _numbered(blocks: Iterable[NDArray[Any]], numbers: list[list[int]]) -> Iterator[NDArray[Any]]:
    """Yields the blocks as they pass; `numbers` grows by those of each frame."""
    for block in blocks:
        numbers += frame_numbers(block)
        yield block


def _checked(
    blocks: Iterable[NDArray[Any]], statistics: RunningStatistics, zeros: ZeroFrames, task: StageTask
) -> Iterator[NDArray[np.float32]]:
    """The blocks as they pass, counted into the statistics; stops at the first that cannot be kept."""
    frames = 0
    for block in blocks:
        if block.shape[1:] != task.shape[1:]:
            raise _RejectedError(f"wrong shape: frames are {block.shape[1:]}, {task.shape[1:]} was expected")
        finite = np.isfinite(block)
        if not finite.all():
            time, field = (int(place) for place in np.argwhere(~finite)[0][:2])
            raise _RejectedError(f"non-finite value in {task.fields[field]}, first in frame {frames + time}")
        frames += block.shape[0]
        if frames <= task.shape[0]:
            statistics.update(block)
            zeros.update(block)
            yield block
    if frames != task.shape[0]:
        raise _RejectedError(f"wrong shape: {frames} frames, {task.shape[0]} were expected")
