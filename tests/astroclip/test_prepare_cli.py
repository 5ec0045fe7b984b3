"""`polycli prepare astroclip` as it is typed: exit codes, one JSON document on stdout, talk on stderr."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from polycli.astroclip.data.store import open_objects


def polycli(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "polycli", "prepare", "astroclip", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_prepare_by_the_command_line_makes_a_store_and_prints_one_document(tmp_path):
    line = ("--source", "mock", "--recipe", "astroclip_demo_data", "--set", "mock.size=32", "--limit", 12)
    ended = polycli(*line, "--output", "mock.zarr", "--workers", 2, "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (entry,) = json.loads(ended.stdout)["stores"]

    assert (entry["path"], entry["objects"]) == ("mock.zarr", 12)
    assert open_objects(tmp_path / "mock.zarr", verify="full").manifest.store_hash == entry["store_hash"]
    assert "12 objects" in ended.stderr


def test_wrong_input_ends_with_exit_2_one_sentence_and_nothing_written(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "in/coadd.fits", ids=survey_files.desi_ids(2), without="R_IVAR")
    survey_files.legacysurvey(tmp_path / "a.h5", count=2, images=np.zeros((2, 12, 12, 3), np.float32))
    for arguments, sentence in (
        (("--source", "desi", "--input", "in/coadd.fits"), "has no HDU R_IVAR"),
        (("--source", "legacysurvey", "--input", "a.h5"), "(H, W, C), and (C, H, W)"),
        (("--source", "mock", "--set", "mock.objcts=3"), "mock.objects"),
    ):
        ended = polycli("--output", "out.zarr", *arguments, folder=tmp_path)
        assert ended.returncode == 2, ended.stderr
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "in"]
