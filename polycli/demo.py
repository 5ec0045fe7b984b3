"""`polycli demo FAMILY`: a whole example in a few commands, each printed before it runs, so that it can be repeated."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from polycli import console
from polycli.errors import PolycliError, UserError
from polycli.families import find_family
from polycli.store.processes import processor_count


def run_demo(family: str, folder: Path) -> None:
    """Run the demo of `family` into `folder`. What an earlier, interrupted demo finished is used again.

    Raises:
        UserError: there is no such family, or it has no demo.
        PolycliError: a command failed; it carries that command's exit code.
    """
    lines = demo_lines(family, folder)
    started = time.monotonic()
    for words in lines:
        console.say(f"$ polycli {shlex.join(words)}")
        code = subprocess.run([sys.executable, "-m", "polycli", *words], check=False).returncode
        if code:
            # An older version's stores or run in the same folder are refused, not replaced.
            hint = f"if {folder} is from another version of polycli: rm -r {folder}, and again" if code == 2 else None
            line = shlex.join(words)
            problem = PolycliError(f"the demo stopped: `polycli {line}` ended with exit code {code}", hint=hint)
            problem.exit_code = code if code > 0 else 128 - code
            raise problem
    console.say(f"the demo took {time.monotonic() - started:.0f} s; open {folder / 'report' / 'report.html'}")


def demo_lines(family: str, folder: Path) -> tuple[Sequence[str], ...]:
    """The words after `polycli` of each command of the demo.

    Raises:
        UserError: there is no such family, or it has no demo.
    """
    lines = [[word.replace("{demo}", str(folder)) for word in shlex.split(line)] for line in find_family(family).demo]
    if not lines:
        raise UserError(f"{family} has no demo", hint="polycli recipes ls lists what can be run")
    return tuple([*line, *_ranks()] if line[0] in {"pretrain", "finetune"} else line for line in lines)


def _ranks() -> list[str]:
    """Two ranks of one thread each where two processors and no GPU are at hand.

    Two threads of one process wait for each other in every operation, and on a processor that others use too each wait
    is a time slice (docs/benchmarks.md). Two ranks wait for each other once a step.
    """
    return ["--nproc", "2"] if processor_count() > 1 and shutil.which("nvidia-smi") is None else []
