"""Reads micro-batches ahead of the training loop, in threads, in an order that does not depend on them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

from polycli.engine.task import Batch, MicroBatch, Task
from polycli.launch import World


@dataclass(frozen=True)
class LoadedBatch:
    """A micro-batch and its data, and whether it is the last of its step."""

    micro_batch: MicroBatch
    batch: Batch
    last: bool


@dataclass(frozen=True)
class StepSize:
    """The size of one rank's part of a step; the default is that of no step."""

    micro_batches: int = 0
    samples: int = 0
    #: The sum of the micro-batches' weights, which is one unless the task is wrong.
    weight: float = 1.0


class Prefetcher:
    """The batches of steps `first` to `last`, exclusive; a context manager, so that its threads end with it.

    With `workers` 0 everything is read when asked for, in the calling thread. An error of a reader is raised where its
    micro-batch would have been returned. `wait_seconds` adds up what the loop waited.
    """

    def __init__(
        self, task: Task, world: World, *, first: int, last: int, workers: int, pin_memory: bool = False
    ) -> None:
        self.task, self.world, self.pin_memory = task, world, pin_memory
        self.executor = ThreadPoolExecutor(workers, thread_name_prefix="reader") if workers else None
        # Enough to keep every reader busy while the loop holds one batch; each waiting batch costs its memory.
        self.depth = 2 * workers
        self.steps = iter(range(first, last))
        #: Sizes of the steps that are planned and not begun, and their micro-batches that no reader has yet.
        self.sizes: deque[StepSize] = deque()
        self.coming: deque[tuple[MicroBatch, bool]] = deque()
        self.pending: deque[tuple[MicroBatch, bool, Future[Batch]]] = deque()
        self.wait_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def next_size(self) -> StepSize:
        """Return the size of this rank's part of the next step, which is nothing after the last one."""
        if not self.sizes and not self._plan():
            return StepSize()
        return self.sizes[0]

    def step(self) -> Iterator[LoadedBatch]:
        """The micro-batches of the next step."""
        for _ in range(self.next_size().micro_batches):
            started = time.perf_counter()
            loaded = self._next()
            self.wait_seconds += time.perf_counter() - started
            if loaded.last:
                self.sizes.popleft()
            yield loaded

    def _next(self) -> LoadedBatch:
        if self.executor is None:
            micro_batch, last = self.coming.popleft()
            return LoadedBatch(micro_batch, self._load(micro_batch), last)
        while len(self.pending) <= self.depth and (self.coming or self._plan()):
            micro_batch, last = self.coming.popleft()
            self.pending.append((micro_batch, last, self.executor.submit(self._load, micro_batch)))
        micro_batch, last, future = self.pending.popleft()
        return LoadedBatch(micro_batch, future.result(), last)

    def _plan(self) -> bool:
        """Ask the task for one more step; whether there was one."""
        step = next(self.steps, None)
        if step is None:
            return False
        micro_batches = self.task.micro_batches(step, self.world)
        last = len(micro_batches) - 1
        self.coming.extend((micro_batch, index == last) for index, micro_batch in enumerate(micro_batches))
        size = StepSize(
            len(micro_batches),
            sum(len(micro_batch.samples) for micro_batch in micro_batches),
            sum(micro_batch.weight for micro_batch in micro_batches),
        )
        self.sizes.append(size)
        return True

    def _load(self, micro_batch: MicroBatch) -> Batch:
        batch = micro_batch.load()
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch


class Loadable(Protocol):
    """A batch that is not read yet."""

    def load(self) -> Batch:
        """Read the micro-batch, in whichever thread calls."""
        ...


def read_ahead(batches: Iterable[Loadable]) -> Iterator[Batch]:
    """The batches in their order; one is read while the caller is busy with the one before."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for batch in batches:
            waiting, ready = reader.submit(batch.load), waiting
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()
