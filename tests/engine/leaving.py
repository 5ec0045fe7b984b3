"""A training of the toy task that ends as the command line does, and takes a second to leave: `leaving.py RUN`."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from toy import ToyTask, train_toy

from polycli import __main__ as program
from polycli import console
from polycli.errors import PolycliError
from polycli.launch import World, join_process_group


class PacedTask(ToyTask):
    """The toy task, slow enough to be met by a signal."""

    def micro_batches(self, step: int, world: World) -> Any:
        time.sleep(0.02)
        return super().micro_batches(step, world)


def run(arguments: Sequence[str]) -> int:
    settings = {"train__steps": 10_000, "train__checkpoint_every": 10_000, "train__validate_every": 10_000}
    try:
        train_toy(Path(arguments[0]), PacedTask(), join_process_group(), **settings)
    except PolycliError as error:
        console.error(error.message)
        return error.exit_code
    return 0


if __name__ == "__main__":
    atexit.register(time.sleep, 1)
    program.run = run
    program.main()
