"""Writes the Slurm script of a job array that does an embed: `polycli embed ... --dry-run --sbatch`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import ceil

from polycli.console import counted
from polycli.requests import JsonDocument

#: Options of the line that ask for the script, and those of them that a value follows.
_ASKING, _WITH_VALUE = ("--dry-run", "--sbatch", "--json"), ("--hours",)
#: Tasks get so much longer than what was measured says, for the start and for neighbours on the node.
_SPARE = 1.5
_SHORTEST_MINUTES = 10

_SCRIPT = """\
#!/bin/bash
# Made by polycli embed --dry-run --sbatch: {said}.
# Submit it again after failures, also with another --array: units that are finished are not made again.
#SBATCH --job-name=embed
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
{device}
#SBATCH --time={time}
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

# Vectors made with another number of threads differ in the last digits.
export OMP_NUM_THREADS={threads}

code=0
srun --kill-on-bad-exit=1 polycli {line} --part auto || code=$?

# 75: a signal came, and the unit at hand is finished.
if [ "$code" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
"""


def array_script(
    line: Sequence[str], document: JsonDocument, *, hours: float, threads: int, has_gpu: bool, noun: tuple[str, str]
) -> str:
    """The script of an array that is done within so many hours, by the speed that a dry run measured on this machine.

    Args:
        line: the words after `polycli` of the dry run.
        document: what the dry run found.
        hours: the time that is wanted.
        threads: of a process, as they were measured.
        has_gpu: whether a GPU was measured.
        noun: one row and several.
    """
    units, needed = document["units"] or 1, document["hours"] or hours
    tasks = max(1, min(units, ceil(needed / hours)))
    minutes = max(_SHORTEST_MINUTES, ceil(_SPARE * 60 * needed / tasks))
    gpu = ["#SBATCH --gpus=1"] if has_gpu else []
    rows = "some" if document["rows"] is None else f"{document['rows']:,}"
    return _SCRIPT.format(
        said=f"{rows} {noun[1]} in {counted(tasks, 'task', 'tasks')}, {needed:.3g} hours of one such device",
        last=tasks - 1,
        device="\n".join([*gpu, f"#SBATCH --cpus-per-task={max(threads, 8 if has_gpu else 1)}"]),
        time=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        threads=threads,
        line=shlex.join(_without_asking(line)),
    )


def _without_asking(line: Sequence[str]) -> list[str]:
    kept: list[str] = []
    words = iter(line)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif word not in _ASKING and not word.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            kept.append(word)
    return kept
