"""`prepare mpp --part i/n` and `--finalize` as they are typed: any number of parts, killed or not, gives one store."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest

#: The real command line, with jobs of one trajectory each and, where asked for, a pause in each to be killed in.
SMALL_JOBS = """
    import sys, time
    from polycli.__main__ import main
    from polycli.mpp.sources import frames
    from polycli.mpp.sources.pdebench_read import PdebenchJob
    frames._JOB_BYTES = 1
    trajectories = PdebenchJob.trajectories
    pause = float(sys.argv[1])
    def slowly(self, wanted):
        for trajectory in trajectories(self, wanted):
            yield trajectory
            time.sleep(pause)
    PdebenchJob.trajectories = slowly
    sys.argv = ["polycli", *sys.argv[2:]]
    sys.exit(main())
"""


@pytest.fixture
def polycli(tmp_path):
    """Start the command line in `tmp_path`: `polycli("--part", "0/7", output="out", pause=0.0)`."""
    script = tmp_path / "polycli_small_jobs.py"
    script.write_text(textwrap.dedent(SMALL_JOBS))
    line = ["prepare", "mpp", "--source", "pdebench", "--input", "in", "--workers", "1"]

    def start(*words: str, output: str, pause: float = 0.0, environment: dict | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, script, str(pause), *line, "--output", output, *words],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )

    return start


@pytest.fixture
def inputs(tmp_path, pdebench):
    """Three datasets of 20 trajectories, one of them bad, two of them equal."""
    folder = tmp_path / "in"
    pdebench.shallow_water(folder / "swe.h5", trajectories=11)
    with h5py.File(folder / "swe.h5", "r+") as file:
        file["0003/data"][2, 2, 2, 0] = np.nan
        file["0008/data"][:] = file["0001/data"][:]
    pdebench.diffusion_reaction(folder / "dr.h5", trajectories=5)
    pdebench.compressible(folder / "cns.h5", trajectories=4)
    return folder


def ask(folder: Path, output: Path, **options: object) -> PrepareRequest:
    return PrepareRequest(source="pdebench", inputs=(folder,), output=output, workers=1, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_one_part_seven_parts_and_seven_of_which_two_were_killed_give_the_same_bytes(
    tmp_path, inputs, polycli, monkeypatch
):
    run(ask(inputs, tmp_path / "plain"))
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    for name, count in (("one", 1), ("seven", 7)):
        for part in range(count):
            run(ask(inputs, tmp_path / name, part=(part, count)))
            assert not list((tmp_path / name).glob("*.zarr"))
        run(ask(inputs, tmp_path / name, finalize=True))

    # All at once, as typed.
    pauses = [0.0, 0.0, 30.0, 0.0, 0.0, 30.0, 0.0]
    killed = [polycli("--part", f"{part}/7", output="killed", pause=pause) for part, pause in enumerate(pauses)]
    for part in (2, 5):
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed").glob(f"*.partial-*/parts/{part}-of-7")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        killed[part].send_signal(signal.SIGKILL)
    codes = [ended(part)[0] for part in killed]
    assert codes == [0, 0, -9, 0, 0, -9, 0]
    code, _, errors = ended(polycli("--finalize", output="killed"))
    assert code == 2
    assert "parts 2/7, 5/7 did not finish" in errors
    assert "--output killed --part 2/7" in " ".join(errors.split())
    assert not list((tmp_path / "killed").glob("*.zarr"))
    for part in (2, 5):
        assert ended(polycli("--part", f"{part}/7", output="killed"))[0] == 0
    code, output, errors = ended(polycli("--finalize", "--json", output="killed"))
    assert code == 0, errors

    stores = {entry["name"]: entry for entry in json.loads(output)["stores"]}
    assert {name: entry["trajectories"] for name, entry in stores.items()} == {
        "compNS_M0.1_eta0.01_zeta0.01_8x6": 4,
        "diffre2d_8x6": 5,
        "swe_8x6": 9,
    }
    assert stores["swe_8x6"]["rejected"] == 2
    plain = content(tmp_path / "plain")
    for other in ("one", "seven", "killed"):
        assert content(tmp_path / other) == plain


def test_auto_is_the_part_of_a_slurm_array_and_a_missing_part_is_named(tmp_path, inputs, polycli):
    array = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}
    code, _, errors = ended(polycli("--part", "auto", output="out", environment=array))
    assert code == 0, errors
    assert "part 0/2: 10 trajectories staged" in errors
    code, _, errors = ended(polycli("--finalize", output="out"))
    assert code == 2
    assert "part 1/2 did not finish" in errors
    assert not list((tmp_path / "out").glob("*.zarr"))


def test_finalize_before_any_part_says_so_and_writes_no_store(tmp_path, inputs):
    with pytest.raises(Exception, match="no part has begun") as caught:
        run(ask(inputs, tmp_path / "out", finalize=True))
    assert caught.value.exit_code == 2
    assert "--part I/N" in caught.value.hint
    assert not list((tmp_path / "out").glob("*.zarr"))


def test_parts_read_the_source_files_once_among_them(tmp_path, inputs, monkeypatch):
    read = []
    monkeypatch.setattr("polycli.store.source_hashes.file_hash", lambda path: read.append(path.name) or "0" * 64)
    for part in range(3):
        run(ask(inputs, tmp_path / "out", part=(part, 3)))
    run(ask(inputs, tmp_path / "out", finalize=True))
    assert sorted(read) == ["cns.h5", "dr.h5", "swe.h5"]
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".zarr"}


def test_a_part_beyond_the_work_and_a_part_of_what_is_there_do_nothing(tmp_path, inputs):
    run(ask(inputs, tmp_path / "out"))
    before = content(tmp_path / "out")
    assert run(ask(inputs, tmp_path / "out", part=(0, 2)))["trajectories"] == 0
    assert {name: data for name, data in content(tmp_path / "out").items() if ".source" not in name} == before
    assert run(ask(inputs, tmp_path / "new", part=(97, 100)))["trajectories"] == 0
