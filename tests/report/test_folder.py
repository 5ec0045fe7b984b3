"""An evaluation's folder is whole, and holds nothing of an earlier one."""

import json

import pytest

from polycli.report.folder import evaluation_folder, finite_json, write_scores


def test_what_json_cannot_say_becomes_null():
    assert finite_json({"a": [1.0, float("inf")], "b": {"c": float("nan")}, "d": 3, "e": True}) == {
        "a": [1.0, None],
        "b": {"c": None},
        "d": 3,
        "e": True,
    }


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def test_a_new_evaluation_replaces_an_earlier_one_and_leaves_other_files_alone(tmp_path):
    output = tmp_path / "scores"
    with evaluation_folder(output, parts=("rollouts",)) as folder:
        write(folder, "figures/old.png", "report.html", "rollouts/a.zarr")
        write_scores({"a": 1}, folder)
    write(output, "notes.txt")
    with evaluation_folder(output, parts=("rollouts",)) as folder:
        write(folder, "figures/new.png")
        write_scores({"a": 2}, folder)
    assert sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()) == [
        "figures/new.png",
        "notes.txt",
        "scores.json",
    ]
    assert json.loads((output / "scores.json").read_text()) == {"a": 2}


def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path):
    output = tmp_path / "scores"
    with evaluation_folder(output) as folder:
        write_scores({"a": 1}, folder)
    with pytest.raises(FileNotFoundError), evaluation_folder(output) as folder:
        (folder / "no such folder" / "report.html").write_text("")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["scores.json"]
