"""Probes of a model that the demo pretrains: does its representation know a viscosity and a Mach number?

The demo's model trains on four systems, each with one viscosity and one Mach number. Probes then read these parameters
off its vectors for systems with eight others: 40 trajectories of each, which the model has never seen, divided by
trajectory into those that probes learn from and those that are scored. The best constant and gradient boosting on
spectra stand beside them. What is there already is not made again.

    python benchmarks/mpp_probes.py [--work runs/mpp_probes] [--record mpp_probes]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import _record
import numpy as np
import yaml

from polycli.report.table import Table, interval, number

TRAJECTORIES, FRAMES, GRID = 40, 12, 32
#: By parameter: how its stores are called, and what is solved with which values of it.
SWEPT = {
    "viscosity": ("ins", {"system": "incompressible_ns"}, {}, np.geomspace(3e-4, 2e-2, 8)),
    "mach": ("cns", {"system": "compressible_ns", "interval": 0.04}, {"viscosity": 0.01}, np.linspace(0.1, 1.0, 8)),
}
METHODS = {
    "linear": "linear probe",
    "knn": "k-NN probe",
    "constant": "best constant",
    "boosting": "boosting on spectra",
}


def polycli(*words: str | Path) -> None:
    """Run a command of polycli and end with it where it fails."""
    subprocess.run([sys.executable, "-m", "polycli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def simulations() -> dict[str, Any]:
    """The recipe of the stores that are probed."""
    simulate: dict[str, Any] = {}
    for seed, (name, (prefix, system, others, values)) in enumerate(SWEPT.items(), start=1):
        for place, value in enumerate(values):
            parameters = {**others, name: float(f"{value:.3g}")}
            sizes = {"trajectories": TRAJECTORIES, "frames": FRAMES, "grid": GRID, "seed": 100 * seed + place}
            simulate[f"{prefix}_{place}"] = {**system, **sizes, "parameters": parameters}
    return {"family": "mpp", "verb": "prepare", "split": {"validation": 0.02, "test": 0.4}, "simulate": simulate}


def prepare(work: Path) -> None:
    """Stores and runs, as far as they are not there."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "demo").exists():
        polycli("prepare", "mpp", "--source", "simulate", "--recipe", "mpp_demo_data", "--output", work / "demo")
    if not (work / "probe").exists():
        (work / "probe.yaml").write_text(yaml.safe_dump(simulations(), sort_keys=False), encoding="utf-8")
        polycli("prepare", "mpp", "--source", "simulate", "--recipe", work / "probe.yaml", "--output", work / "probe")
    if not (work / "run").exists():
        polycli("pretrain", "mpp", "--recipe", "mpp_demo", "--data", work / "demo", "--output", work / "run")


def probed(work: Path, name: str) -> dict[str, Any]:
    """The scores of one parameter over its eight stores together."""
    prefix = SWEPT[name][0]
    folder = work / f"ev_{prefix}_run"
    if not (folder / "scores.json").exists():
        stores = [word for place in range(8) for word in ("--data", work / "probe" / f"{prefix}_{place}.zarr")]
        settings = ["probes=true", "report=false", "rollout_steps=1", "max_windows=1"]
        words = [word for setting in settings for word in ("--set", setting)]
        polycli("eval", "mpp", "--checkpoint", work / "run", *stores, "--output", folder, *words, "--json")
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["probes"][name]
    return found


def main() -> None:
    """Probe both parameters, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/mpp_probes"))
    _record.add_option(parser)
    options = parser.parse_args()
    prepare(options.work)
    figures: dict[str, Any] = {}
    rows, ends, counts = [], set(), []
    for name, (_, _, _, values) in SWEPT.items():
        entry = probed(options.work, name)
        what = f"{name}{', log10' if entry['logarithm'] else ''}, {values[0]:g} to {values[-1]:g}"
        for method, text in METHODS.items():
            score = entry["methods"][method]
            figures[f"{name}/{method}"] = score
            rows.append([what, text, number(score["r2"]), interval(score["r2_interval"]), number(score["rmse"])])
        ends.add(len(rows) - 1)
        counts.append(f"{name}: learnt from {entry['learned_from']}, scored on {entry['trajectories']}")
        figures[f"{name}/trajectories"] = {"learned_from": entry["learned_from"], "scored": entry["trajectories"]}
    caption = f"95 % bootstrap intervals over trajectories ({'; '.join(counts)}); none of them trained the model."
    columns = ["parameter", "", "R2", "95 % interval", "RMSE"]
    title = "Parameters read off the demo's model"
    _record.finish(options, figures, Table(title, columns, rows, caption, 2, frozenset(ends)))


if __name__ == "__main__":
    main()
