"""A training on two gloo ranks at ZeRO 2 that is killed, or asked to stop, at random instants, and started again.

Every start is two forked processes in a process group of their own, so that what is imported is imported once. This
process never joins a group and starts no threads. `stress_runs.py FOLDER JSON-SETTINGS` writes FOLDER/report.json.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

import numpy as np
from toy import ToyTask, train_toy

from polycli.checkpoints.manifest import verify
from polycli.engine.deepspeed.backend import load_deepspeed
from polycli.errors import PreemptedError
from polycli.launch import World, free_port, join_process_group

RANKS = 2
#: Longest wait for anything that a start should do.
PATIENCE_SECONDS = 120.0


class PacedTask(ToyTask):
    """The toy task with a pause in every step, so that a random instant meets all parts of a run."""

    pause = 0.0

    def micro_batches(self, step: int, world: World) -> Any:
        time.sleep(self.pause)
        return super().micro_batches(step, world)


def train(folder: Path, *, steps: int, pause: float) -> None:
    task = PacedTask(dropout=0.3)
    task.pause = pause
    train_toy(
        folder,
        task,
        join_process_group(),
        engine__zero_stage=2,
        train__steps=steps,
        train__checkpoint_every=4,
        train__validate_every=10,
        train__keep_last=2,
    )


@dataclass
class Start:
    """One start of a run: its processes, which share a process group."""

    run: Path
    processes: list[int]

    def signal(self, number: int) -> None:
        os.killpg(self.processes[0], number)

    def wait(self) -> list[int]:
        """Exit codes as a shell would see them, signals as negative numbers."""
        return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in self.processes]

    def has_ended(self) -> bool:
        """Whether one of the processes is gone; it can still be waited for."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return any(os.waitid(os.P_PID, process, flags) is not None for process in self.processes)


def start(run: Path, *, steps: int, pause: float) -> Start:
    port = free_port()
    processes: list[int] = []
    for rank in range(RANKS):
        child = os.fork()
        if child == 0:
            os.setpgid(0, processes[0] if processes else 0)
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in variables.items()}, MASTER_ADDR="127.0.0.1")
            os._exit(code_of(lambda: train(run, steps=steps, pause=pause)))
        processes.append(child)
        os.setpgid(child, processes[0])
    return Start(run, processes)


def code_of(action: Callable[[], None]) -> int:
    """The exit code that the command line would give."""
    try:
        action()
    except PreemptedError as error:
        return error.exit_code
    except BaseException:  # noqa: BLE001  # The forked process ends here, and its parent must hear of it.
        traceback.print_exc()
        return 1
    return 0


def wait_until(condition: Callable[[], bool], begun: Start) -> None:
    """Look every half millisecond, until then or until the start has ended by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and not begun.has_ended():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{begun.run}: waited in vain")
        time.sleep(0.0005)


def unfinished(run: Path) -> set[str]:
    """Checkpoints that are being written, or whose writing was cut short."""
    return {path.name for path in (run / "checkpoints").glob(".*partial*")}


def begun(run: Path) -> int:
    """How many starts have come to their first step."""
    return len(came_from(run))


def came_from(run: Path) -> list[int]:
    """The step that each start went on from, by the run's log; 0 is the beginning."""
    log = run / "log.txt"
    return [int(step) for step in re.findall(r": step (\d+) to \d+, from", log.read_text())] if log.exists() else []


def whole_steps(run: Path) -> list[int]:
    """The steps of all published checkpoints, each verified byte for byte.

    Raises:
        CheckpointError: one is not whole.
    """
    names = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
    for name in names:
        verify(run / "checkpoints" / name)
    return [int(name.removeprefix("step-")) for name in names]


def kill_inside_a_save(run: Path, draw: np.random.Generator, first: Start) -> None:
    """Wait for one of the next saves to begin, and kill within its first milliseconds."""
    seen = unfinished(run)
    for _ in range(draw.integers(1, 4)):
        wait_until(lambda seen=frozenset(seen): bool(unfinished(run) - seen), first)
        seen |= unfinished(run)
    time.sleep(draw.uniform(0, 0.02))
    first.signal(signal.SIGKILL)


def kill_anywhere(run: Path, draw: np.random.Generator, first: Start, startup: float) -> None:
    """Kill while starting, or at an instant of the training's next second."""
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0, startup))
    else:
        count = begun(run)
        wait_until(lambda: begun(run) > count, first)
        time.sleep(draw.uniform(0, 1.0))
    first.signal(signal.SIGKILL)


def kill_again_and_again(run: Path, settings: dict[str, Any], startup: float) -> dict[str, Any]:
    """Until there were enough kills, and enough of them inside a save; then to the end."""
    draw = np.random.default_rng(settings["seed"])
    kills: list[dict[str, Any]] = []
    while len(kills) < settings["kills"] or sum(kill["in_save"] for kill in kills) < settings["in_saves"]:
        missing = settings["in_saves"] - sum(kill["in_save"] for kill in kills)
        aim = draw.random() < missing / max(1, settings["kills"] - len(kills))
        before, starts = unfinished(run), begun(run)
        process = start(run, steps=settings["steps"], pause=settings["pause"])
        if aim:
            kill_inside_a_save(run, draw, process)
        else:
            kill_anywhere(run, draw, process, startup)
        codes = process.wait()
        left = unfinished(run) - before
        kills.append(
            {"codes": codes, "in_save": bool(left), "from": came_from(run)[starts:], "whole": whole_steps(run)}
        )
        print(f"kill {len(kills)}: {kills[-1]}", file=sys.stderr, flush=True)
    ended = start(run, steps=settings["steps"], pause=0.0).wait()
    return {"kills": kills, "ended": ended, "from": came_from(run)[-1]}


def stop_again_and_again(run: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """SIGTERM and SIGUSR1 in turn, at random instants of the training; then to the end."""
    draw = np.random.default_rng(settings["seed"] + 1)
    stops = []
    for number in range(settings["stops"]):
        name = ("SIGTERM", "SIGUSR1")[number % 2]
        count = begun(run)
        process = start(run, steps=settings["steps"], pause=settings["pause"])
        wait_until(lambda count=count: begun(run) > count, process)
        time.sleep(draw.uniform(0, 0.6))
        process.signal(signal.Signals[name])
        codes = process.wait()
        status = json.loads((run / "status.json").read_text())
        whole = whole_steps(run)
        stops.append({"signal": name, "codes": codes, "status": status, "from": came_from(run)[count:], "whole": whole})
        print(f"stop {len(stops)}: {stops[-1]}", file=sys.stderr, flush=True)
    ended = start(run, steps=settings["steps"], pause=0.0).wait()
    return {"stops": stops, "ended": ended, "from": came_from(run)[-1]}


def main(folder: Path, settings: dict[str, Any]) -> None:
    load_deepspeed()
    importlib.import_module("torch._dynamo")  # every start would import it otherwise, with its first optimizer
    begin = time.monotonic()
    whole = start(folder / "whole", steps=settings["steps"], pause=0.0)
    wait_until(lambda: begun(folder / "whole") > 0, whole)
    startup = time.monotonic() - begin
    report: dict[str, Any] = {"whole": whole.wait(), "startup": startup}
    report["killed"] = kill_again_and_again(folder / "killed", settings, startup)
    report["stopped"] = stop_again_and_again(folder / "stopped", settings)
    report["seconds"] = time.monotonic() - begin
    (folder / "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
