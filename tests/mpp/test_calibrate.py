"""`polycli calibrate mpp` on a tiny model: bounds are those of numpy, and bad input is told."""

import json
import shutil

import numpy as np
import pytest

from polycli.__main__ import run as command_line
from polycli.checkpoints.calibration import calibration_beside, read_calibration
from polycli.checkpoints.manifest import checkpoint_name, write_manifest
from polycli.errors import CheckpointError, RecipeError, StoreError, UserError
from polycli.inspection import inspect_path
from polycli.mpp import calibrate
from polycli.requests import CalibrateRequest
from polycli.store.reader import open_store
from tests.mpp.test_eval import HISTORY, predict_one, rows_of, save_model, vrmse

SPLITS = ("train", *("validation",) * 20, *("test",) * 6)
FRAMES = 7
STEPS = FRAMES - HISTORY


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def store(store_factory):
    return store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=SPLITS, frames=FRAMES)


def run(tmp_path, *stores, overrides=(), **options):
    request = CalibrateRequest(
        checkpoint=tmp_path / "model" / "model.safetensors", data=stores, overrides=overrides, json=True, **options
    )
    return calibrate.run(request)


def rolled(model, data):
    """(trajectory, step, C, H, W): the model's frames, each fed back."""
    forecasts = []
    for trajectory in data.astype(np.float32):
        frames = list(trajectory[:HISTORY])
        for _ in range(STEPS):
            frames.append(predict_one(model, np.stack(frames[-HISTORY:]), [4, 5], periodic=False).astype(np.float32))
        forecasts.append(np.stack(frames[HISTORY:]))
    return np.stack(forecasts)


def test_bounds_are_the_order_statistics_of_the_trajectories_scores(tmp_path, model, store):
    document = run(tmp_path, store)
    truth = rows_of(store, "validation")
    forecasts, truth = rolled(model, truth), truth[:, HISTORY:]
    distance = np.sort(np.abs(forecasts - truth).reshape(20, STEPS, 2, -1), axis=-1)
    scores = distance[..., int(np.ceil(0.95 * 256)) - 1]
    errors = vrmse(forecasts, truth)
    so_far = np.maximum.accumulate(errors, axis=1)
    mean_so_far = np.maximum.accumulate(errors.mean(axis=2), axis=1)
    found = read_calibration(calibration_beside(tmp_path / "model" / "model.safetensors"))
    assert found.levels == (0.68, 0.9, 0.95)
    ranks = [15, 19, 20]  # ceil(21 * level)
    groups = found.data["dr"].groups
    assert len(groups) == STEPS * (2 + 3)
    for step in range(STEPS):
        for index, field in enumerate(("diffusion_reaction.activator", "diffusion_reaction.inhibitor")):
            expected = np.sort(scores[:, step, index])[[rank - 1 for rank in ranks]]
            np.testing.assert_allclose(groups[f"{field} step {step + 1}"].bounds, expected, rtol=2e-4)
            expected = np.sort(so_far[:, step, index])[[rank - 1 for rank in ranks]]
            np.testing.assert_allclose(groups[f"error {field} step {step + 1}"].bounds, expected, rtol=2e-4)
        expected = np.sort(mean_so_far[:, step])[[rank - 1 for rank in ranks]]
        np.testing.assert_allclose(groups[f"error step {step + 1}"].bounds, expected, rtol=2e-4)
    assert {group.units for group in groups.values()} == {20}
    assert document["datasets"]["dr"]["groups"]["error step 1"]["units"] == 20
    assert document["datasets"]["dr"]["about"]["steps"] == STEPS
    assert document["model_hash"] == found.model_hash


def test_with_all_points_the_bound_is_that_of_the_largest_error(tmp_path, model, store):
    run(tmp_path, store, overrides=("points=1", "levels=[0.5]", "rollout_steps=1", "from_frame=2"))
    (file,) = (tmp_path / "model").glob("*.calibration.json")
    found = read_calibration(file)
    made = {"history": HISTORY, "time_stride": 1, "predicts": "change", "jitter": "none"}
    assert found.settings == {"points": 1.0, "from_frame": 2, "draws": 1, **made}
    truth = rows_of(store, "validation")
    forecast = np.stack([predict_one(model, row[2:5], [4, 5], periodic=False) for row in truth])
    largest = np.abs(forecast - truth[:, 5]).max(axis=(-2, -1))
    expected = np.sort(largest[:, 0])[10]  # ceil(21 / 2) = 11
    (bound,) = found.data["dr"].groups["diffusion_reaction.activator step 1"].bounds
    assert bound == pytest.approx(expected, rel=2e-4)
    assert set(found.data["dr"].groups) == {
        *(
            f"{start}diffusion_reaction.{name} step 1"
            for start in ("", "error ")
            for name in ("activator", "inhibitor")
        ),
        "error step 1",
    }


def test_the_command_writes_beside_the_checkpoint_of_a_run_and_prints_a_table(tmp_path, model, store, capsys):
    checkpoint = tmp_path / "run" / "checkpoints" / checkpoint_name(7)
    checkpoint.parent.mkdir(parents=True)
    shutil.move(tmp_path / "model", checkpoint)
    write_manifest(checkpoint, step=7, family="mpp", verb="pretrain", world_size=1, zero_stage=0)
    line = ["calibrate", "mpp", "--checkpoint", str(tmp_path / "run"), "--data", str(store)]
    assert command_line(line) == 0
    said = capsys.readouterr()
    assert "Bands" in said.out
    assert "diffusion_reaction.activator" in said.out
    file = checkpoint / "model.calibration.json"
    assert f"calibration: {file}" in said.err
    assert command_line(["inspect", str(file), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "a calibration of a model of mpp" in said
    assert "dr: 20 bounds, each from 20 rows or more" in said
    assert inspect_path(checkpoint, verify=True).document["kind"] == "checkpoint"
    assert command_line([*line, "--json"]) == 2
    assert "has bounds for dr already" in capsys.readouterr().err
    assert command_line([*line, "--json", "--set", "overwrite=true"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(file)


def test_a_second_dataset_is_added_and_other_levels_are_refused(tmp_path, model, store, store_factory, capsys):
    run(tmp_path, store)
    other = store_factory("swe", splits=SPLITS, frames=FRAMES, seed=3)
    run(tmp_path, other)
    file = calibration_beside(tmp_path / "model" / "model.safetensors")
    assert list(read_calibration(file).data) == ["dr", "swe"]
    with pytest.raises(UserError, match=r"bounds for levels 0\.68, 0\.9, 0\.95 and points 0\.95.*asked for are 0\.5"):
        run(tmp_path, other, overrides=("levels=[0.5]",))
    assert "dropped" not in capsys.readouterr().err
    run(tmp_path, other, overrides=("levels=[0.5]", "overwrite=true"))
    assert "the bounds for dr will be dropped, for they are of levels 0.68, 0.9, 0.95" in capsys.readouterr().err
    assert list(read_calibration(file).data) == ["swe"]


def test_too_few_trajectories_are_refused_with_the_number_that_is_needed(tmp_path, model, store):
    with pytest.raises(
        StoreError, match=r"18 trajectories to calibrate on, a bound for 0\.95 needs 19 \(1 / 0\.05 - 1\)"
    ) as caught:
        run(tmp_path, store, limit=18)
    assert "levels=[0.68, 0.9]" in caught.value.hint
    assert caught.value.exit_code == 2
    run(tmp_path, store, limit=18, overrides=("levels=[0.68, 0.9]",))
    with pytest.raises(StoreError, match=r"20 trajectories to calibrate on, a bound for 0\.99 needs 99"):
        run(tmp_path, store, overrides=("levels=[0.99]", "overwrite=true"))


def test_rows_that_also_test_are_refused_by_their_content(tmp_path, model, store, store_factory):
    with pytest.raises(StoreError, match="6 of the 6 trajectories to calibrate on also test"):
        run(tmp_path, store, split="test", overrides=("levels=[0.5]",))
    small = store_factory("small", splits=("train", *("test",) * 20), frames=FRAMES, seed=1)
    with pytest.raises(StoreError, match=r"20 of the 20 .* also test: the store has none that only validate"):
        run(tmp_path, small)
    # The same trajectories under another name, where they only validate.
    again = store_factory("again", splits=("train", *("validation",) * 20), frames=FRAMES, seed=1)
    with pytest.raises(StoreError, match=r"again\.zarr: 20 of the 20 trajectories to calibrate on also test"):
        run(tmp_path, again, small, overrides=("levels=[0.5]",))
    assert not list((tmp_path / "model").glob("*.calibration.json"))


def test_rows_that_were_trained_on_are_refused(tmp_path, store):
    rows = open_store(store).manifest.row_hashes
    save_model(tmp_path / "model", {"swe": {"store_hash": "0", "rows": [rows[3]]}})
    with pytest.raises(StoreError, match="trained on 1 of the 20 trajectories to be scored, such as 0003"):
        run(tmp_path, store)
    run(tmp_path, store, allow_overlap=True)


def test_a_calibration_of_other_weights_is_refused_by_name_and_replaced_if_asked(tmp_path, model, store):
    run(tmp_path, store)
    file = calibration_beside(tmp_path / "model" / "model.safetensors")
    older = read_calibration(file).model_hash
    weights = tmp_path / "model" / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(CheckpointError, match=rf"calibrated for other weights, .*{older[:12]}") as caught:
        run(tmp_path, store)
    assert "overwrite=true" in caught.value.hint
    run(tmp_path, store, overrides=("overwrite=true",))
    assert read_calibration(file).model_hash != older


def test_what_stands_at_the_output_and_is_no_calibration_stays(tmp_path, model, store, capsys):
    mine = tmp_path / "mine.json"
    mine.write_text('{"a": 1}')
    line = ["calibrate", "mpp", "--checkpoint", str(tmp_path / "model/model.safetensors"), "--data", str(store)]
    assert command_line([*line, "--output", str(mine)]) == 2
    assert "is not replaced, for it is not calibrations that polycli wrote" in capsys.readouterr().err
    assert mine.read_text() == '{"a": 1}'
    assert command_line([*line, "--output", str(tmp_path / "bands.txt")]) == 2
    assert "the suffix says the format: .json" in capsys.readouterr().err
    assert command_line([*line, "--set", "levels=[95]"]) == 2
    assert "shares between 0 and 1" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="pionts"):
        run(tmp_path, store, overrides=("pionts=1",))


def test_a_damaged_calibration_is_told(tmp_path, model, store, capsys):
    run(tmp_path, store)
    file = calibration_beside(tmp_path / "model" / "model.safetensors")
    text = file.read_text()
    file.write_text(text.replace('"units": 20', '"units": 21', 1))
    with pytest.raises(CheckpointError, match="damaged, its content does not match its own"):
        read_calibration(file)
    assert command_line(["inspect", str(file)]) == 2
    for forged in ("[]", "{", '{"format": "polycli-calibration"}', text[: len(text) // 2]):
        file.write_text(forged)
        with pytest.raises(UserError):
            run(tmp_path, store)


def test_rollouts_that_fail_widen_the_bound_to_infinity(tmp_path, model, store):
    import torch

    from polycli.checkpoints.exported import ModelDescription, write_model

    with torch.no_grad():
        model.debed.out_bias.fill_(3e38)
    description = ModelDescription.model_validate_json((tmp_path / "model" / "model.json").read_text())
    write_model(tmp_path / "model", model.state_dict(), description)
    run(tmp_path, store)
    groups = read_calibration(calibration_beside(tmp_path / "model" / "model.safetensors")).data["dr"].groups
    assert groups["diffusion_reaction.activator step 4"].bounds == (None, None, None)
    assert groups["error step 4"].bounds == (None, None, None)


def test_draws_need_a_model_that_jitters_its_forecasts(tmp_path, model, store):
    with pytest.raises(UserError, match=r"draws=4: forecasts of .* have one draw, for they jitter") as caught:
        run(tmp_path, store, overrides=("draws=4",))
    assert "model.jitter=always" in caught.value.hint


def test_export_takes_the_calibration_along(tmp_path, model, store, capsys):
    run(tmp_path, store)
    weights, target = tmp_path / "model" / "model.safetensors", tmp_path / "shared" / "small.safetensors"
    assert command_line(["export", str(weights), "--output", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == str(calibration_beside(target))
    names = ["small.calibration.json", "small.json", "small.safetensors"]
    assert sorted(path.name for path in target.parent.iterdir()) == names
    assert calibration_beside(target).read_text() == calibration_beside(weights).read_text()
