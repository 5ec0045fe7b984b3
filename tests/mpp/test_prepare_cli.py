"""`polycli prepare mpp` as it is typed: exit codes, one JSON document on stdout, talk on stderr."""

import json
import subprocess
import sys
from pathlib import Path

from polycli.store.reader import open_store


def polycli(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "polycli", "prepare", "mpp", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_prepare_by_the_command_line_makes_a_store_and_prints_one_document(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "data/2D/a.h5", trajectories=4)
    ended = polycli("--source", "pdebench", "--input", "data/2D", "--output", "stores/", "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (entry,) = json.loads(ended.stdout)["stores"]
    assert entry["path"] == "stores/swe_8x6.zarr"
    assert entry["trajectories"] == 4
    store = open_store(tmp_path / entry["path"], family="mpp", verify="full")
    assert store.manifest.store_hash == entry["store_hash"]
    assert "4 trajectories" in ended.stderr


def test_without_json_stdout_stays_empty(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    line = ("--source", "pdebench", "--input", "a.h5", "--output", "out", "--limit", 2, "--set", "select.time_stride=5")
    ended = polycli(*line, "--workers", 1, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    manifest = open_store(tmp_path / "out/swe_8x6.zarr", family="mpp").manifest
    assert manifest.rows == 2
    assert manifest.arrays["fields"].shape == (2, 3, 1, 8, 6)


def test_wrong_input_ends_with_exit_2_one_sentence_and_nothing_written(tmp_path, pdebench):
    pdebench.compressible(tmp_path / "in/a.h5")
    content = (tmp_path / "in/a.h5").read_bytes()
    (tmp_path / "in/cut.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "file").write_text("")
    for arguments, sentence in (
        (
            ("--source", "pdebench", "--input", "in/a.h5", "--output", "file"),
            "file is a file, and stores need a folder",
        ),
        (("--source", "pdebench", "--input", "in"), "in/cut.h5: the HDF5 file is truncated or damaged"),
        (("--source", "pdebench", "--input", "nowhere"), "nowhere: no such file or folder"),
        (("--source", "weather", "--input", "in/a.h5"), "--source weather: mpp has no such source"),
    ):
        ended = polycli("--output", "out", *arguments, folder=tmp_path)
        assert ended.returncode == 2
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""
    assert not (tmp_path / "out").exists()
