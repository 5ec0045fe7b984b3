"""Run by two ranks: a run in which rank 1 is killed in the second save; or its second start, and one never killed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from killed_saves import killed_in_place_of, train_nine_steps

from polycli.launch import end_process, join_process_group, leave_process_group


def main(folder: Path, *, kill: bool) -> None:
    world = join_process_group()
    if kill and world.rank == 1:
        killed_in_place_of("polycli.engine.checkpoints.checkpointing.exported_weights", call=2)
    train_nine_steps(folder / "cut")
    if not kill:
        train_nine_steps(folder / "whole")
    leave_process_group()
    end_process(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), kill=sys.argv[2] == "kill")
