"""A run on two processes that is killed or stopped at random instants ends with the metrics of one that never was.

The short form is part of `make test`; `make stress` runs the long one, 30 kills of which 10 or more inside a save.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("stress_runs.py")
# With the pause, a start lives for 20 steps at most before it is killed, so that no run is complete too early.
SHORT = {"kills": 3, "in_saves": 1, "stops": 1, "steps": 80, "pause": 0.05, "seed": 0}
LONG = {"kills": 30, "in_saves": 10, "stops": 10, "steps": 500, "pause": 0.05, "seed": 0}

pytestmark = pytest.mark.distributed


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.slow, pytest.mark.stress, pytest.mark.timeout(3600)]),
    ],
)
def stress(request, tmp_path_factory) -> tuple[dict, Path, dict]:
    """What was asked for, the folder of the three runs, and the report of what happened to them."""
    folder = tmp_path_factory.mktemp("stress")
    with (folder / "output.txt").open("w") as output:
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), str(folder), json.dumps(request.param)],
            stdout=output,
            stderr=output,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    assert ended.returncode == 0, (folder / "output.txt").read_text()[-3000:]
    return request.param, folder, json.loads((folder / "report.json").read_text())


def metrics_of(run: Path) -> list[dict]:
    """A run's metrics, every digit, without what time makes vary."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


def assert_equal_runs(cut: Path, whole: Path, steps: int) -> None:
    assert [line["step"] for line in metrics_of(whole) if line["kind"] == "train"] == list(range(1, steps + 1))
    assert metrics_of(cut) == metrics_of(whole)
    last = f"checkpoints/step-{steps:08d}/model.safetensors"
    assert (cut / last).read_bytes() == (whole / last).read_bytes()
    assert json.loads((cut / "status.json").read_text())["state"] == "complete"


def test_a_run_killed_at_random_instants_ends_as_if_nothing_had_happened(stress):
    asked, folder, report = stress
    kills = report["killed"]["kills"]
    assert len(kills) >= asked["kills"]
    assert sum(kill["in_save"] for kill in kills) >= asked["in_saves"]
    # None of them came too late: all were killed while they ran.
    assert all(kill["codes"] == [-9, -9] for kill in kills)
    assert report["killed"]["ended"] == [0, 0]
    assert_equal_runs(folder / "killed", folder / "whole", asked["steps"])


def test_each_start_goes_on_from_the_newest_whole_checkpoint_and_from_nothing_else(stress):
    """The script has compared every published checkpoint with its hashes after every kill."""
    _, _, report = stress
    for run, stops in ((report["killed"], "kills"), (report["stopped"], "stops")):
        whole: list[int] = []
        for stop in run[stops]:
            assert stop["from"] in ([max(whole, default=0)], [])  # none where the kill came before the first step
            whole = stop["whole"]
        assert run["from"] == max(whole, default=0)


def test_a_run_that_signals_stop_exits_with_75_says_preempted_and_ends_as_if_nothing_had_happened(stress):
    asked, folder, report = stress
    stops = report["stopped"]["stops"]
    assert len(stops) == asked["stops"]
    for stop in stops:
        assert stop["codes"] == [75, 75]
        assert stop["status"]["state"] == "preempted"
        assert stop["status"]["message"] == f"stopped by {stop['signal']}"
        # Nothing is lost: what was trained is what was saved.
        assert stop["status"]["checkpoint"] == f"checkpoints/step-{stop['status']['step']:08d}"
        assert stop["status"]["step"] == max(stop["whole"])
    assert report["stopped"]["ended"] == [0, 0]
    assert_equal_runs(folder / "stopped", folder / "whole", asked["steps"])
