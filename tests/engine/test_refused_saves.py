"""A disk that is full or read-only during a save: the run says so, trains on, and keeps the last good checkpoint."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from polycli.checkpoints.manifest import verify
from polycli.engine.checkpoints import checkpointing, saving
from polycli.errors import SaveError
from polycli.launch import start_ranks

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "optimizer/rank-00000.safetensors")


@pytest.fixture
def refuse(monkeypatch):
    """Have the disk be full for the saves of these steps."""

    def at(*steps: int) -> None:
        write = saving.write_tensors

        def refusing(path, tensors, metadata=None):
            if any(f"step-{step:08d}" in str(path) for step in steps) and "optimizer" in str(path):
                raise FULL
            return write(path, tensors, metadata)

        monkeypatch.setattr(saving, "write_tensors", refusing)

    return at


@pytest.mark.parametrize("background", [True, False])
def test_a_full_disk_in_the_middle_costs_one_checkpoint_and_nothing_else(
    toy, world, tmp_path, refuse, metrics_of, capsys, background
):
    settings = {"train__checkpoint_every": 2, "train__keep_last": 9, "train__save_in_background": background}
    toy.train_toy(tmp_path / "whole", toy.ToyTask(), world, **settings)
    refuse(2, 6)
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world, **settings)
    assert outcome.checkpoint.name == "step-00000010"
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == [
        f"step-{step:08d}" for step in (4, 8, 10)
    ]
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "whole")
    told = [line for line in capsys.readouterr().err.splitlines() if "could not be saved" in line]
    assert len(told) == 2
    assert "the checkpoint of step 2 could not be saved (No space left on device: optimizer/rank-00000" in told[0]
    assert "there is no earlier checkpoint" in told[0]
    assert "the last good checkpoint is" in told[1]
    assert told[1].endswith("training goes on, and the next save tries again")
    assert "step-00000004" in told[1]
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "complete"


def test_status_says_that_a_save_failed_until_one_succeeds(toy, world, tmp_path, refuse):
    refuse(2)
    task, seen = toy.ToyTask(), {}
    batches = task.micro_batches

    def micro_batches(step, world):
        if step in (3, 5):
            seen[step] = json.loads((tmp_path / "run/status.json").read_text())
        return batches(step, world)

    task.micro_batches = micro_batches
    toy.train_toy(
        tmp_path / "run", task, world, train__steps=6, train__checkpoint_every=2, train__save_in_background=False
    )
    assert seen[3]["state"] == "running"
    assert seen[3]["checkpoint"] is None
    assert "the checkpoint of step 2 could not be saved" in seen[3]["message"]
    assert seen[5]["message"] == ""
    assert seen[5]["checkpoint"] == "checkpoints/step-00000004"


def test_a_last_save_that_fails_ends_the_run_with_exit_1_and_the_last_good_checkpoint(
    toy, world, tmp_path, refuse, capsys
):
    refuse(10)
    with pytest.raises(SaveError, match=r"step 10 could not be saved .*No space left") as failed:
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    assert "training goes on" not in capsys.readouterr().err
    assert failed.value.exit_code == 1
    assert str(tmp_path / "run/checkpoints/step-00000005") in failed.value.hint
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["checkpoint"]) == ("failed", "checkpoints/step-00000005")
    assert "No space left on device" in status["message"]


def test_the_same_line_repeats_what_a_failed_last_save_lost(toy, world, tmp_path, refuse, metrics_of, monkeypatch):
    toy.train_toy(tmp_path / "whole", toy.ToyTask(), world)
    refuse(10)
    with pytest.raises(SaveError):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    monkeypatch.undo()
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "whole")


def test_a_stop_whose_save_fails_is_no_preemption(toy, world, tmp_path, refuse):
    refuse(3)
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 3, signal.SIGTERM)
    with pytest.raises(SaveError, match="step 3 could not be saved"):
        toy.train_toy(tmp_path / "run", task, world)


@pytest.mark.parametrize("call", ["mkdir", "write_manifest", "publish"])
def test_a_disk_that_refuses_at_any_other_point_of_a_save_leaves_the_run_going(
    toy, world, tmp_path, monkeypatch, call, capsys
):
    """`mkdir` is what a read-only disk refuses first; permissions do not bind every user, so it is injected."""
    calls = iter(range(100))
    owner = Path if call == "mkdir" else checkpointing
    real = getattr(owner, call)

    def refusing(first, *arguments, **options):
        if ".step-" in str(first) and next(calls) == 0:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(first))
        return real(first, *arguments, **options)

    monkeypatch.setattr(owner, call, refusing)
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    assert "step 5 could not be saved (Read-only file system" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000010"]
    verify(outcome.checkpoint)


def test_a_file_that_rank_0_cannot_see_keeps_a_checkpoint_from_its_name(toy, world, tmp_path, monkeypatch, capsys):
    """What every rank wrote is on a disk of its own, say."""
    write = saving.write_tensors

    def elsewhere(path, tensors, metadata=None):
        entry = write(path, tensors, metadata)
        if "step-00000005" in str(path) and "optimizer" in str(path):
            path.unlink()
        return entry

    monkeypatch.setattr(saving, "write_tensors", elsewhere)
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    told = capsys.readouterr().err
    assert "step 5 could not be saved" in told
    assert "rank-00000.safetensors: listed in MANIFEST.json and not there; do all processes see the same disk?" in told
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000010"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_cannot_be_written_leaves_the_run_going(toy, world, tmp_path, capsys):
    task = toy.ToyTask()
    validate = task.validate

    def protected(forward, world):
        folder = tmp_path / "run/checkpoints"
        folder.chmod(0o500 if folder.stat().st_mode & 0o200 else 0o700)
        return validate(forward, world)

    task.validate = protected
    toy.train_toy(tmp_path / "run", task, world, train__save_in_background=False)
    assert "step 5 could not be saved (Permission denied" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.distributed
def test_a_limit_on_one_rank_alone_is_agreed_on_by_all(tmp_path, metrics_of):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            patch.delenv(name, raising=False)
        script = Path(__file__).with_name("refusing_ranks.py")
        assert start_ranks(2, [sys.executable, str(script), str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["for a while"] == ["", ""]
    assert [path.name for path in (tmp_path / "for a while/checkpoints").iterdir()] == ["step-00000010"]
    assert "rank-00001.safetensors" in (tmp_path / "for a while/log.txt").read_text()
    assert len(set(report["for good"])) == 1
    assert report["for good"][0].startswith(
        "SaveError, exit 1: the checkpoint of step 10 could not be saved (File too large"
    )
    assert list((tmp_path / "for good/checkpoints").iterdir()) == []
