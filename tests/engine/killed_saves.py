"""Runs that are killed with SIGKILL at every stage of a save, and started again; each start is a forked process.

What is imported before the forks is imported once. The parent never joins a process group and starts no threads.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from toy import ToyTask, train_toy

from polycli.checkpoints.manifest import verify
from polycli.engine.deepspeed.backend import load_deepspeed
from polycli.launch import LOCAL_RANKS_VARIABLE, join_process_group

#: Where the process dies: in place of this call of a function, which is one in the save of step 6, the second one.
POINTS = {
    "polycli.engine.checkpoints.checkpointing.exported_weights": 2,
    "polycli.engine.checkpoints.checkpointing.Writer": 2,
    # Every save has two files of tensors, written by a thread of their own.
    "polycli.engine.checkpoints.saving.write_tensors": 4,
    "polycli.engine.checkpoints.checkpointing.write_manifest": 2,
    "polycli.engine.checkpoints.checkpointing.publish": 2,
    "polycli.engine.checkpoints.checkpointing.prune": 2,
    # The first checkpoint without a validation is pruned when the second one is whole.
    "shutil.rmtree": 1,
}


def killed_in_place_of(name: str, call: int) -> None:
    """Have the `call`-th call of a function end the process."""
    owner, _, function = name.rpartition(".")
    holder: Any = importlib.import_module(owner)
    real, calls = getattr(holder, function), [0]

    def deadly(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(holder, function, deadly)


def train_nine_steps(folder: Path) -> None:
    train_toy(
        folder,
        ToyTask(dropout=0.3),
        join_process_group(),
        engine__zero_stage=2,
        train__steps=9,
        train__checkpoint_every=3,
        train__validate_every=2,
        train__keep_last=1,
    )


def in_a_process(function: Callable[[], None]) -> int:
    """The wait status of a forked process that does this."""
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(folder: Path) -> None:
    # The forked runs have this process as their parent, not the one that has started it.
    os.environ.pop(LOCAL_RANKS_VARIABLE, None)
    load_deepspeed()
    importlib.import_module("torch._dynamo")  # every start would import it otherwise, with its first optimizer
    report: dict[str, Any] = {"whole": {"ended": in_a_process(lambda: train_nine_steps(folder / "whole"))}}
    for point, call in POINTS.items():
        run = folder / point

        def killed(run: Path = run, point: str = point, call: int = call) -> None:
            killed_in_place_of(point, call=call)
            train_nine_steps(run)

        ended = in_a_process(killed)
        left = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
        for name in left:
            verify(run / "checkpoints" / name)
        again = in_a_process(lambda run=run: train_nine_steps(run))
        report[point] = {"killed": ended, "left": left, "ended": again}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
