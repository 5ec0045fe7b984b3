"""Two hundred units on a Dask cluster of which thirty workers are killed: the bytes of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.stress, pytest.mark.timeout(3600)]
KILLS = 30


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_units_of_killed_workers_are_done_again(tmp_path):
    program = Path(__file__).with_name("dask_runs.py")
    places = [Path(__file__).parents[2], Path(__file__).parents[1] / "workflow", program.parent]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, str(program), str(tmp_path), str(KILLS)]
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    # Each while units were missing, and every start that could not hand a unit out any more was started again.
    assert len(report["kills"]) == KILLS
    assert max(report["kills"]) < 200
    assert content(tmp_path / "dask") == content(tmp_path / "alone")
    assert sorted(path.name for path in (tmp_path / "dask").iterdir()) == ["e"]
