"""`polycli status`: how far work has come, published or not, told from files alone."""

import json
import os
import time
from pathlib import Path

import pytest

from polycli.__main__ import run as command_line
from polycli.errors import StoreError, UserError
from polycli.mpp.prepare import run as prepare
from polycli.requests import EmbedRequest, PrepareRequest
from polycli.sections import UnitSettings
from polycli.status import status_of
from polycli.store.embeddings.claims import claiming
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened
from tests.workflow.toy_rows import HEADER, toy


@pytest.fixture
def run(tmp_path):
    """Embed 40 rows of a toy store, two in a unit, or a part of them."""

    def embedded(part=None, most=0.0, **toys):
        request = EmbedRequest(checkpoint=Path("c"), data=(), output=tmp_path / "e", part=part, json=True)
        target = begin(request, UnitSettings(max_quarantined=most))
        return embed(target, Opened(HEADER, [toy("a", 40, 2, **toys)]), noun=("row", "rows"))

    return embedded


def units(path):
    found = status_of(path)[0].document()
    return found["state"], *(found["units"][name] for name in ("done", "running", "missing", "quarantined"))


def test_embeddings_are_found_before_they_are_published(tmp_path, run):
    run((0, 4), most=0.5, damaged=(0, 1, 8))
    assert units(tmp_path / "e") == ("stopped", 5, 0, 15, 3)
    found = status_of(tmp_path / "e")[0].document()
    assert (found["kind"], found["rows"], found["seconds_left"]) == ("embeddings", 7, None)
    assert status_of(tmp_path)[0].document() == found, "the folder that they will be in knows them too"
    with claiming(UnitPlace(tmp_path / "e").claims, 7):
        assert units(tmp_path / "e") == ("running", 5, 1, 14, 3)


def test_speed_and_expected_end_follow_from_the_units_that_are_done(tmp_path, run):
    run((0, 2), seconds=0.05)
    with claiming(UnitPlace(tmp_path / "e").claims, 1):
        found = status_of(tmp_path / "e")[0].document()
    # Two rows in a tenth of a second, and the writing of a unit beside it.
    assert 2 < found["rows_per_second"] < 20
    assert found["seconds_left"] == pytest.approx(20 / found["rows_per_second"])
    assert time.strptime(found["expected_end"], "%Y-%m-%dT%H:%M:%S")


def test_a_claim_of_a_process_that_is_gone_does_not_run(tmp_path, run):
    run((0, 4))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    claims = UnitPlace(tmp_path / "e").claims
    (claims / f"000007.{os.uname().nodename}.{child}").touch()
    # On another machine nobody can ask for the process; what nobody touches for long is taken for dead.
    (claims / "000009.elsewhere.17").touch()
    (claims / "000010.elsewhere.18").touch()
    os.utime(claims / "000010.elsewhere.18", (0, 0))
    assert units(tmp_path / "e")[:3] == ("running", 5, 1)


def test_the_first_error_is_told_until_the_part_begins_again(tmp_path, run):
    with pytest.raises(StoreError):
        run((1, 4), damaged=(2,))
    found = status_of(tmp_path / "e")[0].document()
    assert (found["state"], found["error"]) == ("failed", "part 1/4: row 2 is damaged")
    run((1, 4))
    assert status_of(tmp_path / "e")[0].document()["error"] is None


def test_embeddings_that_are_published_are_complete(tmp_path, run):
    run(most=0.5, damaged=(0, 1, 8))
    assert units(tmp_path / "e") == ("complete", 20, 0, 0, 3)
    assert status_of(tmp_path / "e")[0].rows == 37


def test_a_store_in_parts_and_published(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "in/swe.h5", trajectories=8, grid=(16, 16))
    request = {"source": "pdebench", "inputs": (tmp_path / "in",), "output": tmp_path / "stores", "workers": 1}
    prepare(PrepareRequest(**request, limit=6, part=(0, 2)))
    (found,) = status_of(tmp_path / "stores")
    assert found.path.parent == tmp_path / "stores"
    assert (found.kind, found.state, found.missing) == ("store", "running", 6 - found.done)
    for work in (tmp_path / "stores").glob("*.partial-*"):
        for folder in (work, *work.iterdir()):
            os.utime(folder, (0, 0))
    assert status_of(tmp_path / "stores")[0].state == "stopped", "nobody has written for long"
    prepare(PrepareRequest(**request, limit=6))
    (found,) = status_of(tmp_path / "stores")
    assert (found.state, found.rows, found.missing) == ("complete", 6, 0)


def training(folder, state, step, message=""):
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("train: {steps: 100, global_batch_size: 8}\n")
    (folder / "status.json").write_text(json.dumps({"state": state, "step": 20, "message": message}))
    line = {"kind": "train", "step": step, "speed": {"samples_per_second": 40.0, "step_seconds": 0.2}}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n" + json.dumps({"kind": "validation"}) + "\n")


def test_a_run_says_its_step_its_speed_and_when_it_ends(tmp_path):
    training(tmp_path / "run", "running", 40)
    found = status_of(tmp_path / "run")[0].document()
    assert (found["kind"], found["state"], found["units"]["done"], found["units"]["missing"]) == (
        "run",
        "running",
        40,
        60,
    )
    assert (found["rows"], found["rows_per_second"], found["seconds_left"]) == (320, 40.0, 12.0)
    for name in ("status.json", "metrics.jsonl"):
        os.utime(tmp_path / "run" / name, (0, 0))
    assert status_of(tmp_path / "run")[0].state == "stopped", "it was killed"
    training(tmp_path / "failed", "failed", 40, "the loss is not finite")
    assert status_of(tmp_path / "failed")[0].document()["error"] == "the loss is not finite"


def test_a_study_counts_its_tasks(tmp_path, capsys):
    tasks = ["runs/a", "runs/b", "runs/c", "evaluations/a"]
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    training(tmp_path / "runs/a", "complete", 100)
    training(tmp_path / "runs/b", "failed", 7, "out of memory")
    (tmp_path / "evaluations/a").mkdir(parents=True)
    (tmp_path / "evaluations/a/scores.json").write_text("{}")
    assert command_line(["status", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["state"], found["error"]) == ("study", "failed", "runs/b: out of memory")
    assert found["units"] == {"noun": "task", "done": 2, "running": 0, "missing": 2, "quarantined": 0}


def test_people_read_lines(tmp_path, run, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # Nobody watches, so no line is folded.
    run((0, 4), most=0.5, damaged=(0, 1, 8))
    assert command_line(["status", str(tmp_path / "e")]) == 0
    first, speed, aside = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'e'}: embeddings, stopped: 5 units done, 15 missing"
    assert "7 rows" in speed
    assert aside == "  3 rows put aside"


def test_where_nothing_is_a_sentence_says_so(tmp_path):
    with pytest.raises(UserError, match="there is no store, run, study or embeddings"):
        status_of(tmp_path / "nothing")


def test_the_current_folder_and_the_one_above_are_folders_like_others(tmp_path, run, monkeypatch):
    run(part=(1, 2))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no store, run, study or embeddings"):
        status_of(Path())
    assert [found.path.name for found in status_of(Path(".."))] == ["e"]
    monkeypatch.chdir(tmp_path)
    assert [found.path.name for found in status_of(Path())] == ["e"]
