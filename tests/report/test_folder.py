"""An evaluation's folder is whole, and holds nothing of an earlier one."""

import json

import pytest

from polycli.errors import PolycliError, UserError
from polycli.report.folder import evaluation_folder, write_scores


def scores(value, *datasets):
    return {"split": "test", "checkpoint": "x", "version": "0", "datasets": {name: {} for name in datasets}, "a": value}


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_a_new_evaluation_replaces_an_earlier_one_and_leaves_other_files_alone(tmp_path):
    output = tmp_path / "scores"
    with evaluation_folder(output, parts=("rollouts",)) as folder:
        write(folder, "figures/old.map.png", "report.html", "rollouts/a.zarr")
        write_scores(scores(1, "old", "a"), folder)
    write(output, "notes.txt", "figures/mine.png", "figures/more/mine.svg")
    with evaluation_folder(output, parts=("rollouts",)) as folder:
        write(folder, "figures/new.map.png")
        write_scores(scores(2, "new"), folder)
    assert sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()) == [
        "figures/mine.png",
        "figures/more/mine.svg",
        "figures/new.map.png",
        "notes.txt",
        "scores.json",
    ]
    assert json.loads((output / "scores.json").read_text())["a"] == 2


def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path):
    output = tmp_path / "scores"
    with evaluation_folder(output) as folder:
        write_scores(scores(1, "old", "a"), folder)
    with pytest.raises(FileNotFoundError), evaluation_folder(output) as folder:
        (folder / "no such folder" / "report.html").write_text("")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["scores.json"]


@pytest.mark.parametrize("name", ["figures/mine.png", "report.html", "scores.json"])
def test_what_no_evaluation_wrote_is_not_replaced(tmp_path, name):
    write(tmp_path / "scores", name)
    with (
        pytest.raises(UserError, match=f"has {name.split('/')[0]}, which no evaluation of polycli wrote"),
        evaluation_folder(tmp_path / "scores"),
    ):
        pass
    assert (tmp_path / "scores" / name).read_text() == name


def test_scores_do_not_go_into_a_store(tmp_path):
    write(tmp_path / "x.zarr", "MANIFEST.json")
    with pytest.raises(UserError, match="is a store"), evaluation_folder(tmp_path / "x.zarr"):
        pass


def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_evaluation(tmp_path, full_disk):
    output = tmp_path / "scores"
    with evaluation_folder(output) as folder:
        write_scores(scores(1), folder)
    with (
        full_disk(100),
        pytest.raises(PolycliError, match="scores cannot be written: File too large"),
        evaluation_folder(output) as folder,
    ):
        write_scores(scores(2, *map(str, range(100))), folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["scores", "scores.json"]
    assert json.loads((output / "scores.json").read_text())["a"] == 1
