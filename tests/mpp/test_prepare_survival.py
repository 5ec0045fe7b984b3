"""Prepare through full disks, kills and damage: nothing half is published, and the next run goes on where it was."""

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

from polycli.errors import PolycliError, SourceError
from polycli.mpp.data import publishing
from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest
from polycli.store.builder import StoreBuilder
from polycli.store.reader import Store, open_store


def ask(folder: Path, output: Path, **options: object) -> PrepareRequest:
    return PrepareRequest(**{"source": "pdebench", "inputs": (folder,), "output": output, "workers": 1, **options})


def prepared(inputs: Path, output: Path, **options: object) -> Store:
    """The only store that is made of the inputs, hashes verified."""
    (entry,) = run(ask(inputs, output, **options))["stores"]
    return open_store(Path(entry["path"]), family="mpp", verify="full")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_error_in_a_worker_process_reaches_the_user_with_its_hint(tmp_path, pdebench, monkeypatch):
    """A damaged compressed chunk is seen only when it is read."""
    monkeypatch.setattr("polycli.mpp.sources.frames._JOB_BYTES", 1)
    path = tmp_path / "in/a.h5"
    data = pdebench.diffusion_reaction(path)
    with h5py.File(path, "r+") as file:
        del file["0001/data"]
        place = file.create_dataset("0001/data", data=data[1], chunks=(11, 8, 6, 2), fletcher32=True).id.get_chunk_info(
            0
        )
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(bytes(n % 251 for n in range(place.size)))
    with pytest.raises(SourceError, match=r"a\.h5: trajectory 0001, frames 0 to .* cannot be read") as caught:
        run(ask(tmp_path / "in", tmp_path / "out", workers=2))
    assert caught.value.hint == "the file is damaged; fetch or copy it again"
    assert not (tmp_path / "out/diffre2d_8x6.zarr").exists()


def test_a_full_disk_leaves_no_target_and_the_next_run_goes_on(tmp_path, pdebench, monkeypatch):
    pdebench.shallow_water(tmp_path / "in/a.h5", trajectories=4)
    staged: list[str] = []
    stage = StoreBuilder.stage

    def full_at_the_third(self, key, *rest):
        if len(staged) == 2:
            raise PolycliError(f"{self.target}: the disk is full")
        staged.append(key)
        return stage(self, key, *rest)

    monkeypatch.setattr(StoreBuilder, "stage", full_at_the_third)
    with pytest.raises(PolycliError, match="the disk is full") as caught:
        run(ask(tmp_path / "in", tmp_path / "out"))
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out/swe_8x6.zarr").exists()

    def counted(self, key, *rest):
        staged.append(key)
        return stage(self, key, *rest)

    monkeypatch.setattr(StoreBuilder, "stage", counted)
    store = prepared(tmp_path / "in", tmp_path / "out")
    assert len(staged) == len(set(staged)) == 4  # no trajectory was staged twice
    run(ask(tmp_path / "in", tmp_path / "fresh"))
    assert content(store.path) == content(tmp_path / "fresh/swe_8x6.zarr")


SLOW_PREPARE = """
    import sys, time
    from pathlib import Path
    from polycli.requests import PrepareRequest

    from polycli.mpp.sources import frames
    frames._JOB_BYTES = 1
    if __name__ == "__main__":
        from polycli.mpp.prepare import run
        run(PrepareRequest(source="pdebench", inputs=(Path(sys.argv[1]),), output=Path(sys.argv[2]), workers=2))
"""


def processes_of(mark: str) -> set[int]:
    """Processes whose environment holds the mark."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.add(int(folder.name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc to see processes")
def test_a_killed_prepare_leaves_nobody_behind_and_goes_on_to_the_same_store(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "in/a.h5", trajectories=40)
    script = tmp_path / "slow.py"
    script.write_text(textwrap.dedent(SLOW_PREPARE))
    mark = f"POLYCLI_TEST_MARK={tmp_path}"
    name, value = mark.split("=", 1)
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "in", tmp_path / "out"],
        env={**os.environ, name: value},
        stderr=subprocess.PIPE,
    )
    records: list[Path] = []
    deadline = time.monotonic() + 60
    while len(records) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        records = list((tmp_path / "out").glob("*.partial-*/records/*.json"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(records) < 40
    assert not (tmp_path / "out/swe_8x6.zarr").exists()
    while processes_of(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(mark) == set()

    untouched = {path: path.stat().st_mtime_ns for path in records}
    done = {path.name for path in records}
    builder_folder = records[0].parent
    finished = publishing.publish

    def publish(plan):
        assert done <= {path.name for path in builder_folder.iterdir()}
        assert all(path.stat().st_mtime_ns == stamp for path, stamp in untouched.items())
        return finished(plan)

    publishing.publish = publish
    try:
        store = prepared(tmp_path / "in", tmp_path / "out")
    finally:
        publishing.publish = finished
    run(ask(tmp_path / "in", tmp_path / "fresh"))
    assert content(store.path) == content(tmp_path / "fresh/swe_8x6.zarr")


MEASURED = """
    import resource, sys
    from pathlib import Path
    import polycli.store.layout as layout
    from polycli.mpp.prepare import run
    from polycli.requests import PrepareRequest
    # A writer holds up to three shards; small ones make what else grows visible in a small file.
    layout.MAX_SHARD_BYTES = 4 * 2**20
    run(PrepareRequest(source="pdebench", inputs=(Path(sys.argv[1]),), output=Path(sys.argv[2]), workers=1))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_does_not_grow_with_the_length_of_a_trajectory(tmp_path):
    """A trajectory of 94 MB may cost no more than one of 19 MB, plus what the allocator likes to keep."""
    peaks = []
    for frames in (96, 480):
        folder = tmp_path / f"in-{frames}"
        folder.mkdir()
        values = np.random.default_rng(0).standard_normal((1, 8, 128, 128, 3)).astype(np.float32)
        with h5py.File(folder / "a.h5", "w") as file:
            velocity = file.create_dataset("velocity", (1, frames, 128, 128, 2), "f4")
            particles = file.create_dataset("particles", (1, frames, 128, 128, 1), "f4")
            for start in range(0, frames, 8):
                velocity[:, start : start + 8], particles[:, start : start + 8] = values[..., :2], values[..., 2:]
            file["t"] = 0.005 * np.arange(frames)[None]
        code = [sys.executable, "-c", textwrap.dedent(MEASURED), folder, tmp_path / f"out-{frames}"]
        peaks.append(int(subprocess.run(code, check=True, capture_output=True, text=True).stdout) * 1024)
    short, long = peaks
    assert long < short + 40e6
