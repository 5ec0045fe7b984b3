"""How long `polycli --help` and a refused recipe take, beside a Python that does nothing. Medians of interleaved runs.

    python benchmarks/startup.py [repetitions]

Wall seconds depend on what else the machine does; the ratio to `python -c pass` and the CPU seconds do so less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

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
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for arguments in LINES.values():
        measure(arguments)  # Fills the caches of bytecode and of the file system.
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in LINES}
    for _ in range(repetitions):
        for name, arguments in LINES.items():
            runs[name].append(measure(arguments))
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in runs.items()
    }
    empty = medians["python -c pass"][0]
    print(f"{'':26}{'wall s':>8}{'CPU s':>8}{'ratio':>8}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:26}{wall:8.3f}{cpu:8.3f}{wall / empty:8.1f}")


if __name__ == "__main__":
    main()
