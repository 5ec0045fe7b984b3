"""Parameters of the physics: a head on a checkpoint learns them, frozen or not; what cannot be learnt is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from polycli.errors import StoreError
from polycli.mpp import load_model
from polycli.mpp.model.regression import window_statistics
from polycli.mpp.recipe.regression import HeadSection
from polycli.mpp.recipe.training import DataSection
from polycli.mpp.training.targets import describe_head
from polycli.store.reader import open_store

SPLITS = ("train",) * 24 + ("validation",) * 6 + ("test",) * 6


def described(run):
    return json.loads(next((run / "checkpoints").glob("*/model.json")).read_text(encoding="utf-8"))


def test_a_relation_between_frames_and_a_parameter_is_learnt_and_scaled_by_the_training_rows(
    tmp_path, tune, wave_store
):
    store = wave_store("waves", SPLITS)
    found = tune(store)
    assert found["validation"]["validation/speed/r2"] > 0.8
    model = load_model(tmp_path / "run")
    opened = open_store(store)
    speeds = opened.read("params")[:, 0]
    train = speeds[opened.rows("train")]
    (target,) = model.head.targets
    assert (target.centre, target.scale) == (pytest.approx(train.mean()), pytest.approx(train.std()))
    assert (target.low, target.high, target.logarithm) == (train.min(), train.max(), False)
    # By an independent route: the answers for the validation windows, against the speeds that the waves were made with.
    rows = opened.rows("validation")
    frames = torch.from_numpy(opened.read_rows("fields", rows))
    with torch.inference_mode():
        windows = [frames[:, start : start + 2] for start in range(frames.shape[1] - 1)]
        answers = torch.stack(
            [model.answers(each, torch.tensor([0]), torch.ones(len(rows), 2, dtype=torch.long)) for each in windows]
        )
    errors = answers[..., 0].numpy() - speeds[rows]
    truth = np.broadcast_to(speeds[rows], errors.shape)
    assert found["validation"]["validation/speed/rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=0.2)
    assert 1 - (errors**2).mean() / truth.var() > 0.75


def test_a_probe_keeps_the_network_and_a_finetuning_moves_it(tmp_path, tune, wave_checkpoint, wave_store):
    store = wave_store("waves", SPLITS)
    tune(store, output="probe", overrides=("freeze=all", "train.steps=30"))
    tune(store, output="whole", overrides=("train.steps=2",))
    before = dict(load_model(wave_checkpoint).named_parameters())
    probe, whole = (dict(load_model(tmp_path / name).named_parameters()) for name in ("probe", "whole"))
    assert all(torch.equal(probe[name], value) for name, value in before.items())
    still = {name for name, value in before.items() if torch.equal(whole[name], value)}
    # What decodes frames is not asked; the idle bias of the published norm layers has no gradient in any training.
    assert {name for name in still if not name.startswith("debed.")} == {
        name
        for name, value in type(load_model(wave_checkpoint))(load_model(wave_checkpoint).section).named_parameters()
        if not value.requires_grad and not name.startswith("debed.")
    }
    assert described(tmp_path / "probe")["frozen"] == "all"
    assert set(described(tmp_path / "probe")["trained_on"]) == {"waves", "other (--checkpoint)"}


def test_vectors_that_are_made_once_train_as_those_of_every_step(tmp_path, tune, wave_store):
    store = wave_store("waves", SPLITS)
    # 24 trajectories of 7 windows: 21 steps of 8 windows come to all of them, 20 do not.
    cached = tune(store, output="cached", overrides=("freeze=all", "train.steps=21", "train.checkpoint_every=20"))
    tune(store, output="each", overrides=("freeze=all", "train.steps=20", "schedule.name=constant"))
    again = tune(store, output="once", overrides=("freeze=all", "train.steps=21", "schedule.name=constant"))
    assert cached["step"] == again["step"] == 21
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("each", "once")
    ]
    first = [next(line["loss"] for line in part if line["kind"] == "train" and line["step"] == 10) for part in lines]
    # The inputs are standardised by some windows in one case and by all in the other.
    assert first[0] == pytest.approx(first[1], rel=0.2)


@pytest.mark.distributed
def test_two_processes_learn_what_one_learns(tmp_path, tune, wave_checkpoint, wave_store):
    store = wave_store("waves", SPLITS)
    settings = ("freeze=all", "train.steps=21", "train.micro_batch_size=4")
    tune(store, output="one", overrides=settings)
    words = ["finetune", "mpp", "--recipe", tmp_path / "regression.yaml", "--checkpoint", wave_checkpoint]
    words += ["--data", store, "--output", tmp_path / "two", "--nproc", "2"]
    words += [word for setting in settings for word in ("--set", setting)]
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")
    done = subprocess.run(
        [sys.executable, "-m", "polycli", *map(str, words)],
        env={key: value for key, value in os.environ.items() if key not in launcher},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = (load_model(tmp_path / name).state_dict() for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


def test_scratch_has_the_sizes_of_the_checkpoint_and_none_of_its_weights(tmp_path, tune, wave_checkpoint, wave_store):
    store = wave_store("waves", SPLITS)
    tune(store, output="scratch", overrides=("init.weights=scratch", "train.steps=1", "optim.learning_rate=1.0e-9"))
    before, after = load_model(wave_checkpoint), load_model(tmp_path / "scratch")
    assert after.section == before.section
    assert not torch.allclose(after.space_bag.weight, before.space_bag.weight)
    assert set(described(tmp_path / "scratch")["trained_on"]) == {"waves"}


def test_values_over_many_decades_are_learnt_as_logarithms_and_that_is_said(tmp_path, tune, wave_store, capsys):
    store = wave_store("waves", SPLITS, names=("speed", "viscosity"))
    tune(store, overrides=("head.targets=[viscosity]", "train.steps=1"))
    assert "its log10 is learnt" in capsys.readouterr().err
    opened = open_store(store)
    train = opened.read("params")[opened.rows("train"), 1]
    (target,) = load_model(tmp_path / "run").head.targets
    assert target.logarithm
    assert target.centre == pytest.approx(np.log10(train).mean())
    tune(store, output="plain", overrides=("head.targets=[viscosity]", "head.logarithm=[]", "train.steps=1"))
    assert not load_model(tmp_path / "plain").head.targets[0].logarithm


def test_the_head_is_told_the_sizes_that_the_network_normalises_away():
    frames = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    bigger = window_statistics(100 * frames + 5, torch.tensor([1]), 3)
    small = window_statistics(frames, torch.tensor([1]), 3)
    assert bigger.shape == (2, 9)
    assert bigger[:, [0, 1, 2, 6, 7, 8]].abs().max() == 0  # states that are not there
    torch.testing.assert_close(bigger[:, 4] - small[:, 4], torch.full((2,), 2.0))
    torch.testing.assert_close(bigger[:, 5], small[:, 5])
    mean, spread = (100 * frames + 5).mean(dim=(1, 2, 3, 4)), (100 * frames + 5).std(dim=(1, 2, 3, 4))
    torch.testing.assert_close(bigger[:, 3], (mean / spread).asinh())


def test_trajectories_without_the_parameter_are_left_out_and_counted(tmp_path, tune, wave_store, capsys):
    store = wave_store("waves", SPLITS, unknown=(0, 3, 24))
    tune(store, overrides=("train.steps=1",))
    assert "waves: 2 of 24 training trajectories lack speed; they are left out" in capsys.readouterr().err
    data = json.loads((tmp_path / "run" / "data.json").read_text(encoding="utf-8"))
    assert (data["waves"]["training"]["trajectories"], data["waves"]["validation"]["trajectories"]) == (22, 5)


def test_a_constant_of_each_store_is_a_target_of_several(tmp_path, tune, wave_store):
    stores = [wave_store(f"w{index}", SPLITS[22:26], seed=index, constants={"depth": float(index)}) for index in (1, 3)]
    tune(*stores, overrides=("head.targets=[depth]", "train.steps=1"))
    (target,) = load_model(tmp_path / "run").head.targets
    assert (target.centre, target.scale, target.low, target.high) == (2, 1, 1, 3)


@pytest.mark.parametrize(("largest", "warned"), [(3000.0, True), (9.0, False)])
def test_stores_whose_targets_differ_in_size_as_those_in_other_units_do_are_warned_of(
    wave_store, capsys, largest, warned
):
    depths = {"metres": 3.0, "others": largest}
    stores = [open_store(wave_store(name, SPLITS[22:26], constants={"depth": one})) for name, one in depths.items()]
    describe_head(stores, HeadSection(kind="regression", targets=("depth",)), DataSection(history=2))
    sentence = f"depth is 3 to 3 in metres and {largest:g} to {largest:g} in others: one head learns both"
    assert (sentence in " ".join(capsys.readouterr().err.split())) is warned


def test_what_cannot_be_learnt_is_refused_with_the_ways_out_and_nothing_is_written(tmp_path, tune, wave_store):
    store = wave_store("waves", SPLITS, constants={"gravity": 9.8})
    with pytest.raises(StoreError, match=r"gravity is 9\.8 in all 24 training trajectories") as caught:
        tune(store, overrides=("head.targets=[gravity]",))
    assert caught.value.hint == "these vary: speed"
    with pytest.raises(StoreError, match=r"has no parameter 'sped' \(nearest: speed\); it has speed, gravity"):
        tune(store, overrides=("head.targets=[sped]",))
    with pytest.raises(StoreError, match="0 training trajectories have a value of speed"):
        tune(wave_store("unknown", SPLITS, unknown=range(36)))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_the_head_and_a_next_frame_finetuning_drops_it(tmp_path, tune, wave_store):
    store = wave_store("waves", SPLITS)
    planned = tune(store, dry_run=True)
    tune(store, overrides=("train.steps=1",))
    model = load_model(tmp_path / "run")
    assert planned["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    tune(
        store,
        output="frames",
        checkpoint=tmp_path / "run",
        overrides=("head={kind: none}", "train.steps=1"),
    )
    frames = load_model(tmp_path / "frames")
    assert not any(name.startswith("parameter_head") for name in frames.state_dict())
