"""What an MPP model was trained on is compared with the data that it is asked about."""

import json

import pytest
import torch

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import StoreError
from polycli.mpp import eval as evaluation
from polycli.mpp import predict
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.trained import TrainedPhysics, check_trained
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import ModelSection
from polycli.requests import EvalRequest, PredictRequest
from polycli.store.reader import open_store

WAVES = PdeDescription(
    physics="shallow_water",
    fields=("shallow_water.height",),
    units=("m",),
    dt=0.05,
    grid=(16, 16),
    extent=((0.0, 1.0), (0.0, 1.0)),
    boundary_conditions={"x": "periodic", "y": "periodic"},
    parameter_names=(),
    constants={},
)
FLOW = WAVES.model_copy(update={"fields": ("compressible_ns.density",), "units": ("",), "dt": 0.2})


def check(about, *datasets, time_stride=1, **options):
    trained = {str(place): TrainedPhysics.of(found, time_stride=1) for place, found in enumerate(datasets)}
    check_trained(trained, "data", about, time_stride=time_stride, allow=False, **options)


def test_the_same_physics_passes():
    check(WAVES, WAVES)
    check(WAVES.model_copy(update={"dt": 0.05 * 1.0004, "units": ("",), "grid": (32, 32)}), FLOW, WAVES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fields": ("compressible_ns.density",)},
            "never trained on compressible_ns.density; it was",
        ),
        ({"dt": 0.2}, r"its frames are 0\.2 apart, the model was trained on frames 0\.05 apart"),
        ({"units": ("km",)}, r"shallow_water\.height is in km, the model was trained on it in m"),
    ],
)
def test_other_fields_time_steps_and_units_are_refused(changes, message):
    with pytest.raises(StoreError, match=message) as refusal:
        check(WAVES.model_copy(update=changes), WAVES)
    assert "allow_untrained=true" in str(refusal.value.hint)


def test_a_stride_that_makes_the_time_step_right_is_proposed_and_works():
    fine = WAVES.model_copy(update={"dt": 0.0125})
    with pytest.raises(StoreError) as refusal:
        check(fine, WAVES)
    assert "--set data.time_stride=4" in str(refusal.value.hint)
    check(fine, WAVES, time_stride=4)


def test_the_time_step_of_other_fields_says_nothing():
    with pytest.raises(StoreError, match=r"frames 0\.05 apart"):
        check(WAVES.model_copy(update={"dt": 0.2}), WAVES, FLOW)


def test_sides_that_were_not_met_are_warned_of_and_an_unknown_time_step_is_said(capsys):
    walls = WAVES.model_copy(update={"boundary_conditions": {"x": "wall", "y": "periodic"}, "dt": 1.0})
    check(walls, WAVES, dt_known=False)
    said = " ".join(capsys.readouterr().err.split())
    assert "its sides are x wall, y periodic, the model was trained on these fields with x periodic, y periodic" in said
    assert "nothing says the time between its frames" in said


@pytest.fixture
def model(tmp_path):
    def make(about, time_stride=1):
        section = ModelSection(embed_dim=16, num_heads=2, blocks=1, patch_size=4, drop_path=0.0)
        torch.manual_seed(0)
        trained = {"swe": TrainedPhysics.of(about, time_stride=time_stride).model_dump(mode="json")}
        description = ModelDescription(
            family="mpp",
            verb="pretrain",
            version="0",
            step=1,
            model=section.model_dump(mode="json"),
            data={"history": 2, "time_stride": time_stride},
            trained=trained,
        )
        write_model(tmp_path, AViT(section).state_dict(), description)
        return tmp_path / "model.safetensors"

    return make


def test_eval_and_predict_refuse_what_was_not_trained_unless_it_is_allowed(tmp_path, model, store_factory, capsys):
    store = store_factory("swe", splits=("train", "test"), frames=6)
    about = PdeDescription.model_validate(open_store(store).manifest.about)
    checkpoint = model(about.model_copy(update={"dt": about.dt / 2}))

    def evaluate(*overrides):
        given = ("report=false", "bootstrap_samples=10", *overrides)
        request = EvalRequest(checkpoint=checkpoint, data=(store,), output=tmp_path / "out", overrides=given)
        return evaluation.run(request)

    def forecast(*overrides):
        request = PredictRequest(
            checkpoint=checkpoint, data=(store,), output=tmp_path / "f.zarr", overrides=("steps=1", *overrides)
        )
        return predict.run(request)

    for ask in (evaluate, forecast):
        with pytest.raises(StoreError, match=r"its frames are 0\.1 apart, the model was trained on frames 0\.05 apart"):
            ask()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "f.zarr").exists()
    assert evaluate("allow_untrained=true")["settings"]["allow_untrained"] is True
    forecast("allow_untrained=true")
    assert "apart; allowed" in " ".join(capsys.readouterr().err.split())
    model(about)
    assert "allow_untrained" not in evaluate()["settings"]


def test_a_model_trained_on_every_second_frame_knows_the_time_between_those(tmp_path, model, store_factory):
    store = store_factory("swe", splits=("train", "test"), frames=12)
    about = PdeDescription.model_validate(open_store(store).manifest.about)
    request = EvalRequest(
        checkpoint=model(about, time_stride=2),
        data=(store,),
        output=tmp_path / "out",
        overrides=("report=false", "bootstrap_samples=10"),
    )
    assert evaluation.run(request)["time_stride"] == 2
    other = EvalRequest(**{**vars(request), "overrides": (*request.overrides, "data.time_stride=1")})
    with pytest.raises(StoreError, match=r"frames are 0\.1 apart, the model was trained on frames 0\.2 apart"):
        evaluation.run(other)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["time_stride"] == 2
