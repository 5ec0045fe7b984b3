"""`polycli demo FAMILY`: a whole example in a few commands, each printed before it runs, so that it can be repeated."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polycli import console, stopping
from polycli.errors import PolycliError, PreemptedError, UserError
from polycli.families import find_family
from polycli.report.browser import open_in_browser
from polycli.store.processes import processor_count


def run_demo(family: str, folder: Path, *, open_report: bool = False) -> None:
    """Run the demo of `family` into `folder`. What an earlier, interrupted demo finished is used again.

    Raises:
        UserError: there is no such family, or it has no demo.
        PolycliError: a command failed; it carries that command's exit code.
    """
    lines = demo_lines(family, folder)
    started = time.monotonic()
    for words in lines:
        console.say(f"$ polycli {shlex.join(words)}")
        with _left_to_the_command():
            code = subprocess.run([sys.executable, "-m", "polycli", *words], check=False).returncode
        if code in (stopping.PREEMPTED, stopping.INTERRUPTED):
            stopped = PreemptedError(
                f"the demo stopped in `polycli {shlex.join(words)}`", hint="run the same line again to go on"
            )
            stopped.exit_code = code
            raise stopped
        if code:
            # An older version's stores or run in the same folder are refused, not replaced.
            hint = f"if {folder} is from another version of polycli: rm -r {folder}, and again" if code == 2 else None
            line = shlex.join(words)
            problem = PolycliError(f"the demo stopped: `polycli {line}` ended with exit code {code}", hint=hint)
            problem.exit_code = code if code > 0 else 128 - code
            raise problem
    report = folder / "report" / "report.html"
    console.say(f"the demo took {time.monotonic() - started:.0f} s")
    console.say_where("its report", report)
    if open_report:
        open_in_browser(report)


@contextmanager
def _left_to_the_command() -> Iterator[None]:
    """Ctrl-C reaches the command that runs too: it saves and ends, and is not killed while it does."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
