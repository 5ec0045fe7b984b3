"""Errors of `polycli demo mpp` over those of no change, one step ahead and over whole forecasts.

    python benchmarks/demo.py [--folder DIR] [--record demo]

Runs the demo, four to six minutes of processor time, in DIR or a temporary folder; of a demo that is there already
the scores are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from _record import finish, folder_of, options_with_folder

from polycli.demo import run_demo
from polycli.report.table import Table, interval, number


def row(name: str, scored: Mapping[str, Any]) -> list[str]:
    """One physics: both ratios, with their intervals over trajectories."""
    errors = scored["one_step"]["nrmse"], scored["rollout"]["nrmse"]["trajectory"]
    below = scored["rollout"]["nrmse"]["steps_below_persistence"]
    ratios = [cell for each in errors for cell in (number(each["ratio"]), interval(each["ratio_interval"]))]
    return [name, *ratios, f"{below['least']} of {below['of']}"]


def figures(scored: Mapping[str, Any]) -> dict[str, object]:
    """What the table has, unrounded."""
    errors = scored["rollout"]["nrmse"]
    kept = {"one_step": scored["one_step"]["nrmse"], "all_steps": errors["trajectory"]}
    wanted = ("model", "persistence", "ratio", "ratio_interval")
    return {
        "steps_below_persistence": errors["steps_below_persistence"],
        **{name: {key: each[key] for key in wanted} for name, each in kept.items()},
    }


def main() -> None:
    options = options_with_folder(__doc__, "the demo's files go")
    with folder_of(options) as folder:
        if not (folder / "report" / "scores.json").is_file():
            run_demo("mpp", folder)
        scores = json.loads((folder / "report" / "scores.json").read_text())["datasets"]
    table = Table(
        "The demo: NRMSE of the model over that of persistence",
        ["", "one step", "95 % interval", "mean of all steps", "95 % interval", "steps below, of the worst trajectory"],
        [row(name.removesuffix("_32").replace("_", " "), scored) for name, scored in scores.items()],
        caption="One seed; intervals are over test trajectories.",
    )
    finish(options, {name: figures(scored) for name, scored in scores.items()}, table)


if __name__ == "__main__":
    main()
