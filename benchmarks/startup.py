"""How long `polycli --help` and a refused recipe take, beside a Python that does nothing. Medians of interleaved runs.

    python benchmarks/startup.py [--repeats 15] [--record startup]

Wall seconds depend on what else the machine does; the ratio to `python -c pass` and the CPU seconds do so less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

import _record

from polycli.report.table import Table

LINES = {
    "python -c pass": ["-c", "pass"],
    "polycli --help": ["-m", "polycli", "--help"],
    "polycli pretrain --help": ["-m", "polycli", "pretrain", "--help"],
    "polycli recipes ls": ["-m", "polycli", "recipes", "ls"],
    "a refused recipe": ["-m", "polycli", "pretrain", "mpp", "--recipe", "mpp_b", "--set", "train.stpes=1"],
}


def measure(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    _record.add_option(parser)
    options = parser.parse_args()
    for arguments in LINES.values():
        measure(arguments)  # Fills the caches of bytecode and of the file system.
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in LINES}
    for _ in range(options.repeats):
        for name, arguments in LINES.items():
            runs[name].append(measure(arguments))
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in runs.items()
    }
    empty = medians["python -c pass"][0]
    figures = {
        name: {"wall_seconds": wall, "cpu_seconds": cpu, "ratio": wall / empty} for name, (wall, cpu) in medians.items()
    }
    rows = [
        (f"`{name}`", f"{found['wall_seconds']:.2f}", f"{found['cpu_seconds']:.2f}", f"{found['ratio']:.1f}")
        for name, found in figures.items()
    ]
    table = Table(
        "How long commands take that compute nothing",
        ("line", "seconds", "processor seconds", "times of an empty Python"),
        rows,
        f"Medians of {options.repeats} runs in turns. The aim for `polycli --help` is 0.3 s.",
    )
    _record.finish(options, figures, table)


if __name__ == "__main__":
    main()
