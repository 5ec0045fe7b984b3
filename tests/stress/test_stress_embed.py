"""Two hundred units, eight workers, thirty SIGKILLs, other numbers of parts: the bytes of the undisturbed run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import zarr

pytestmark = [pytest.mark.slow, pytest.mark.stress, pytest.mark.timeout(3600)]

SETTINGS = {
    "seed": 11,
    "workers": 8,
    # Units of all forms are the same; what differs is how they are joined.
    "kills": {"e": 30, "e.parquet": 10, "e.zarr": 10, "e.hats": 30},
    "pause": 0.3,
    "between": 0.6,
    "publishing_kills": 10,
    "publishing_seconds": 3.0,
}


FORMS = [*SETTINGS["kills"]]


def rows_in(path):
    """The numbers of all rows, in the order of the data."""
    if path.suffix == ".zarr":
        return zarr.open_group(path, mode="r")["row"][:].tolist()
    if path.suffix != ".hats":
        return parquet.read_table(path, columns=["row"])["row"].to_pylist()
    files = (path / "objects").rglob("Npix=*.parquet")
    rows = [row for file in files for row in parquet.ParquetFile(file).read(["place", "row"]).to_pylist()]
    return [row["row"] for row in sorted(rows, key=lambda row: row["place"])]


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
    for name, form in ((f"{form}{added}", form) for form in FORMS for added in ("", ", added to")):
        # Each while units were missing.
        assert len(report[name]["kills"]) == SETTINGS["kills"][form]
        assert max(report[name]["kills"]) < 200
        assert len({count for count, _ in report[name]["starts"]}) > 2
        assert report[name]["ended"] == 0
        # Killed, stopped (before it listened, by the signal itself) or done; none failed for what another did.
        assert set(report[name]["codes"]) <= {-9, -15, 75, 0}
    assert sum(entry["kills"] for name, entry in report.items() if name.endswith("publishing")) > 30


def test_no_row_is_lost_and_none_is_there_twice(runs):
    folder, _ = runs
    for name in FORMS:
        assert rows_in(folder / "killed" / name) == list(range(1600)) * 2


def test_bytes_are_those_of_the_run_that_nobody_disturbed(runs):
    folder, _ = runs
    assert content(folder / "killed") == content(folder / "whole")


def test_kills_of_the_one_that_publishes_leave_all_or_nothing(runs):
    folder, report = runs
    for name in FORMS:
        for key, before, after in ((name, 0, 1600), (f"{name}, added to", 1600, 3200)):
            assert report[f"{key}, publishing"]["ended"] == 0
            # Whole, by every hash, at each kill; while rows are added, what was there never goes, or, of the several
            # files of `.parquet`, waits for the next start.
            absent = {0} if name == "e.parquet" else set()
            assert set(report[f"{key}, publishing"]["found"]) <= {before, after, *absent}
        assert rows_in(folder / "published" / name) == list(range(1600)) * 2


def test_nothing_else_is_left_behind(runs):
    folder, _ = runs
    for place in ("killed", "published"):
        assert sorted(path.name for path in (folder / place).iterdir()) == sorted([*FORMS, "e.numbers.parquet"])
