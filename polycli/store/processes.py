"""Runs many small pieces of work in processes that never outlive the command, or in this process when one is enough."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Self, TypeVar

from polycli.errors import PolycliError

Task = TypeVar("Task")
Result = TypeVar("Result")


def processor_count() -> int:
    """Processors that this process may use, which a Slurm job or a container limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A pool of `count` processes; with 0 or 1 the work is done here. Use it as a context manager.

    Processes are spawned, never forked, because tensorstore and torch run threads; and not by a fork server, which
    leaves a folder in the system's temporary one when it is killed.
    """

    def __init__(self, count: int | None) -> None:
        self.count = processor_count() if count is None else max(1, count)
        self._pool: ProcessPoolExecutor | None = None
        self._others: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        if self.count > 1:
            self._others = set(multiprocessing.active_children())
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_follow_parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            if kind is not None:
                # After an error or Ctrl-C nobody waits for what is under way; it would take minutes.
                for process in set(multiprocessing.active_children()) - self._others:
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def unordered(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they are done. `function` and the tasks must be picklable.

        Raises:
            PolycliError: a process died, say of too little memory. What `function` raises is raised here.
        """
        if self._pool is None or len(tasks) < 2:
            for task in tasks:
                yield task, function(task)
            return
        futures: dict[Future[Result], Task] = {self._pool.submit(function, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise PolycliError(
                "a worker process was killed, perhaps for want of memory; what was finished is kept",
                hint="run the same line again, with fewer --workers",
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _follow_parent() -> None:
    """End this process when its parent is gone: a killed command must leave nobody behind who still writes."""
    # One thread per process: the processes already use every processor.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
