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
from polycli.errors import PolycliError
from polycli.families import check_family
from polycli.store.processes import processor_count


def run_demo(family: str, folder: Path) -> None:
    """Run the demo of `family` into `folder`. What an earlier, interrupted demo finished is used again.

    Raises:
        UserError: there is no such family.
        PolycliError: a command failed; it carries that command's exit code.
    """
    check_family(family)
    started = time.monotonic()
    for words in demo_lines(family, folder):
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
    """The words after `polycli` of each command of the demo."""
    run, report = str(folder / "run"), str(folder / "report")
    if family == "xval":
        store = str(folder / "planets.zarr")
        # The axes of a system's planets are evenly spaced: each tells the others, so they are hidden together.
        fair = ["--set", "groups=[[description.planet*.a]]"]
        sweep = ["--set", "sweep.vary=description.planet0.e", "--set", "sweep.predict=[description.planet*.a]"]
        return (
            ["prepare", "xval", "--source", "planets", "--recipe", "xval_demo_data", "--output", store],
            ["pretrain", "xval", "--recipe", "xval_demo", "--data", store, "--output", run, *_ranks()],
            ["eval", "xval", "--checkpoint", run, "--data", store, "--output", report, *fair, *sweep],
        )
    if family == "astroclip":
        store, spectrum, image = (str(folder / name) for name in ("mock.zarr", "spectrum", "image"))
        began = ["--set", f"init.image={image}", "--set", f"init.spectrum={spectrum}"]
        data = ["--data", store]
        return (
            ["prepare", "astroclip", "--source", "mock", "--recipe", "astroclip_demo_data", "--output", store],
            ["pretrain", "astroclip", "--recipe", "astroclip_demo_spectrum", *data, "--output", spectrum, *_ranks()],
            ["pretrain", "astroclip", "--recipe", "astroclip_demo_image", *data, "--output", image, *_ranks()],
            ["pretrain", "astroclip", "--recipe", "astroclip_demo_align", *data, "--output", run, *began, *_ranks()],
            ["eval", "astroclip", "--checkpoint", run, *data, "--output", report],
        )
    stores = str(folder / "stores")
    return (
        ["prepare", "mpp", "--source", "simulate", "--recipe", "mpp_demo_data", "--output", stores],
        ["pretrain", "mpp", "--recipe", "mpp_demo", "--data", stores, "--output", run, *_ranks()],
        ["eval", "mpp", "--checkpoint", run, "--data", stores, "--output", report],
    )


def _ranks() -> list[str]:
    """Two ranks of one thread each where two processors and no GPU are at hand.

    Two threads of one process wait for each other in every operation, and on a processor that others use too each wait
    is a time slice (docs/benchmarks.md). Two ranks wait for each other once a step.
    """
    return ["--nproc", "2"] if processor_count() > 1 and shutil.which("nvidia-smi") is None else []
