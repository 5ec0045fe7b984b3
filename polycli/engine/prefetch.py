"""Reads micro-batches ahead of the training loop, in threads, in an order that does not depend on them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from polycli.engine.task import Batch, MicroBatch, Task
from polycli.launch import World


@dataclass(frozen=True)
class LoadedBatch:
    """A micro-batch and its data, and whether it is the last of its step."""

    micro_batch: MicroBatch
    batch: Batch
    last: bool


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
        self.coming = self._all(first, last)
        self.pending: deque[tuple[MicroBatch, bool, Future[Batch]]] = deque()
        self.wait_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def step(self) -> Iterator[LoadedBatch]:
        """The micro-batches of the next step."""
        last = False
        while not last:
            started = time.perf_counter()
            loaded = self._next()
            self.wait_seconds += time.perf_counter() - started
            last = loaded.last
            yield loaded

    def _next(self) -> LoadedBatch:
        if self.executor is None:
            micro_batch, last = next(self.coming)
            return LoadedBatch(micro_batch, self._load(micro_batch), last)
        while len(self.pending) <= self.depth:
            coming = next(self.coming, None)
            if coming is None:
                break
            micro_batch, last = coming
            self.pending.append((micro_batch, last, self.executor.submit(self._load, micro_batch)))
        micro_batch, last, future = self.pending.popleft()
        return LoadedBatch(micro_batch, future.result(), last)

    def _all(self, first: int, last: int) -> Iterator[tuple[MicroBatch, bool]]:
        for step in range(first, last):
            micro_batches = self.task.micro_batches(step, self.world)
            for index, micro_batch in enumerate(micro_batches, start=1):
                yield micro_batch, index == len(micro_batches)

    def _load(self, micro_batch: MicroBatch) -> Batch:
        batch = micro_batch.load()
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch
