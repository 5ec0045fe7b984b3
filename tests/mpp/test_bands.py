"""Forecasts of a calibrated model carry its bands, and say for how long they are valid; other data get none."""

import json

import h5py
import numpy as np
import pytest
import zarr

from polycli.__main__ import run as command_line
from polycli.checkpoints.calibration import calibration_beside, read_calibration, write_calibration
from polycli.errors import CheckpointError, UserError
from polycli.inspection import inspect_path
from polycli.mpp import calibrate, predict
from polycli.mpp.data.about import physics_of
from polycli.mpp.model.loaded import load_checkpoint
from polycli.mpp.predicting.bands import BandFinder, Bands, BandSettings
from polycli.mpp.recipe.settings import BandsSection, FramesSection
from polycli.report.conformal import conformal_quantile
from polycli.requests import CalibrateRequest, PredictRequest
from polycli.store.reader import open_store
from tests.mpp.test_eval import SECTION, save_model

FIELD = "shallow_water.height"
SPLITS = ("train", *("validation",) * 20, *("test",) * 3)
STEPS = 4


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def weights(tmp_path, model):
    return tmp_path / "model" / "model.safetensors"


@pytest.fixture
def store(store_factory):
    return store_factory("swe", splits=SPLITS, frames=7)


@pytest.fixture
def calibrated(weights, store):
    calibrate.run(CalibrateRequest(checkpoint=weights, data=(store,), json=True))
    return read_calibration(calibration_beside(weights))


def forecast(weights, *data, output, overrides=(), **options):
    request = PredictRequest(
        checkpoint=weights, data=data, output=output, overrides=("from_frame=0", *overrides), json=True, **options
    )
    return predict.run(request)


def widths_of(calibration, steps=STEPS):
    """(level, step, field), as the calibration has them."""
    groups = calibration.data["swe"].groups
    return np.array([groups[f"{FIELD} step {step + 1}"].bounds for step in range(steps)]).T[..., None]


def test_zarr_and_hdf5_carry_half_widths_levels_and_the_validity_horizon(tmp_path, weights, store, calibrated):
    options = {"split": "test", "overrides": (f"steps={STEPS}", "bands.valid_below=1.5")}
    document = forecast(weights, store, output=tmp_path / "out.zarr", **options)["datasets"]["swe"]
    forecast(weights, store, output=tmp_path / "out.h5", **options)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(group["half_width"][:], widths_of(calibrated))
    assert group["half_width"].metadata.dimension_names == ("level", "time", "field")
    assert group["level"][:].tolist() == [0.68, 0.9, 0.95]
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["half_width"][:], widths_of(calibrated))
        assert [dimension.label for dimension in file["half_width"].dims] == ["level", "time", "field"]
        assert json.loads(file.attrs["bands"]) == dict(group.attrs["bands"])
    bands = {"calibrated_on": "swe", "trajectories": 20, "points": 0.95, "from_frame": 0, "draws": 1, "steps": STEPS}
    assert document["bands"] == dict(group.attrs["bands"]) == bands
    errors = [calibrated.data["swe"].groups[f"error step {step}"].bounds[1] for step in range(1, STEPS + 1)]
    expected = next((step for step, error in enumerate(errors) if error > 1.5), STEPS)
    horizon = dict(group.attrs["validity_horizon"])
    assert horizon == document["validity_horizon"]
    assert (horizon["vrmse_below"], horizon["share_of_trajectories"], horizon["steps"]) == (1.5, 0.9, expected)
    assert horizon["time"] == pytest.approx(0.1 * expected)
    assert inspect_path(tmp_path / "out.zarr", verify=True)
    assert inspect_path(tmp_path / "out.h5", verify=True)


def test_steps_beyond_the_calibration_have_no_band_and_frames_are_as_without(
    tmp_path, weights, store, calibrated, capsys
):
    forecast(weights, store, output=tmp_path / "out.zarr", split="test", overrides=("steps=6",))
    assert "bands end after step 4 of 6" in capsys.readouterr().err
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(group["half_width"][:, :STEPS], widths_of(calibrated))
    assert np.isnan(group["half_width"][:, STEPS:]).all()
    never = ("steps=6", "bands.use=never")
    assert (
        "bands"
        not in forecast(weights, store, output=tmp_path / "n.zarr", split="test", overrides=never)["datasets"]["swe"]
    )
    plain = zarr.open_group(tmp_path / "n.zarr", mode="r")
    assert "half_width" not in plain
    np.testing.assert_array_equal(plain["fields"][:], group["fields"][:])


def test_a_forecast_from_the_last_frames_says_where_its_bands_come_from(tmp_path, weights, store, calibrated, capsys):
    line = ["predict", "mpp", "--checkpoint", str(weights), "--data", str(store), "--split", "test"]
    assert command_line([*line, "--output", str(tmp_path / "out.zarr"), "--set", "steps=2"]) == 0
    said = capsys.readouterr().err
    assert "bands were made of forecasts from frame 0 on, these begin at frame 4" in said
    assert "validity horizon" in said


def test_without_a_calibration_there_are_no_bands_unless_there_must_be(tmp_path, weights, store):
    assert "bands" not in forecast(weights, store, output=tmp_path / "out.zarr")["datasets"]["swe"]
    with pytest.raises(UserError, match=r"no calibration beside model\.safetensors") as caught:
        forecast(weights, store, output=tmp_path / "must.zarr", overrides=("bands.use=must",))
    assert "polycli calibrate mpp" in caught.value.hint
    with pytest.raises(CheckpointError, match=r"elsewhere\.json: there is no such calibration"):
        forecast(weights, store, output=tmp_path / "must.zarr", overrides=("bands.file=elsewhere.json",))


def test_a_calibration_of_other_weights_is_refused(tmp_path, weights, store, calibrated):
    write_calibration(calibration_beside(weights), calibrated.of_weights("0" * 64))
    with pytest.raises(CheckpointError, match="calibrated for other weights") as caught:
        forecast(weights, store, output=tmp_path / "out.zarr")
    assert (caught.value.exit_code, (tmp_path / "out.zarr").exists()) == (2, False)
    forecast(weights, store, output=tmp_path / "out.zarr", overrides=("bands.use=never",))
    write_calibration(calibration_beside(weights), calibrated.model_copy(update={"family": "xval"}))
    with pytest.raises(CheckpointError, match="a calibration of the family xval, mpp was expected"):
        forecast(weights, store, output=tmp_path / "again.zarr")
    write_calibration(calibration_beside(weights), calibrated)
    for other, sentence in (
        ("data.history=2", r"data\.history=3, asked for is 2"),
        ("model.predicts=state", r"model\.predicts=change, asked for is state"),
        ("model.jitter=always", r"model\.jitter=none, asked for is always"),
    ):
        with pytest.raises(CheckpointError, match=f"calibrated with {sentence}"):
            forecast(weights, store, output=tmp_path / "again.zarr", overrides=(other,))


def test_a_calibration_that_lacks_bounds_is_refused(tmp_path, weights, store, calibrated):
    data = calibrated.data["swe"]
    cases = {
        "has no bounds for": {"groups": dict(list(data.groups.items())[:-1])},
        "steps: Field required": {"about": {key: value for key, value in data.about.items() if key != "steps"}},
    }
    for sentence, change in cases.items():
        forged = calibrated.model_copy(update={"data": {"swe": data.model_copy(update=change)}})
        write_calibration(calibration_beside(weights), forged)
        with pytest.raises(CheckpointError, match=f"not a sound calibration: .*{sentence}"):
            forecast(weights, store, output=tmp_path / "out.zarr")


def test_bands_are_found_by_name_then_by_physics_and_other_constants_are_warned_of(weights, store, calibrated, capsys):
    about = physics_of(open_store(store).manifest, store).model_copy(update={"constants": {"mach": 0.1}})
    swe = calibrated.data["swe"]
    near = swe.model_copy(update={"about": {**swe.about, "constants": {"mach": 0.1}}})
    far = swe.model_copy(update={"about": {**swe.about, "constants": {"mach": 0.4}}})
    loaded = load_checkpoint(weights, FramesSection(), quiet=True)

    def found(data, name, about=about, **settings):
        write_calibration(calibration_beside(weights), calibrated.model_copy(update={"data": data}))
        capsys.readouterr()
        bands = BandFinder(loaded, BandsSection(**settings)).find(name, about)
        return bands and bands.dataset, capsys.readouterr().err

    assert found({"near": near, "far": far}, "near") == ("near", "")
    assert found({"near": near, "far": far}, "mine")[0] == "near"
    name, said = found({"far": far}, "mine")
    assert name == "far"
    assert "calibrated on far, with mach 0.4 and not 0.1: they need not hold" in said
    name, said = found({"a": far, "b": far}, "mine")
    assert name is None
    assert "several could be used, a, b: --set bands.dataset=NAME" in said
    assert found({"a": far, "b": near}, "mine", dataset="a")[0] == "a"
    other_grid = about.model_copy(update={"grid": (32, 32)})
    name, said = found({"near": near}, "near", about=other_grid)
    assert name is None
    assert "none has these fields, grid, sides and time step" in said
    for settings, sentence in (
        ({"dataset": "c"}, "has no such dataset"),
        ({"valid_for": 0.5}, r"calibrated for 0\.68, 0\.9, 0\.95"),
    ):
        with pytest.raises(UserError, match=sentence):
            found({"near": near}, "near", **settings)
    with pytest.raises(UserError, match="no bands"):
        found({"near": near}, "near", about=other_grid, use="must")


def test_bands_for_longer_sides_are_warned_of(weights, store, calibrated, capsys):
    about = physics_of(open_store(store).manifest, store)
    (low, high), y = about.extent
    loaded = load_checkpoint(weights, FramesSection(), quiet=True)
    capsys.readouterr()
    assert BandFinder(loaded, BandsSection()).find("swe", about) is not None
    assert capsys.readouterr().err == ""
    longer = about.model_copy(update={"extent": ((low, low + 100 * (high - low)), y)})
    assert BandFinder(loaded, BandsSection()).find("swe", longer) is not None
    side, other = high - low, y[1] - y[0]
    said = capsys.readouterr().err
    assert f"sides of {side:g} by {other:g} and not {100 * side:g} by {other:g}: they need not hold" in said


def test_bands_of_a_model_that_was_told_a_parameter_are_warned_of_where_data_do_not_say_it(
    tmp_path, store_factory, capsys
):
    section = SECTION.model_copy(update={"conditions": ("parameters",), "parameters": ("depth",)})
    save_model(tmp_path / "told", section=section)
    store = store_factory("swe", splits=SPLITS, frames=7, parameters=("depth",))
    weights = tmp_path / "told" / "model.safetensors"
    calibrate.run(CalibrateRequest(checkpoint=weights, data=(store,), json=True))
    about = physics_of(open_store(store).manifest, store)
    finder = BandFinder(load_checkpoint(weights, FramesSection(), quiet=True), BandsSection())
    capsys.readouterr()
    finder.find("swe", about)
    assert capsys.readouterr().err == ""
    finder.find("swe", about.model_copy(update={"parameter_names": ()}))
    assert "depth told to the model, which these data do not say: they need not hold" in capsys.readouterr().err


def test_forecasts_of_parameters_beyond_those_of_the_calibration_are_warned_of(tmp_path, weights, store, capsys):
    calibrate.run(
        CalibrateRequest(checkpoint=weights, data=(store,), json=True)
    )  # rows 1 to 20 of a store of 24; a tenth of that is not beyond
    for split, said in (
        ("test", "number is between 21 and 23, its bands were calibrated on swe between 1 and 20: of 2 of 3"),
        ("validation", ""),
    ):
        capsys.readouterr()
        forecast(weights, store, output=tmp_path / f"{split}.zarr", split=split, overrides=("steps=1",))
        warnings = [line for line in capsys.readouterr().err.splitlines() if "number" in line]
        assert len(warnings) == (1 if said else 0)
        assert said in "".join(warnings)


def test_the_horizon_is_the_conformal_quantile_of_how_long_trajectories_are_valid(calibrated):
    """The last step whose bound is not above x is a low order statistic of how long each trajectory stays below x."""
    generator = np.random.default_rng(0)
    units, steps, below = 29, 12, 0.5
    largest = np.maximum.accumulate(0.1 * generator.lognormal(0, 0.6, size=(units, steps)).cumsum(axis=1), axis=1)
    counts = np.sort((largest <= below).sum(axis=1))
    error = np.stack([conformal_quantile(largest, level) for level in (0.5, 0.9)])[..., None]
    bands = Bands(
        dataset="swe",
        units=units,
        levels=(0.5, 0.9),
        settings=BandSettings.model_validate(calibrated.settings),
        half_width=error,
        error=np.concatenate([error, 2 * error], axis=2),
        data=calibrated.data["swe"],
    )
    for level, rank in ((0.5, 15), (0.9, 27)):
        horizon = bands.validity(below, level)
        assert horizon.steps == counts[units - rank] > 0
        assert horizon.fields[0] < horizon.steps
    assert bands.validity(below, 0.9).steps < bands.validity(below, 0.5).steps < steps
