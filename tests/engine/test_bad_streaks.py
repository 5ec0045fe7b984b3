"""States of a streak of bad steps are never named good, nor gone on from by themselves."""

import json
import math
import signal

import pytest
import torch
from safetensors.torch import load_file

from polycli.errors import PreemptedError, TrainingError

EVERY_STEP = {"train__checkpoint_every": 1, "train__validate_every": 100, "train__keep_last": 100}


def steps_of(run) -> list[int]:
    return sorted(int(folder.name.removeprefix("step-")) for folder in (run / "checkpoints").glob("step-*"))


def exploding(toy, after: int):
    """A task whose weights are 1e30 after step `after`, which is taken; every step from there on is bad."""
    task = toy.ToyTask()
    forward, seen = task.model.forward, []

    def explode(batch):
        if task.model.training:
            seen.append(batch)
            if len(seen) == after + 1:
                with torch.no_grad():
                    task.model.last.weight.fill_(1e30)
        return forward(batch)

    task.model.forward = explode
    return task


def test_a_save_that_is_due_in_a_streak_waits_for_its_end(toy, world, tmp_path):
    task = toy.ToyTask(poison={3: 0, 4: 0, 5: 0})
    settings = {"train__steps": 9, "train__checkpoint_every": 4, "train__keep_last": 9}
    toy.train_toy(tmp_path / "run", task, world, train__max_bad_steps=4, **settings)
    # Steps 4 to 6 are bad: the save of step 4 is that of step 7.
    assert steps_of(tmp_path / "run") == [7, 8, 9]


def test_a_run_that_ends_in_a_streak_names_a_checkpoint_with_sound_weights_and_goes_on_from_it(
    toy, world, tmp_path, capsys
):
    with pytest.raises(TrainingError) as failed:
        toy.train_toy(tmp_path / "run", exploding(toy, after=4), world, train__max_bad_steps=3, **EVERY_STEP)
    assert "the last good checkpoint is" in failed.value.hint
    named = failed.value.hint.split(" is ")[1].split(";")[0]
    weights = load_file(f"{named}/model.safetensors")
    assert max(float(tensor.abs().max()) for tensor in weights.values()) < 100
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], f"{tmp_path}/run/{status['checkpoint']}") == ("failed", named)

    capsys.readouterr()
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__max_bad_steps=3, **EVERY_STEP)
    assert f"from {named};" in capsys.readouterr().err


def test_a_resume_after_a_streak_equals_a_run_without_one(toy, world, tmp_path, metrics_of):
    toy.train_toy(tmp_path / "whole", toy.ToyTask(dropout=0.3), world, **EVERY_STEP)
    with pytest.raises(TrainingError):
        toy.train_toy(
            tmp_path / "cut", toy.ToyTask(dropout=0.3, poison={4: 0, 5: 0}), world, train__max_bad_steps=2, **EVERY_STEP
        )
    toy.train_toy(tmp_path / "cut", toy.ToyTask(dropout=0.3), world, **EVERY_STEP)
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")


def test_a_checkpoint_from_which_every_step_was_bad_is_trusted_again_where_somebody_says_so(
    toy, world, tmp_path, capsys
):
    task = toy.ToyTask(poison={4: 0, 5: 0})
    with pytest.raises(TrainingError, match="step-00000003"):
        toy.train_toy(tmp_path / "run", task, world, train__max_bad_steps=2, **EVERY_STEP)
    (tmp_path / "run/checkpoints/step-00000004/DOUBTFUL.txt").unlink()
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, **EVERY_STEP)
    assert "step-00000004; " in capsys.readouterr().err


def test_a_stop_within_a_streak_is_resumed_from_before_it_and_says_so(toy, world, tmp_path, metrics_of, capsys):
    bad = {4: 0, 5: 0}
    toy.train_toy(tmp_path / "whole", toy.ToyTask(poison=bad), world, **EVERY_STEP)
    task = toy.ToyTask(poison=bad)
    toy.send_signal_in_step(task, 6, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "cut", task, world, **EVERY_STEP)
    assert steps_of(tmp_path / "cut") == [1, 2, 3, 4, 6]
    toy.train_toy(tmp_path / "cut", toy.ToyTask(poison=bad), world, **EVERY_STEP)
    assert "step-00000006: it was saved in a streak of 2 bad steps; passed over" in capsys.readouterr().err
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")


def test_the_only_checkpoint_is_gone_on_from_even_if_it_is_doubtful(toy, world, tmp_path, capsys):
    task = toy.ToyTask(poison={0: 0, 1: 0})
    toy.send_signal_in_step(task, 2, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world)
    toy.train_toy(tmp_path / "run", toy.ToyTask(poison={0: 0, 1: 0}), world)
    assert "there is no better one to go on from" in capsys.readouterr().err


def test_a_run_whose_last_steps_are_bad_is_complete_and_says_whose_weights_it_has(toy, world, tmp_path, capsys):
    toy.train_toy(tmp_path / "run", toy.ToyTask(poison={8: 0, 9: 0}), world)
    assert "the weights are those of step 8" in capsys.readouterr().err
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    assert "complete already" in capsys.readouterr().err
    assert outcome.step == 10
    assert math.isnan(outcome.validation.get("validation/loss", math.nan))
