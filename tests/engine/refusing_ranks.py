"""Run by two ranks: runs in which the disk refuses what rank 1 writes, by a real limit on the size of its files."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from toy import ToyTask, train_toy

from polycli.engine import ranks
from polycli.errors import PolycliError
from polycli.launch import World, end_process, join_process_group, leave_process_group

#: Less than a rank's optimizer state has.
LIMIT_BYTES = 512


class LimitedTask(ToyTask):
    """From the first validation on rank 1 may write no large file; from the second one on it may, unless `for_good`."""

    for_good = False
    validations = 0

    def validate(self, forward: Any, world: World) -> dict[str, float]:
        self.validations += 1
        if world.rank == 1:
            limited = self.validations == 1 or self.for_good
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES if limited else hard, hard))
        return super().validate(forward, world)


def main(folder: Path) -> None:
    world = join_process_group()
    report: dict[str, Any] = {}
    for name, for_good in (("for a while", False), ("for good", True)):
        task = LimitedTask()
        task.for_good = for_good
        message = ""
        # In the background the first save could still be under way when the limit is lifted.
        settings = {"engine__zero_stage": 2, "train__save_in_background": for_good}
        with contextlib.suppress(PolycliError):
            try:
                train_toy(folder / name, task, world, **settings)
            except PolycliError as error:
                message = f"{type(error).__name__}, exit {error.exit_code}: {error}"
                raise
        report[name] = ranks.gather(world, message)
    if world.rank == 0:
        (folder / "report.json").write_text(json.dumps(report))
    leave_process_group()
    end_process(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
