"""`polycli recipes`: list, show, copy, check."""

import json

import pytest

from polycli import __main__ as entry
from polycli.recipes import find_recipe, load_any_recipe, shipped_names


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return entry.run(["recipes", *map(str, arguments)])


def test_ls_lists_every_shipped_recipe(capsys):
    assert run("ls") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in shipped_names())
    assert run("ls", "--json") == 0
    assert {recipe["name"] for recipe in json.loads(capsys.readouterr().out)} == set(shipped_names())


def test_show_prints_the_file_and_resolved_prints_every_key(capsys, tmp_path):
    assert run("show", "mpp_ti") == 0
    assert capsys.readouterr().out == find_recipe("mpp_ti").read_text()
    assert run("show", "mpp_ti", "--resolved", "--set", "train.seed=7") == 0
    (tmp_path / "resolved.yaml").write_text(capsys.readouterr().out)
    recipe = load_any_recipe("resolved.yaml")
    assert recipe == load_any_recipe("mpp_ti", ["train.seed=7"])
    assert run("show", "mpp_ti", "--json") == 0
    assert json.loads(capsys.readouterr().out) == load_any_recipe("mpp_ti").model_dump(mode="json")


def test_copy_never_replaces_a_file_unless_forced(capsys, tmp_path):
    assert run("copy", "mpp_ti") == 0
    assert (tmp_path / "mpp_ti.yaml").read_text() == find_recipe("mpp_ti").read_text()
    (tmp_path / "mine.yaml").write_text("mine")
    assert run("copy", "mpp_ti", "mine.yaml") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert run("copy", "mpp_ti", "mine.yaml", "--force") == 0
    assert load_any_recipe("mine.yaml") == load_any_recipe("mpp_ti")
    assert run("copy", "mine.yaml", "mine.yaml", "--force") == 2
    assert run("copy", "mpp_ti", "no/such/folder/a.yaml") == 2


def test_check_tells_about_every_file_and_fails_if_one_is_wrong(capsys, tmp_path):
    assert run("check", *shipped_names()) == 0
    assert "mpp_b: a valid recipe for `pretrain mpp`" in capsys.readouterr().out
    (tmp_path / "a.yaml").write_text("extends: mpp_ti\ntrain: {stpes: 1}\n")
    (tmp_path / "b.yaml").write_text("extends: mpp_ti\noptm: {}\n")
    assert run("check", "a.yaml", "mpp_b", "b.yaml") == 2
    captured = capsys.readouterr()
    assert "a.yaml:2: unknown key `train.stpes`; did you mean `train.steps`?" in captured.err
    assert "b.yaml:2: unknown key `optm`; did you mean `optim`?" in captured.err
    assert "mpp_b: a valid recipe" in captured.out
    assert run("check", "a.yaml", "mpp_b", "--json") == 2
    assert [entry["ok"] for entry in json.loads(capsys.readouterr().out)] == [False, True]


def test_schema_prints_a_json_schema(capsys):
    assert run("schema", "mpp", "prepare") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "polycli prepare mpp"


def test_a_full_disk_leaves_no_cut_copy_that_is_then_there_already(capsys, tmp_path, full_disk):
    with full_disk(20):
        assert run("copy", "mpp_ti", "mine.yaml") == 1
    assert "mine.yaml: recipes cannot be written: File too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run("copy", "mpp_ti", "mine.yaml") == 0
