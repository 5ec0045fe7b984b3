"""Whether bands hold: on the flow they were calibrated on, on a faster one, and there after 20 of its trajectories.

    polycli prepare mpp --source simulate --recipe mpp_bands_data --output stores
    polycli pretrain mpp --recipe mpp_demo --data stores/compressible_ns_M0.3_32.zarr --output runs/bands \
        --set data.draws_per_step=1 --set train.micro_batch_size=16 --set train.steps=400 \
        --set model.jitter=always --set objective.noise=0.1
    python benchmarks/mpp_bands.py --checkpoint runs/bands --data stores [--record mpp_bands]
    python benchmarks/mpp_bands.py --checkpoint runs/bands --data stores --draws 8 --limit 60 [--record mpp_bands_draws]

The second form compares bands of one width with bands that follow the spread of draws, on `--limit` trajectories each.
Coverage is counted twice: by `polycli eval`, and here by numpy from the frames that it saved, over random divisions
of its test trajectories into calibrated and tested ones, which average the luck of one division out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _record
import numpy as np
import zarr
from numpy.typing import NDArray

from polycli.mpp import calibrate
from polycli.mpp import eval as evaluation
from polycli.report.table import Table
from polycli.requests import CalibrateRequest, EvalRequest, Split
from polycli.store.reader import Window, open_store

SLOW, FAST = "compressible_ns_M0.3_32", "compressible_ns_M0.6_32"
LEVELS = ("0.68", "0.9", "0.95")
DIVISIONS = 500


@dataclass(frozen=True)
class Session:
    """One checkpoint, its stores, and a folder for what is written."""

    checkpoint: Path
    data: Path
    folder: Path

    def store(self, name: str) -> Path:
        """The store of this name."""
        return self.data / f"{name}.zarr"

    def calibrated(self, name: str, file: str, *, limit: int | None = None, draws: int = 1) -> Path:
        """Calibrate on validation trajectories of a store; the file that it wrote."""
        output = self.folder / f"{file}.json"
        calibrate.run(
            CalibrateRequest(
                checkpoint=self.checkpoint,
                data=(self.store(name),),
                output=output,
                limit=limit,
                overrides=("rollout_batch_size=20", f"draws={draws}"),
                json=True,
            )
        )
        return output

    def tested(self, name: str, calibration: Path, *, limit: int | None = None, save: bool = False) -> dict[str, Any]:
        """`bands` of a store's test trajectories under a calibration."""
        settings = ("rollout_batch_size=20", "batch_size=20", "max_windows=20", "report=false", "bootstrap_samples=10")
        split: Split = "test"
        scores = evaluation.run(
            EvalRequest(
                checkpoint=self.checkpoint,
                data=(self.store(name),),
                split=split,
                output=self.folder / name,
                limit=limit,
                overrides=(*settings, f"bands.file={calibration}", f"save_rollouts={str(save).lower()}"),
                json=True,
            )
        )
        if scores is None:
            raise RuntimeError("eval gave no scores")
        bands: dict[str, Any] = scores["datasets"][name]["bands"]
        return bands


def by_level(bands: Mapping[str, Any], key: str, level: str) -> NDArray[np.float64]:
    """One number for each field and step, (field, step); NaN where there is none."""
    return np.array([found[level][key] for found in bands["coverage"].values()], dtype=np.float64)


def summary(bands: Mapping[str, Any]) -> dict[str, Any]:
    """Coverage by level: the mean over fields and steps, the lowest and the highest step, and widths."""
    levels = {}
    for level in LEVELS:
        share = by_level(bands, "share", level)
        low, high = bands["expected"][level]
        by_step = share.mean(axis=0)
        widths = by_level(bands, "relative_width", level)
        levels[level] = {
            "coverage": float(share.mean()),
            "lowest_step": float(by_step.min()),
            "highest_step": float(by_step.max()),
            "within_expected": float(((share >= low - 1e-9) & (share <= high + 1e-9)).mean()),
            "points_inside": float(by_level(bands, "points_inside", level).mean()),
            "relative_width": {str(step + 1): float(widths[:, step].mean()) for step in (0, 4, 9, 19)},
            "by_step": by_step.tolist(),
        }
    return {**{key: value for key, value in bands.items() if key != "coverage"}, "levels": levels}


def divided(session: Session) -> dict[str, float]:
    """Coverage over random divisions of the test trajectories of the slow flow, in numpy alone: the mean by level."""
    saved = zarr.open_group(session.folder / SLOW / "rollouts" / f"{SLOW}.zarr", mode="r")
    frames = np.asarray(saved["fields"][:], dtype=np.float64)
    store = open_store(session.store(SLOW))
    count, steps, fields = frames.shape[:3]
    length = store.manifest.arrays["fields"].shape[1]
    truth = np.stack(
        [store.read_windows("fields", [Window(int(row), 0, length)])[0][-steps:] for row in store.rows("test")]
    )
    error = np.sort(np.abs(frames - truth).reshape(count, steps, fields, -1), axis=-1)
    scores = error[..., int(np.ceil(0.95 * error.shape[-1])) - 1]
    generator, held = np.random.default_rng(0), {level: np.empty(DIVISIONS) for level in LEVELS}
    half = count // 2
    for division in range(DIVISIONS):
        order = generator.permutation(count)
        calibration, test = np.sort(scores[order[:half]], axis=0), scores[order[half:]]
        for level in LEVELS:
            bound = calibration[int(np.ceil((half + 1) * float(level))) - 1]
            held[level][division] = (test <= bound).mean()
    return {level: float(values.mean()) for level, values in held.items()}


def rows_of(name: str, found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table for one test."""
    rows = []
    for level, numbers in found["levels"].items():
        percent = [f"{100 * numbers[key]:.1f}" for key in ("coverage", "lowest_step", "highest_step")]
        widths = [f"{numbers['relative_width'][step]:.3g}" for step in ("1", "5", "10", "20")]
        low, high = (100 * bound for bound in found["expected"][level])
        rows.append((name, f"{100 * float(level):g} %", *percent, f"{low:.0f} to {high:.0f}", *widths))
    return rows


def shifted(session: Session) -> tuple[dict[str, Any], dict[str, str], str]:
    """Bands of one Mach number on it and on another, where they are calibrated again: figures, titles, a caption."""
    of_slow = session.calibrated(SLOW, "slow")
    figures = {"same": summary(session.tested(SLOW, of_slow, save=True))}
    figures["same"]["random_divisions"] = divided(session)
    figures["shifted"] = summary(session.tested(FAST, of_slow))
    figures["recalibrated"] = summary(session.tested(FAST, session.calibrated(FAST, "fast", limit=20)))
    shares = ", ".join(f"{100 * share:.1f} %" for share in figures["same"]["random_divisions"].values())
    titles = {
        "same": "Mach 0.3, calibrated on {n} of Mach 0.3",
        "shifted": "Mach 0.6, calibrated on {n} of Mach 0.3",
        "recalibrated": "Mach 0.6, calibrated on {n} of Mach 0.6",
    }
    caption = f" Counted by numpy over {DIVISIONS} random divisions of the Mach 0.3 test trajectories: {shares}."
    return figures, titles, caption


def drawn(session: Session, draws: int, limit: int | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Bands of one width and bands scaled by the spread of draws, on the flow they are of and on the faster one."""
    figures, titles = {}, {}
    for count, words in ((1, "one width"), (draws, f"spread of {draws} draws")):
        file = session.calibrated(SLOW, f"draws_{count}", limit=limit, draws=count)
        for name, flow in ((SLOW, "Mach 0.3"), (FAST, "Mach 0.6")):
            key = f"{flow}, {words}"
            figures[key] = summary(session.tested(name, file, limit=limit))
            titles[key] = key
    return figures, titles


def drawn_table(figures: Mapping[str, Any], titles: Mapping[str, str]) -> Table:
    """Coverage and widths of the bands that `drawn` compares."""
    numbers = next(iter(figures.values()))
    return Table(
        "Bands of one width, and bands that follow the spread of draws",
        ["tested, band", "band", "held (%)", "lowest step", "highest step", "expected"]
        + [f"width {step}" for step in (1, 5, 10, 20)],
        [row for key, title in titles.items() for row in rows_of(title, figures[key])],
        f"Calibrated on {numbers['trajectories']} trajectories of Mach 0.3, tested on "
        f"{numbers['trajectories_tested']} of each. Columns as above; the width of a band that draws scale is its mean "
        "over points and trajectories.",
        2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, help="compare bands of one width with those of so many draws")
    parser.add_argument("--limit", type=int, help="with --draws: trajectories to calibrate on, and to test")
    _record.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(options.checkpoint, options.data, Path(folder))
        if options.draws is not None:
            figures, titles = drawn(session, options.draws, options.limit)
            _record.finish(options, figures, drawn_table(figures, titles))
            return
        figures, titles, caption = shifted(session)
    titles = {key: name.format(n=figures[key]["trajectories"]) for key, name in titles.items()}
    columns = ["tested", "band", "held (%)", "lowest step", "highest step", "expected"]
    coverage = Table(
        "Trajectories that a band holds, of those that were not calibrated on",
        [*columns, *(f"width {step}" for step in (1, 5, 10, 20))],
        [row for key, title in titles.items() for row in rows_of(title, figures[key])],
        "Shares are means over four fields and 20 steps; lowest and highest are those of a single step, mean over "
        "fields. Expected: where 95 % of the counts of one field and step lie if the promise is kept. Width: "
        f"half-width at steps 1, 5, 10 and 20 over the field's standard deviation, mean over fields.{caption}",
        2,
    )
    horizons = Table(
        "Validity horizon: VRMSE below 0.5 for 90 % of trajectories",
        ["tested", "trajectories", "promised up to step", "held (%)", "95 % interval"],
        [
            (
                title,
                str(figures[key]["trajectories_tested"]),
                str(found["steps"]),
                f"{100 * found['held']:.1f}",
                " to ".join(f"{100 * bound:.1f}" for bound in found["interval"]),
            )
            for key, title in titles.items()
            for found in [figures[key]["validity_horizon"]]
        ],
    )
    _record.finish(options, figures, coverage, horizons)


if __name__ == "__main__":
    main()
