"""Which checkpoints stay, and which one a start goes on from: none that anybody has touched."""

import json
import shutil
import signal

import pytest

from polycli.checkpoints.manifest import CheckpointFile, verify
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.errors import PreemptedError, RunError


def names(run) -> list[int]:
    return sorted(int(folder.name.removeprefix("step-")) for folder in (run / "checkpoints").iterdir())


def scored(toy, *losses):
    """A task whose validations have these losses, one after another."""
    task, remaining = toy.ToyTask(), iter(losses)
    task.validate = lambda forward, world: {"validation/loss": next(remaining)}
    return task


EVERY_STEP = {"train__validate_every": 1, "train__checkpoint_every": 1, "train__keep_last": 1}


def test_every_so_many_steps_a_checkpoint_stays_for_good(toy, world, tmp_path):
    task = scored(toy, *range(20, 10, -1))
    toy.train_toy(tmp_path / "run", task, world, train__keep_every=4, **EVERY_STEP)
    assert names(tmp_path / "run") == [4, 8, 10]


def test_the_best_stays_however_old_it_is_and_through_a_resume(toy, world, tmp_path):
    task = scored(toy, 5.0, 1.0, 4.0, 3.0)
    toy.send_signal_in_step(task, 4, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world, train__steps=8, **EVERY_STEP)
    assert names(tmp_path / "run") == [2, 4]
    toy.train_toy(tmp_path / "run", scored(toy, 2.0, 2.0, 1.5, 4.0), world, train__steps=8, **EVERY_STEP)
    assert names(tmp_path / "run") == [2, 8]
    assert resolve_checkpoint(tmp_path / "run").checkpoint_dir.name == "step-00000002"
    trainer = json.loads((tmp_path / "run/checkpoints/step-00000008/trainer.json").read_text())
    assert trainer["state"]["best_metric"] == 1.0


def test_a_better_one_after_a_resume_takes_the_place_of_the_best(toy, world, tmp_path):
    task = scored(toy, 5.0, 1.0, 4.0)
    toy.send_signal_in_step(task, 3, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world, train__steps=6, **EVERY_STEP)
    toy.train_toy(tmp_path / "run", scored(toy, 3.0, 0.5, 2.0), world, train__steps=6, **EVERY_STEP)
    assert names(tmp_path / "run") == [5, 6]


def test_nothing_is_deleted_before_its_successor_is_whole(toy, world, tmp_path, monkeypatch):
    """At every deletion, the checkpoint that takes its place can be read."""
    deletions = []

    def watched(directory, **_):
        if directory.parent.name == "checkpoints":
            deletions.append(resolve_checkpoint(tmp_path / "run").checkpoint_dir.name)
        return real(directory, **_)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", watched)
    toy.train_toy(tmp_path / "run", scored(toy, 4.0, 3.0, 2.0, 1.0), world, train__steps=4, **EVERY_STEP)
    assert deletions == ["step-00000002", "step-00000003", "step-00000004"]


@pytest.fixture
def stopped(toy, world, tmp_path):
    """A run with checkpoints of steps 2 and 4, stopped there; and the folder of the second."""
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 4, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world, train__checkpoint_every=2)
    return tmp_path / "run", tmp_path / "run/checkpoints/step-00000004"


@pytest.mark.parametrize("last", [6, 8, 9])
def test_a_damaged_checkpoint_of_a_later_step_does_not_count_as_one_that_is_kept(toy, world, tmp_path, last):
    """Until training has come to its step again, the checkpoint to go on from is an older one."""
    settings = {**EVERY_STEP, "train__validate_every": 99, "train__steps": 20}

    def stop_after(step, **others):
        task = toy.ToyTask()
        toy.send_signal_in_step(task, step, signal.SIGTERM)
        with pytest.raises(PreemptedError):
            toy.train_toy(tmp_path / "run", task, world, **settings | others)

    stop_after(8, train__keep_last=4)
    flipped_byte(tmp_path / "run/checkpoints/step-00000008")
    for step in (6, 7):
        shutil.rmtree(tmp_path / f"run/checkpoints/step-{step:08d}")
    stop_after(last)
    assert last in names(tmp_path / "run")
    verify(tmp_path / f"run/checkpoints/step-{last:08d}")
    assert names(tmp_path / "run") == sorted({last, *([8] if last < 8 else [])})


def outside_by_name(directory):
    (directory.parent / "secret").write_bytes(b"x")
    manifest = json.loads((directory / "MANIFEST.json").read_text())
    manifest["files"]["../secret"] = CheckpointFile(size=1, sha256="0" * 64).model_dump()
    (directory / "MANIFEST.json").write_text(json.dumps(manifest))


def outside_by_root(directory):
    manifest = json.loads((directory / "MANIFEST.json").read_text())
    manifest["files"]["/etc/hostname"] = CheckpointFile(size=1, sha256="0" * 64).model_dump()
    (directory / "MANIFEST.json").write_text(json.dumps(manifest))


def outside_by_link(directory):
    shard = directory / "optimizer/rank-00000.safetensors"
    shard.rename(directory.parent / "elsewhere")
    shard.symlink_to(directory.parent / "elsewhere")


def flipped_byte(directory):
    shard = directory / "optimizer/rank-00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def missing_shard(directory):
    (directory / "optimizer/rank-00000.safetensors").unlink()


def cut_model(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def changed_counters(directory):
    path = directory / "trainer.json"
    path.write_text(path.read_text().replace('"step": 4', '"step": 9'))


def no_manifest(directory):
    (directory / "MANIFEST.json").unlink()


def another_name(directory):
    directory.rename(directory.with_name("step-00000007"))


DAMAGE = {
    outside_by_name: r"'../secret' lies outside the checkpoint",
    outside_by_root: r"'/etc/hostname' lies outside the checkpoint",
    outside_by_link: r"'optimizer/rank-00000.safetensors' lies outside the checkpoint",
    flipped_byte: "rank-00000.safetensors: damaged, its sha256",
    missing_shard: "rank-00000.safetensors: listed in MANIFEST.json and not there",
    cut_model: "model.safetensors: ",
    changed_counters: "trainer.json: damaged, its sha256",
    no_manifest: "step-00000004: no MANIFEST.json",
    another_name: "step-00000007: holds step 4",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(
    toy, world, tmp_path, stopped, metrics_of, capsys, damage
):
    run, newest = stopped
    damage(newest)
    capsys.readouterr()
    toy.train_toy(run, toy.ToyTask(), world, train__checkpoint_every=2)
    told = capsys.readouterr().err
    assert DAMAGE[damage] in told
    assert f"step 2 to 10, from {run}/checkpoints/step-00000002" in told
    toy.train_toy(tmp_path / "whole", toy.ToyTask(), world, train__checkpoint_every=2)
    assert metrics_of(run) == metrics_of(tmp_path / "whole")


def test_a_run_of_which_nothing_is_whole_is_refused_and_left_as_it_is(toy, world, stopped):
    run, newest = stopped
    for folder in (newest, newest.with_name("step-00000002")):
        flipped_byte(folder)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
    with pytest.raises(RunError, match="holds 2 checkpoints and none is whole") as refused:
        toy.train_toy(run, toy.ToyTask(), world)
    assert refused.value.exit_code == 2
    assert {path: path.read_bytes() for path in before} == before


def test_a_file_that_the_manifest_does_not_name_is_not_read(toy, world, stopped, metrics_of, tmp_path):
    run, newest = stopped
    (newest / "optimizer/rank-00001.safetensors").write_bytes(b"not of this run")
    (newest / "weights.safetensors").write_bytes(b"neither")
    toy.train_toy(run, toy.ToyTask(), world, train__checkpoint_every=2)
    toy.train_toy(tmp_path / "whole", toy.ToyTask(), world, train__checkpoint_every=2)
    assert metrics_of(run) == metrics_of(tmp_path / "whole")


def test_a_checkpoint_without_training_state_is_refused_by_name(toy, world, stopped):
    run, newest = stopped
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    manifest |= {"optimizer": None, "schema_version": 1}  # as that version wrote it
    del manifest["manifest_sha256"]
    (newest / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="training state this one does not read"):
        toy.train_toy(run, toy.ToyTask(), world)


def test_a_resume_unpickles_nothing(toy, world, stopped, monkeypatch):
    import pickle

    import torch

    def refuse(*_, **__):
        raise AssertionError("a checkpoint was unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    run, newest = stopped
    assert {path.suffix for path in newest.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    toy.train_toy(run, toy.ToyTask(), world)
