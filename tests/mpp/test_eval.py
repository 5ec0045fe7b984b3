"""`polycli eval mpp` on tiny stores and a tiny untrained model, against numpy written out here."""

import base64
import json
import re
from io import BytesIO

import numpy as np
import pytest
import torch
import zarr
from matplotlib import image

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.checkpoints.manifest import write_manifest
from polycli.errors import CheckpointError, RecipeError, StoreError, UserError
from polycli.mpp import eval as evaluation
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection
from polycli.requests import EvalRequest
from polycli.store.reader import Window, open_store
from tests.mpp.conftest import drifting_waves

HISTORY = 3
SECTION = ModelSection(embed_dim=16, num_heads=2, blocks=1, patch_size=4, predicts="change", drop_path=0.0)
QUICK = ("bootstrap_samples=50", "report=false")


def save_model(folder, trained_on=None, section=SECTION, frames=None):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = AViT(section).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # Layer scales start near zero, where all models predict alike.
            parameter.add_(0.05 * torch.randn(parameter.shape))
    description = ModelDescription(
        family="mpp",
        verb="pretrain",
        version="0",
        step=7,
        model=section.model_dump(mode="json"),
        trained_on=trained_on or {},
        data=frames or {"history": HISTORY, "time_stride": 1},
    )
    write_model(folder, model.state_dict(), description)
    return model


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


def evaluate(tmp_path, *stores, overrides=(), output="out", **options):
    request = EvalRequest(
        checkpoint=tmp_path / "model" / "model.safetensors",
        data=tuple(stores),
        output=tmp_path / output,
        overrides=(*QUICK, *overrides),
        json=True,
        **options,
    )
    return evaluation.run(request)


def rows_of(path, split="test"):
    store = open_store(path)
    frames = store.manifest.arrays["fields"].shape[1]
    return store.read_windows("fields", [Window(int(row), 0, frames) for row in store.rows(split)]).astype(np.float64)


def nrmse(prediction, target):
    """(..., C, H, W) to (..., C), by the formula in the papers."""
    return np.sqrt(((prediction - target) ** 2).mean((-2, -1)) / ((target**2).mean((-2, -1)) + 1e-7))


def vrmse(prediction, target):
    return np.sqrt(((prediction - target) ** 2).mean((-2, -1)) / (target.var((-2, -1), ddof=1) + 1e-7))


def predict_one(model, frames, labels, periodic):
    with torch.inference_mode():
        flags = torch.full((1, 2), int(periodic))
        return model(torch.tensor(frames[None], dtype=torch.float32), torch.tensor(labels), flags)[0].double().numpy()


def test_one_step_scores_are_those_of_numpy(tmp_path, model, store_factory):
    path = store_factory(
        "dr", physics="diffusion_reaction", boundary="wall", splits=("train", "test", "test"), frames=7
    )
    scores = evaluate(tmp_path, path)["datasets"]["dr"]["one_step"]
    data, labels = rows_of(path), [4, 5]
    for metric, measure in (("nrmse", nrmse), ("vrmse", vrmse)):
        errors = np.empty((3, 2, 4, 2))
        for row, trajectory in enumerate(data):
            for start in range(4):
                context, target = trajectory[start : start + HISTORY], trajectory[start + HISTORY]
                errors[0, row, start] = measure(predict_one(model, context, labels, periodic=False), target)
                errors[1, row, start] = measure(context[-1], target)
                errors[2, row, start] = measure(2 * context[-1] - context[-2], target)
        found = scores[metric]
        means = [found[method] for method in ("model", "persistence", "linear")]
        np.testing.assert_allclose(means, errors.mean((1, 2, 3)), rtol=2e-4)
        field = found["fields"]["diffusion_reaction.inhibitor"]["model"]
        assert field == pytest.approx(errors[0, ..., 1].mean(), rel=2e-4)
        assert found["ratio"] == pytest.approx(errors[0].mean() / errors[1].mean(), rel=2e-4)
    assert scores["windows_per_trajectory"] == scores["windows_available"] == 4


def test_numbers_whose_squares_are_beyond_float32_have_errors_all_the_same(tmp_path, model, store_factory, capsys):
    """Any error over infinity was 0: persistence and extrapolation were perfect."""
    data = 1e20 * drifting_waves(3, 8, 1, (16, 16), seed=0)
    path = store_factory("huge", splits=("train", "test", "test"), data=data)
    scores = evaluate(tmp_path, path)["datasets"]["huge"]
    assert "overflow when squared; in units in which it is multiplied by 1e-" in capsys.readouterr().err
    rows = rows_of(path)
    for metric, measure in (("nrmse", nrmse), ("vrmse", vrmse)):
        errors = [measure(row[start - 1], row[start]).mean() for row in rows for start in range(HISTORY, 8)]
        assert scores["one_step"][metric]["persistence"] == pytest.approx(np.mean(errors), rel=1e-5)
        last = [measure(row[HISTORY - 1], row[HISTORY]).mean() for row in rows]
        assert scores["rollout"][metric]["step_1"]["persistence"] == pytest.approx(np.mean(last), rel=1e-5)


def test_rollout_scores_are_those_of_numpy_and_context_frames_are_not_counted(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test", "test"), frames=10)
    rollout = evaluate(tmp_path, path)["datasets"]["swe"]["rollout"]
    data = rows_of(path)
    errors = np.empty((3, 2, 7))
    for row, trajectory in enumerate(data):
        frames = list(trajectory[:HISTORY].astype(np.float32))
        for step in range(7):
            frames.append(predict_one(model, np.stack(frames[-HISTORY:]), [0], periodic=True).astype(np.float32))
            target = trajectory[HISTORY + step]
            last, before = trajectory[HISTORY - 1], trajectory[HISTORY - 2]
            errors[0, row, step] = nrmse(frames[-1], target)[0]
            errors[1, row, step] = nrmse(last, target)[0]
            errors[2, row, step] = nrmse(last + (step + 1) * (last - before), target)[0]
    assert rollout["steps"] == 7, "ten frames, three of them known"
    for span, steps in (("step_1", 1), ("steps_1_to_5", 5), ("trajectory", 7)):
        found = [rollout["nrmse"][span][method] for method in ("model", "persistence", "linear")]
        np.testing.assert_allclose(found, errors[..., :steps].mean((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(rollout["nrmse"]["growth"]["model"], errors[0].mean(0), rtol=1e-3)
    below = errors[0] < errors[1]
    expected = [next((k for k, is_below in enumerate(row) if not is_below), 7) for row in below]
    assert rollout["nrmse"]["steps_below_persistence"]["least"] == min(expected)


def test_a_stride_takes_every_nth_frame(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test"), frames=11)
    found = evaluate(tmp_path, path, overrides=("data.time_stride=2",))
    assert found["datasets"]["swe"]["one_step"]["windows_available"] == 5
    rollout = found["datasets"]["swe"]["rollout"]
    assert (rollout["steps"], rollout["interval"]) == (3, pytest.approx(0.2))
    data = rows_of(path)[0]
    expected = [nrmse(data[4], data[6 + 2 * k])[0] for k in range(3)]
    np.testing.assert_allclose(rollout["nrmse"]["growth"]["persistence"], expected, rtol=1e-4)


def test_an_even_subset_of_windows_runs_from_the_first_to_the_last(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test", "test"), frames=12)
    found = evaluate(tmp_path, path, overrides=("max_windows=7", "rollout_steps=2"))["datasets"]["swe"]
    assert (found["one_step"]["windows_per_trajectory"], found["one_step"]["windows_available"]) == (3, 9)
    data = rows_of(path)
    expected = np.mean([nrmse(row[start + 2], row[start + 3])[0] for row in data for start in (0, 4, 8)])
    assert found["one_step"]["nrmse"]["persistence"] == pytest.approx(expected, rel=1e-4)
    assert found["rollout"]["steps"] == 2
    assert "steps_1_to_5" not in found["rollout"]["nrmse"]


def test_scores_have_the_fixed_shape_and_say_where_they_come_from(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", *("test",) * 4))
    found = evaluate(tmp_path, path)
    assert found == json.loads((tmp_path / "out" / "scores.json").read_text())
    keys = {"split", "checkpoint", "selected_by", "store_hash", "model_hash", "version", "datasets"}
    assert keys <= set(found)
    assert found["store_hash"] == {"swe": open_store(path).manifest.store_hash}
    assert found["selected_by"] == "as given: step 7"
    assert (found["history"], found["time_stride"]) == (HISTORY, 1)
    for part in ("one_step", "rollout"):
        entry = found["datasets"]["swe"][part]["nrmse"]
        entry = entry if part == "one_step" else entry["trajectory"]
        assert entry["interval"][0] <= entry["model"] <= entry["interval"][1]
        assert entry["ratio_interval"][0] <= entry["ratio"] <= entry["ratio_interval"][1]
        assert entry["interval"][0] < entry["interval"][1]
    again = evaluate(tmp_path, path)
    assert again == found, "equal input gives equal scores"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["scores.json"]


def test_the_report_needs_nothing_else_and_holds_every_figure(tmp_path, model, store_factory):
    earlier = store_factory("of_an_earlier_evaluation", splits=("train", "test"))
    evaluate(tmp_path, earlier, overrides=("report=true", "rollout_steps=1"))
    (tmp_path / "out" / "scores.json").write_text('{"split": "", "checkpoint": "", "version": "", "datasets": {}}')
    path = store_factory("swe", splits=("train", "test", "test"))
    evaluate(tmp_path, path, overrides=("report=true", "rollout_steps=2"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["figures", "report.html", "scores.json"]
    text = (tmp_path / "out" / "report.html").read_text()
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]*)"', text)
    files = list((tmp_path / "out" / "figures").glob("*.png"))
    assert {path.name for path in files} == {
        "summary.png",
        "swe.growth.png",
        "swe.height.png",
        "swe.spectra.png",
        "swe.conservation.png",
    }
    films = re.findall(r'<img src="data:image/gif;base64,', text)
    assert ([path.name for path in (tmp_path / "out" / "figures").glob("*.gif")], len(films)) == (["swe.film.gif"], 1)
    assert len(pictures) == len(files)
    for picture in pictures:
        assert image.imread(BytesIO(base64.b64decode(picture, validate=True))).shape[0] > 100
    assert not re.search(r"(src|href)=\"(?!data:|#)|url\(|@import|<script", text)
    evaluate(tmp_path, path, overrides=("rollout_steps=1",))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["scores.json"], "an old report does not fit new scores"


def test_trajectories_that_were_trained_on_are_refused_whatever_their_store_is_called(tmp_path, store_factory):
    path = store_factory("swe", splits=("train", "test", "test"))
    manifest = open_store(path).manifest
    save_model(tmp_path / "model", {"other_name": {"store_hash": "0", "rows": [manifest.row_hashes[2]]}})
    with pytest.raises(
        StoreError, match=r"trained on 1 of the 2 trajectories to be scored, such as 0002, in other_name"
    ):
        evaluate(tmp_path, path)
    assert not (tmp_path / "out").exists()
    allowed = evaluate(tmp_path, path, allow_overlap=True)
    assert allowed["overlap"] == {"checked": True, "trajectories": 1, "allowed": True}
    save_model(tmp_path / "model", {"swe": {"store_hash": "0", "rows": [manifest.row_hashes[0]]}})
    assert evaluate(tmp_path, path)["overlap"] == {"checked": True, "trajectories": 0, "allowed": False}


def test_every_store_that_was_trained_on_is_named_at_once(tmp_path, store_factory):
    one, two = (store_factory(name, splits=("train", "test")) for name in ("one", "two"))
    rows = [hash_ for path in (one, two) for hash_ in open_store(path).manifest.row_hashes]
    save_model(tmp_path / "model", {"all": {"store_hash": "0", "rows": rows}})
    with pytest.raises(StoreError, match=r"one\.zarr: the checkpoint was trained on 1 .*; .*two\.zarr: the checkpoint"):
        evaluate(tmp_path, one, two)


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, model, store_factory):
    good = store_factory("good", splits=("train", "test"))
    strange = store_factory("strange", fields=["shallow_water.depth"], splits=("train", "test"))
    train_only = store_factory("train_only", splits=("train",))
    short = store_factory("short", frames=3, splits=("train", "test"))
    cases = [
        (strange, {}, StoreError, "does not know the field shallow_water.depth"),
        (train_only, {}, StoreError, "no trajectory is in the split test"),
        (short, {}, StoreError, "3 frames, history 3 at time_stride 1 needs at least 4"),
        (good, {"overrides": ("histroy=3",)}, RecipeError, "histroy"),
        (good, {"overrides": ("data.history=no",)}, RecipeError, "data.history"),
    ]
    for path, options, kind, sentence in cases:
        with pytest.raises(kind, match=sentence) as caught:
            evaluate(tmp_path, path, **options)
        assert caught.value.exit_code == 2
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        evaluate(tmp_path, good, output="file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["1", "0"], ids=["a row that is scored", "a row of another split"])
def test_a_flipped_bit_in_a_store_ends_the_evaluation_and_leaves_nothing(tmp_path, model, store_factory, row):
    path = store_factory("swe", splits=("train", "test"))
    shard = max((path / "fields" / "c" / row).rglob("*"), key=lambda file: file.is_file() and file.stat().st_size)
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(StoreError, match=f"fields/c/{row}"):
        evaluate(tmp_path, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "stores"]


def test_a_truncated_checkpoint_and_one_of_another_family_are_refused(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test"))
    file = tmp_path / "model" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        evaluate(tmp_path, path)
    file.write_bytes(whole)
    description = tmp_path / "model" / "model.json"
    description.write_text(description.read_text().replace('"family": "mpp"', '"family": "xval"'))
    with pytest.raises(CheckpointError, match="xval"):
        evaluate(tmp_path, path)
    assert not (tmp_path / "out").exists()


def test_a_model_that_diverges_gets_null_and_is_counted(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test", "test"))
    with torch.no_grad():
        model.debed.out_bias.fill_(3e38)  # Every step multiplies by this much: the second frame is infinite.
    write_model(
        tmp_path / "model",
        model.state_dict(),
        ModelDescription.model_validate_json((tmp_path / "model" / "model.json").read_text()),
    )
    rollout = evaluate(tmp_path, path)["datasets"]["swe"]["rollout"]
    assert rollout["diverged"] == 2
    assert rollout["nrmse"]["trajectory"]["model"] is None
    assert rollout["nrmse"]["trajectory"]["persistence"] > 0
    assert rollout["nrmse"]["steps_below_persistence"]["least"] == 0


def test_a_run_is_evaluated_on_its_own_stores_and_beside_itself(tmp_path, model, store_factory, capsys):
    path = store_factory("swe", splits=("train", "test"))
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "recipe.yaml").write_text("family: mpp\nverb: pretrain\n")
    (run / "status.json").write_text('{"state": "complete", "step": 7, "checkpoint": null, "message": ""}')
    (run / "data.json").write_text(json.dumps({"swe": {"path": str(path), "store_hash": "another"}}))
    checkpoint = run / "checkpoints" / "step-00000007"
    (tmp_path / "model").rename(checkpoint)
    write_manifest(checkpoint, step=7, family="mpp", verb="pretrain", world_size=1, zero_stage=0, metric=("loss", 0.5))
    found = evaluation.run(EvalRequest(checkpoint=run, overrides=QUICK))
    assert found["selected_by"].startswith("best of 1 kept, by loss: ")
    assert json.loads((run / "eval" / "test" / "scores.json").read_text()) == found
    said = capsys.readouterr()
    path.rename(tmp_path / "moved.zarr")
    with pytest.raises(StoreError, match="the run was trained on this store, which is not there"):
        evaluation.run(EvalRequest(checkpoint=run, overrides=QUICK))
    assert "not the store that the run was trained on" in said.err
    assert "NRMSE" in said.out


def test_without_data_a_bare_model_says_what_is_missing(tmp_path, model):
    with pytest.raises(StoreError, match="no data to evaluate on") as caught:
        evaluate(tmp_path)
    assert "--data" in caught.value.hint


def test_a_test_split_that_validated_the_training_is_said(tmp_path, store_factory, capsys):
    path = store_factory("swe", splits=("train", "test"))
    rows = open_store(path).manifest.row_hashes
    save_model(tmp_path / "model", {"swe": {"store_hash": "0", "rows": [rows[0]]}})
    evaluate(tmp_path, path)
    assert "also validated the training" in capsys.readouterr().err


def test_the_command_line_prints_a_table_or_one_json_document(tmp_path, model, store_factory, capsys):
    path = store_factory("swe", splits=("train", "test", "test"))
    line = [
        "eval",
        "mpp",
        "--checkpoint",
        str(tmp_path / "model"),
        "--data",
        str(path),
        "--output",
        str(tmp_path / "out"),
    ]
    line += ["--set", "bootstrap_samples=50", "--set", "report=false"]
    assert command_line(line) == 0
    table = capsys.readouterr()
    assert "swe" in table.out
    assert "NRMSE" in table.out
    assert command_line([*line, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "out" / "scores.json").read_text())
    assert "checkpoint:" in printed.err
    assert command_line([*line, "--set", "nonsense=1"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_windows_correlation_spectra_and_blow_ups_are_those_of_the_saved_frames(tmp_path, model, store_factory):
    path = store_factory("swe", frames=18, splits=("train", "test", "test"))
    scores = evaluate(tmp_path, path, overrides=("save_rollouts=true",))["datasets"]["swe"]["rollout"]
    saved = zarr.open(tmp_path / "out" / "rollouts" / "swe.zarr")["fields"][:].astype(np.float64)
    store = open_store(path)
    truth = np.stack([store.read("fields")[row, -saved.shape[1] :] for row in store.rows("test")]).astype(np.float64)
    steps = saved.shape[1]
    assert steps >= 12
    error = np.sqrt(((saved - truth) ** 2).mean(axis=(3, 4)) / (truth.var(axis=(3, 4), ddof=1) + 1e-7))
    assert scores["vrmse"]["steps_6_to_12"]["model"] == pytest.approx(error[:, 5:12].mean(), rel=1e-4)
    assert scores["vrmse"]["steps_1_to_10"]["model"] == pytest.approx(error[:, :10].mean(), rel=1e-4)
    assert "steps_13_to_30" not in scores["vrmse"]
    correlated = np.array(
        [
            [np.corrcoef(one[step, 0].ravel(), two[step, 0].ravel())[0, 1] for step in range(steps)]
            for one, two in zip(saved, truth, strict=True)
        ]
    )
    kept = [int(np.argmax(row < 0.8)) if (row < 0.8).any() else steps for row in correlated]
    assert scores["correlation"]["steps"]["model"] == pytest.approx(np.mean(kept))
    last = scores["spectra"][-1]
    field = last["fields"]["shallow_water.height"]
    assert last["step"] == steps
    # Up to Nyquist's wavenumber; smooth waves have nothing beyond it.
    assert sum(field["truth"]) == pytest.approx(truth[:, -1].var(axis=(2, 3)).mean(), rel=1e-3)
    assert scores["blow_up"]["rollouts"] == int((error.mean(axis=2).max(axis=1) > 10).sum())
