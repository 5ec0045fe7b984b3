"""What TAB offers: names of the family on the line, keys with their choices, runs and weights."""

from types import SimpleNamespace

import pytest

from polycli.commands import completion


def line(verb, family=None, **words):
    return SimpleNamespace(params={"family": family, **words}, info_name=verb)


def test_recipes_are_those_of_the_family_and_verb_on_the_line():
    assert completion.recipes(line("pretrain", "mpp"), "mpp_t") == ["mpp_ti", "mpp_transfer_model"]
    assert "xval_table" in completion.recipes(line("pretrain", "xval"), "")
    assert "mpp_ti" not in completion.recipes(line("prepare", "mpp"), "")
    assert "mpp_demo_data" in completion.recipes(line("prepare"), "mpp_d")


def test_sources_are_those_of_the_family():
    assert completion.sources(line("prepare", "mpp"), "p") == ["pdebench", "pdearena"]
    assert {"pdebench", "table", "desi"} <= set(completion.sources(line("prepare"), ""))


def test_keys_for_set_come_with_their_meaning_and_then_their_values():
    offered = dict(completion.settings(line("pretrain", "mpp"), "optim.l"))
    assert set(offered) == {"optim.learning_rate=", "optim.layer_decay="}
    assert offered["optim.learning_rate="].startswith("peak")
    values = [word for word, _ in completion.settings(line("pretrain", "mpp"), "engine.precision=b")]
    assert values == ["engine.precision=bfloat16"]
    assert completion.settings(line("eval", "mpp"), "windows")[0][0] == "windows_per_trajectory="


@pytest.mark.parametrize("words", [line("pretrain"), line("pretrain", "mppp"), line("calibrate", "astroclip")])
def test_a_half_written_or_wrong_line_offers_nothing_and_does_not_fail(words):
    assert completion.settings(words, "optim.l") == []


def test_checkpoints_are_runs_their_checkpoints_and_files_of_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/first/checkpoints/step-00000010").mkdir(parents=True)
    (tmp_path / "runs/first/checkpoints/step-00000010/MANIFEST.json").touch()
    (tmp_path / "other").mkdir()
    for name in ("small.safetensors", "notes.txt", ".hidden.pt"):
        (tmp_path / name).touch()
    assert completion.checkpoints("") == ["other/", "runs/", "small.safetensors", "runs/first"]
    assert completion.checkpoints("runs/f") == ["runs/first"]
    assert completion.checkpoints("runs/first/checkpoints/") == ["runs/first/checkpoints/step-00000010"]
    assert completion.checkpoints("nowhere/x") == []
    assert completion.checkpoints(str(tmp_path / "sm")) == [str(tmp_path / "small.safetensors")]
