"""The session of docs/your-own-simulation.md, as it stands there: a solver, npz, store, model, report, film."""

import json
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from polycli.__main__ import run as command_line
from polycli.store.reader import open_store
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.session import commands_of

PAGE = ROOT / "docs" / "your-own-simulation.md"
#: In place of the recipe's minutes.
SMALL = (
    "model.embed_dim=16",
    "model.num_heads=2",
    "model.blocks=1",
    "train.steps=3",
    "train.global_batch_size=2",
    "data.draws_per_step=1",
)


def test_the_session_of_the_page_goes_from_an_npz_of_a_newcomer_to_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of(PAGE)
    solver = next(block.source for block in blocks if block.language == "python")
    commands = [found for block in blocks if block.language == "console" for found in commands_of(block.source)]
    question, *session = [command.line.replace("\\\n", " ") for command in commands if " inspect " not in command.line]
    Path("own.py").write_text(solver, encoding="utf-8")
    runpy.run_path("own.py")
    held = dict(np.load("own.npz"))

    assert command_line(shlex.split(question)[1:]) == 2
    said = capsys.readouterr().err
    for proposed in ("'arrays.axes=[x, y, time, trajectory]'", "'arrays.fields={my.h: h, my.v: v}'"):
        assert f"--set {proposed}" in said
        assert proposed in commands[0].shown

    assert [line.split()[1] for line in session] == ["prepare", "pretrain", "eval", "predict"]
    for line in session:
        verb, *rest = shlex.split(line)[1:]
        settings = [word for setting in SMALL for word in ("--set", setting)] if verb == "pretrain" else []
        assert command_line([verb, *rest, *settings]) == 0, capsys.readouterr().err

    store = open_store(Path("own/own.zarr"), family="mpp", verify="full")
    expected = np.stack([held["h"], held["v"]]).transpose(4, 3, 0, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(store.read_rows("fields", range(12)), expected)
    np.testing.assert_array_equal(store.read("params")[:, 0], held["c"])
    assert store.manifest.about["dt"] == pytest.approx(0.04)
    np.testing.assert_allclose(store.manifest.about["extent"], [[0, 1], [0, 20 / 24]])
    assert Path("report/report.html").is_file()
    with Image.open("report/figures/own.film.gif") as film:
        assert film.n_frames == 21 - 4
    scores = json.loads(Path("report/scores.json").read_text(encoding="utf-8"))
    assert set(scores["datasets"]["own"]["one_step"]["nrmse"]["fields"]) == {"my.height", "my.speed"}
    forecast = zarr.open_group("forecast.zarr", mode="r")
    assert forecast["fields"].shape == (2, 10, 2, 24, 20)
    np.testing.assert_allclose(forecast["time"][:], 0.04 * np.arange(21, 31))
    np.testing.assert_allclose(forecast["x"][:], held["x"], atol=1e-6)
