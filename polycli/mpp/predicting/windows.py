"""Windows of known trajectories, in order, batch by batch: what `embed` looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError, StoreError
from polycli.mpp.predicting.inputs import ContextSource, Frames, Reach, StoreContexts
from polycli.store.reader import Window


@dataclass(frozen=True)
class WindowBatch:
    """A batch of windows of one dataset."""

    #: For each window the index of its trajectory among the ids of the dataset, and its first frame.
    trajectories: NDArray[np.int64]
    starts: NDArray[np.int64]
    #: Reads some of them, (window, time, C, H, W); windows that another process embeds are not read.
    read_part: Callable[[slice], Frames]

    def __len__(self) -> int:
        return len(self.trajectories)

    def __getitem__(self, part: slice) -> WindowBatch:
        return WindowBatch(self.trajectories[part], self.starts[part], lambda inner: self.read_part(part)[inner])

    def read(self) -> Frames:
        """Reads all windows, (window, time, C, H, W)."""
        return self.read_part(slice(None))


def window_starts(source: ContextSource, *, history: int, time_stride: int, every: int | None) -> range:
    """First frames of the windows of each trajectory: of every n-th window from the first on, or of the last alone.

    Raises:
        StoreError: trajectories are shorter than a window.
    """
    needed, frames = (history - 1) * time_stride + 1, len(source.time)
    if frames < needed:
        raise StoreError(
            f"{source.name}: a trajectory has {frames} frames, history {history} at time_stride {time_stride} needs "
            f"{needed}",
            hint="--set data.history=N, with fewer frames than the model was trained with, or longer trajectories",
        )
    last = frames - needed
    return range(last, last + 1) if every is None else range(0, last + 1, every)


def even_starts(source: ContextSource, *, history: int, time_stride: int, count: int) -> list[int]:
    """First frames of at most `count` windows of each trajectory, evenly spread from the first window to the last.

    Raises:
        StoreError: trajectories are shorter than a window.
    """
    whole = window_starts(source, history=history, time_stride=time_stride, every=1)
    return [int(start) for start in np.unique(np.linspace(0, whole[-1], min(count, len(whole))).round())]


def window_batches(
    source: ContextSource, starts: Sequence[int], *, history: int, time_stride: int, size: int
) -> Iterator[WindowBatch]:
    """All windows of all trajectories in order, `size` at a time, across the borders of trajectories."""
    if isinstance(source, StoreContexts):
        take = stored_windows(source, starts, history=history, time_stride=time_stride)
        count = len(source.ids) * len(starts)
        yield from (take(begin, min(begin + size, count)) for begin in range(0, count, size))
    else:
        yield from streamed_windows(source, starts, history=history, time_stride=time_stride, size=size)


def stored_windows(
    source: StoreContexts, starts: Sequence[int], *, history: int, time_stride: int
) -> Callable[[int, int], WindowBatch]:
    """Returns a function that gives windows of a store by their numbers, counted over all trajectories in order."""

    def take(first: int, end: int) -> WindowBatch:
        numbers = np.arange(first, end)
        trajectories, begin = numbers // len(starts), np.array(starts)[numbers % len(starts)]
        windows = [
            Window(int(source.rows[trajectory]), int(start), history, time_stride)
            for trajectory, start in zip(trajectories, begin, strict=True)
        ]

        def read(part: slice) -> Frames:
            return source.store.read_windows("fields", windows[part])

        return WindowBatch(trajectories, begin, read)

    return take


def streamed_windows(
    source: ContextSource, starts: Sequence[int], *, history: int, time_stride: int, size: int
) -> Iterator[WindowBatch]:
    """All windows of all trajectories of files in order, `size` at a time, across the borders of trajectories."""
    waiting: list[tuple[int, int, Frames]] = []
    # A file is read from front to end once, whatever windows overlap.
    whole = Reach(starts[0], starts[-1] - starts[0] + (history - 1) * time_stride + 1, 1)
    for trajectory, frames in enumerate(source.contexts(whole)):
        for start in starts:
            first = start - starts[0]
            waiting.append((trajectory, start, frames[first : first + (history - 1) * time_stride + 1 : time_stride]))
            if len(waiting) == size:
                yield _of_frames(waiting)
                waiting = []
    if waiting:
        yield _of_frames(waiting)


def refuse_gaps(source: ContextSource, frames: Frames, batch: WindowBatch) -> None:
    """Return if all frames of a batch are finite.

    Raises:
        SourceError: one is not; the message names its trajectory.
    """
    whole = np.isfinite(frames).all(axis=(1, 2, 3, 4))
    if not whole.all():
        bad = int(np.argmin(whole))
        raise SourceError(
            f"{source.name}: trajectory {source.ids[batch.trajectories[bad]]} holds values that are not finite in the "
            f"window from frame {batch.starts[bad]} on",
            hint="leave it out, or choose other windows with --set windows=...",
        )


def _of_frames(windows: Sequence[tuple[int, int, Frames]]) -> WindowBatch:
    trajectories, starts, frames = zip(*windows, strict=True)
    return WindowBatch(np.array(trajectories), np.array(starts), lambda part: np.stack(frames[part]))
