"""The pair that people share is copied whole, and nothing is replaced unasked."""

import json

import pytest

from polycli import __main__ as entry
from polycli.checkpoints.manifest import checkpoint_name, write_manifest


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for step, loss in ((1, 0.5), (2, 0.7)):
        checkpoint = folder / "checkpoints" / checkpoint_name(step)
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(bytes([step]) * 50)
        (checkpoint / "model.json").write_text(json.dumps({"format": "polycli-model", "step": step}))
        write_manifest(
            checkpoint,
            step=step,
            family="mpp",
            verb="pretrain",
            world_size=1,
            zero_stage=0,
            metric=("validation/loss", loss),
        )
    return folder


def test_the_best_checkpoint_of_a_run_is_copied_with_its_description(run, tmp_path, capsys):
    target = tmp_path / "shared" / "small.safetensors"
    assert entry.run(["export", str(run), "--output", str(target), "--json"]) == 0
    captured = capsys.readouterr()
    assert target.read_bytes() == bytes([1]) * 50
    assert json.loads(target.with_suffix(".json").read_text())["step"] == 1
    assert json.loads(captured.out)["weights"] == str(target)
    assert "best of 2 kept, by validation/loss" in captured.err
    assert sorted(path.name for path in target.parent.iterdir()) == ["small.json", "small.safetensors"]


def test_one_checkpoint_can_be_chosen(run, tmp_path):
    target = tmp_path / "last.safetensors"
    assert entry.run(["export", str(run / "checkpoints" / checkpoint_name(2)), "--output", str(target)]) == 0
    assert target.read_bytes() == bytes([2]) * 50


def test_nothing_is_replaced_unless_forced(run, tmp_path, capsys):
    target = tmp_path / "a.safetensors"
    target.write_text("mine")
    assert entry.run(["export", str(run), "--output", str(target)]) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert entry.run(["export", str(run), "--output", str(target), "--force"]) == 0
    assert target.read_bytes() == bytes([1]) * 50


@pytest.mark.parametrize("output", ["a.pt", "a"])
def test_weights_go_into_safetensors(run, tmp_path, capsys, output):
    assert entry.run(["export", str(run), "--output", str(tmp_path / output)]) == 2
    assert ".safetensors" in capsys.readouterr().err


def test_what_is_no_checkpoint_is_refused_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("hello")
    for name in ("text.txt", "nowhere"):
        assert entry.run(["export", str(tmp_path / name), "--output", str(tmp_path / "a.safetensors")]) == 2
        assert name in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()


def test_a_damaged_checkpoint_is_not_passed_on(run, tmp_path):
    (run / "checkpoints" / checkpoint_name(1) / "model.safetensors").write_bytes(b"x" * 50)
    assert entry.run(["export", str(run), "--output", str(tmp_path / "a.safetensors")]) == 2
    assert not (tmp_path / "a.safetensors").exists()


def test_neither_force_nor_a_full_disk_costs_what_is_there(run, tmp_path, capsys, full_disk):
    weights = run / "checkpoints" / checkpoint_name(1) / "model.safetensors"
    assert entry.run(["export", str(run), "--output", str(weights), "--force"]) == 2
    assert "is read by this command" in capsys.readouterr().err
    assert weights.read_bytes() == bytes([1]) * 50
    target = tmp_path / "shared" / "a.safetensors"
    with full_disk(20):
        assert entry.run(["export", str(run), "--output", str(target)]) == 1
    assert "a.safetensors: weights cannot be written: File too large" in capsys.readouterr().err
    assert not target.parent.exists()
    assert entry.run(["export", str(run), "--output", str(target)]) == 0
