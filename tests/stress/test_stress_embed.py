"""Two hundred units, eight workers, thirty SIGKILLs, other numbers of parts: the bytes of the undisturbed run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.stress, pytest.mark.timeout(900)]

SETTINGS = {
    "seed": 11,
    "workers": 8,
    "kills": 30,
    "pause": 0.3,
    "between": 0.6,
    "forms": ["e", "e.parquet"],
    "publishing_kills": 15,
    "publishing_seconds": 3.0,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    program = Path(__file__).with_name("embed_runs.py")
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(program), str(folder), json.dumps(SETTINGS)]
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / "report.json").read_text())


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_there_were_thirty_kills_of_workers_whose_number_changed(runs):
    _, report = runs
    for name in ("e", "e, added to", "e.parquet", "e.parquet, added to"):
        # Each while units were missing.
        assert len(report[name]["kills"]) == 30
        assert max(report[name]["kills"]) < 200
        assert len({count for count, _ in report[name]["starts"]}) > 2
        assert report[name]["ended"] == 0
        # Killed, stopped (before it listened, by the signal itself) or done; none failed for what another did.
        assert set(report[name]["codes"]) <= {-9, -15, 75, 0}
    assert report["e, publishing"]["kills"] + report["e.parquet, publishing"]["kills"] > 15


def test_no_row_is_lost_and_none_is_there_twice(runs):
    folder, _ = runs
    for name in ("e", "e.parquet"):
        rows = parquet.read_table(folder / "killed" / name, columns=["row"])["row"].to_pylist()
        assert rows == list(range(1600)) * 2


def test_bytes_are_those_of_the_run_that_nobody_disturbed(runs):
    folder, _ = runs
    assert content(folder / "killed") == content(folder / "whole")


def test_kills_of_the_one_that_publishes_leave_all_or_nothing(runs):
    folder, report = runs
    for name in ("e", "e.parquet"):
        assert report[f"{name}, publishing"]["ended"] == 0
        rows = parquet.read_table(folder / "published" / name, columns=["row"])["row"].to_pylist()
        assert rows == list(range(1600))


def test_nothing_else_is_left_behind(runs):
    folder, _ = runs
    for place in ("killed", "published"):
        assert sorted(path.name for path in (folder / place).iterdir()) == ["e", "e.numbers.parquet", "e.parquet"]
