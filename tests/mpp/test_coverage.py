"""Coverage in eval, counted again by numpy from the rollouts that it saved and the truth in the store."""

import json
import re

import h5py
import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from scipy.stats import binomtest

from polycli.mpp import calibrate, predict
from polycli.mpp import eval as evaluation
from polycli.mpp.model.jitter import Draw
from polycli.requests import CalibrateRequest, EvalRequest, PredictRequest
from polycli.store.reader import open_store
from tests.mpp.test_eval import HISTORY, SECTION, rows_of, save_model, vrmse

FIELDS = ("diffusion_reaction.activator", "diffusion_reaction.inhibitor")
SPLITS = ("train", *("validation",) * 20, *("test",) * 8)
STEPS, TESTED = 4, 8


@pytest.fixture
def store(tmp_path, store_factory):
    save_model(tmp_path / "model")
    path = store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=SPLITS, frames=HISTORY + STEPS)
    weights = tmp_path / "model" / "model.safetensors"
    # Low levels, so that some trajectories of the few lie outside.
    calibrate.run(CalibrateRequest(checkpoint=weights, data=(path,), overrides=("levels=[0.3, 0.6, 0.9]",), json=True))
    return path


def evaluate(tmp_path, *stores, overrides=(), **options):
    request = EvalRequest(
        checkpoint=tmp_path / "model" / "model.safetensors",
        data=stores,
        output=tmp_path / "out",
        overrides=("bootstrap_samples=50", "bands.valid_below=1.2", *overrides),
        json=True,
        **options,
    )
    return evaluation.run(request)


def test_coverage_is_what_numpy_counts_in_the_saved_rollouts(tmp_path, store):
    scores = evaluate(tmp_path, store, overrides=("save_rollouts=true", "report=false"))
    bands = scores["datasets"]["dr"]["bands"]
    saved = zarr.open_group(tmp_path / "out" / "rollouts" / "dr.zarr", mode="r")
    truth = rows_of(store)[:, HISTORY:]
    distance = np.abs(saved["fields"][:].astype(np.float64) - truth)
    within = distance[None] <= saved["half_width"][:][:, None, :, :, None, None]
    inside = within.mean(axis=(-2, -1))  # (level, trajectory, step, field)
    held = inside >= 0.95
    assert 0 < held.mean() < 1
    deviations = open_store(store).manifest.statistics["fields"]
    for index, field in enumerate(FIELDS):
        for place, level in enumerate(("0.3", "0.6", "0.9")):
            found = bands["coverage"][field][level]
            np.testing.assert_allclose(found["share"], held[place, :, :, index].mean(axis=0))
            np.testing.assert_allclose(found["points_inside"], inside[place, :, :, index].mean(axis=0))
            np.testing.assert_array_equal(found["half_width"], saved["half_width"][place, :, index])
            expected = np.array(found["half_width"]) / deviations[field]["std"]
            np.testing.assert_allclose(found["relative_width"], expected)
            for step in range(STEPS):
                count = int(held[place, :, step, index].sum())
                by_scipy = binomtest(count, TESTED).proportion_ci(0.95, method="exact")
                low, high = (side[step] for side in found["interval"])
                assert (low, high) == (pytest.approx(by_scipy.low), pytest.approx(by_scipy.high))
    errors = vrmse(saved["fields"][:].astype(np.float64), truth).mean(axis=2)
    horizon = bands["validity_horizon"]
    assert 0 < horizon["steps"] <= STEPS
    valid = (errors[:, : horizon["steps"]] <= 1.2).all(axis=1)
    assert horizon["held"] == pytest.approx(valid.mean())
    assert (bands["calibrated_on"], bands["trajectories"], bands["trajectories_tested"]) == ("dr", 20, TESTED)
    for level, (low, high) in bands["expected"].items():
        assert low <= float(level) <= high
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores


def test_the_report_shows_coverage_and_the_film_its_band(tmp_path, store, capsys):
    evaluate(tmp_path, store, overrides=("bands.use=never",))
    figures = tmp_path / "out" / "figures"
    assert "Coverage of the bands" not in (tmp_path / "out" / "report.html").read_text()
    with Image.open(figures / "dr.film.gif") as film:
        plain = film.size
    evaluate(tmp_path, store)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Coverage of the bands" in text
    assert "Validity horizon" in text
    assert len(re.findall(r'<img src="data:image/png;base64,', text)) == len(list(figures.glob("*.png")))
    assert (figures / "dr.coverage.png").is_file()
    with Image.open(figures / "dr.film.gif") as film:
        assert film.n_frames == STEPS
        assert (film.width, film.height) == (plain[0], plain[1] + 2 * 44)


def test_bands_are_not_tested_on_trajectories_that_made_them_unless_that_is_allowed(tmp_path, store, capsys):
    quick = ("report=false", "rollout_steps=2")
    scores = evaluate(tmp_path, store, split="validation", overrides=quick)
    said = "20 of the 20 trajectories to be scored were calibrated on: the bands are not tested"
    assert said in capsys.readouterr().err
    assert "bands" not in scores["datasets"]["dr"]
    scores = evaluate(tmp_path, store, split="validation", overrides=quick, allow_overlap=True)
    bands = scores["datasets"]["dr"]["bands"]
    assert bands["steps"] == 2
    # In the sample itself, exactly `rank` of 20 are held: ceil(21 * 0.6) = 13.
    assert bands["coverage"][FIELDS[0]]["0.6"]["share"] == [13 / 20] * 2
    plain = evaluate(tmp_path, store, split="validation", overrides=(*quick, "bands.use=never"))
    assert plain["datasets"]["dr"].keys() == {"trajectories", "row_ids", "one_step", "rollout"}


def test_bands_of_draws_are_wide_where_the_draws_lie_apart(tmp_path, store_factory):
    """Counted again by numpy: half-widths are multiples of the spread that was saved beside the frames."""
    model = save_model(tmp_path / "model", section=SECTION.model_copy(update={"jitter": "always"}))
    path = store_factory("swe", splits=SPLITS, frames=HISTORY + 2)
    weights = tmp_path / "model" / "model.safetensors"
    settings = ("levels=[0.6]", "draws=3", "rollout_batch_size=10")
    calibrate.run(CalibrateRequest(checkpoint=weights, data=(path,), overrides=settings, json=True))
    scores = evaluate(tmp_path, path, overrides=("save_rollouts=true", "report=false", "rollout_batch_size=10"))
    saved = zarr.open_group(tmp_path / "out" / "rollouts" / "swe.zarr", mode="r")
    spread = saved["spread"][:].astype(np.float64)
    context = torch.tensor(rows_of(path)[:, :HISTORY], dtype=torch.float32)
    flags = torch.ones((TESTED, 2), dtype=torch.long)
    with torch.inference_mode():
        draws = [model(context, torch.tensor([0]), flags, draw=Draw(seed, 0)).double().numpy() for seed in range(3)]
    by_numpy = np.std(draws, axis=0)
    floor = 0.1 * np.sqrt((by_numpy**2).mean(axis=(-2, -1), keepdims=True))
    np.testing.assert_allclose(spread[:, 0], np.maximum(by_numpy, floor), rtol=1e-3)
    widths = saved["half_width"][0][None, :, :, None, None] * spread
    held = (np.abs(saved["fields"][:] - rows_of(path)[:, HISTORY:]) <= widths).mean(axis=(-2, -1)) >= 0.95
    bands = scores["datasets"]["swe"]["bands"]
    found = bands["coverage"]["shallow_water.height"]["0.6"]
    assert bands["draws"] == 3
    np.testing.assert_allclose(found["share"], held[:, :, 0].mean(axis=0))
    assert "half_width" not in found, "a band has another one at each point"
    np.testing.assert_allclose(found["mean_half_width"], widths[:, :, 0].mean(axis=(0, -2, -1)), rtol=1e-6)
    request = PredictRequest(
        checkpoint=weights,
        data=(path,),
        output=tmp_path / "f.h5",
        split="test",
        overrides=("steps=2", "from_frame=0", "rollout_batch_size=10"),
        json=True,
    )
    predict.run(request)
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["spread"][:], saved["spread"][:])
        np.testing.assert_array_equal(file["fields"][:], saved["fields"][:])
