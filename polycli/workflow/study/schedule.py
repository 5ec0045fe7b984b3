"""Runs the commands of a study, several at a time: each as soon as what it reads is there and a place is free.

A thread waits for each command, which is a process of its own. With one command at a time the order is that of the
recipe, but for what stands before what it reads.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from pathlib import Path

from polycli import console
from polycli.engine.signals import StopRequest
from polycli.errors import PreemptedError, RecipeError
from polycli.launch import free_port
from polycli.store.processes import processor_count

#: In the folder of a study: which folders its tasks make, for `polycli status`.
TASKS_NAME = "tasks.json"
#: Seconds between two looks at whether a signal came; a run takes two signals within a second for one.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Task:
    """One command of a study, what it needs and what it leaves."""

    writes: Path
    #: Folders that other tasks write. Those of no task are there already, or the command says that they are not.
    reads: frozenset[Path]
    do: Callable[[], None]


class Processes:
    """Starts commands, `jobs` at a time, in threads that wait for them; can end all of them."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, words: Sequence[str]) -> int:
        """Run `polycli WORDS` and return its exit code. stdout belongs to the study's own result."""
        command = [sys.executable, "-m", "polycli", *words]
        with self._lock:
            if self._stopped:
                return PreemptedError.exit_code
            console.say(f"$ polycli {shlex.join(words)}")
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._environment(command))
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.remove(process)
        return code

    def stop(self) -> None:
        """Ask all commands to save and end, and start no more.

        Ctrl-C in a terminal has reached them already. The signal is SIGTERM then too: a second SIGINT would interrupt
        a command that is about to leave.
        """
        with self._lock:
            if not self._stopped:
                for process in self._running:
                    process.terminate()
            self._stopped = True

    def _environment(self, command: Sequence[str]) -> dict[str, str] | None:
        """Returns the environment of a command; None, and so the study's own, where it runs alone."""
        if self.jobs == 1:
            return None
        # Bars of several commands on one screen would overwrite each other; this asks for plain lines. And under srun
        # all commands would take the same port.
        variables = {**os.environ, "TERM": "dumb", "MASTER_PORT": str(free_port())}
        # `--nproc` gives each rank one thread.
        if "--nproc" not in command:
            variables.setdefault("OMP_NUM_THREADS", str(max(1, processor_count() // self.jobs)))
        return variables


def run_tasks(tasks: Sequence[Task], processes: Processes) -> None:
    """Do all tasks; of those that can begin, the first of the list begins first.

    Once one has failed no other begins, those under way are let finish, and what the failed one raised is raised.

    Raises:
        RecipeError: tasks wait for each other.
        PreemptedError: a signal came; the commands were asked to save and end, and have ended.
    """
    order = _order(tasks)
    ready: list[int] = []
    running: dict[Future[None], int] = {}
    failure: BaseException | None = None
    with StopRequest() as stop, ThreadPoolExecutor(processes.jobs) as threads:
        while True:
            for place in order.get_ready():
                heappush(ready, place)
            while ready and len(running) < processes.jobs and failure is None:
                place = heappop(ready)
                running[threads.submit(tasks[place].do)] = place
            if not running:
                break
            finished, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            # Looked at before what has finished: that a command ended with the signal is no failure of its own.
            if stop.signal_number:
                processes.stop()
                name = signal.Signals(stop.signal_number).name
                stopped = PreemptedError(f"the study was stopped by {name}", hint="run the same line again to go on")
                failure = failure or stopped
            for future in finished:
                order.done(running.pop(future))
                failure = failure or future.exception()
        if failure is not None:
            raise failure


def _order(tasks: Sequence[Task]) -> TopologicalSorter[int]:
    """The tasks by their places in the list."""
    places = {task.writes: place for place, task in enumerate(tasks)}
    order: TopologicalSorter[int] = TopologicalSorter()
    for place, task in enumerate(tasks):
        order.add(place, *(places[folder] for folder in task.reads if folder in places and folder != task.writes))
    try:
        order.prepare()
    except CycleError as error:
        names = ", ".join(tasks[place].writes.name for place in error.args[1])
        raise RecipeError(f"runs wait for each other: {names}") from None
    return order
