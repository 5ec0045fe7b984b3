"""Several checkpoints on the same windows: equal numbers for equal models, and who cannot take part is named."""

import json

import numpy as np
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import StoreError, UserError
from polycli.mpp import eval as evaluation
from polycli.mpp.data.about import physics_of
from polycli.mpp.model.kinds import make_network
from polycli.mpp.recipe.training import model_section
from polycli.mpp.scoring.comparison.stencil import fit_stencil
from polycli.mpp.scoring.measure import Subset
from polycli.mpp.scoring.rollout import Conditions
from polycli.requests import EvalRequest
from polycli.store.hashing import hex_of
from polycli.store.reader import open_store
from tests.mpp.conftest import FIELDS

MODELS = {
    "avit": {"embed_dim": 16, "num_heads": 2, "blocks": 1, "patch_size": 4, "drop_path": 0.0},
    "fno": {"kind": "fno", "width": 6, "modes": 3, "blocks": 1, "history": 2},
    "unet": {"kind": "unet", "width": 4, "stages": 1, "blocks_per_stage": 1, "history": 4},
}


def checkpoint(folder, kind, *, history, fields=FIELDS["shallow_water"], seed=0, conditions=None, **said):
    torch.manual_seed(seed)
    model = {**MODELS[kind], "predicts": "change", "fields": fields}
    section = model_section(model if conditions is None else {**model, "conditions": conditions})
    folder.mkdir()
    said = {"model": section.model_dump(mode="json"), "data": {"history": history, "time_stride": 1}, **said}
    description = ModelDescription(family="mpp", verb="pretrain", version="0", step=1, **said)
    write_model(folder, make_network(section).state_dict(), description)
    return folder / "model.safetensors"


def scores(tmp_path, main, store, *baselines, **options):
    request = EvalRequest(
        checkpoint=main,
        baselines=baselines,
        data=(store,),
        output=tmp_path / "eval",
        overrides=("bootstrap_samples=20", *options.pop("overrides", ("report=false",))),
        json=True,
        **options,
    )
    return evaluation.run(request)


def test_one_table_and_one_figure_of_several_models(tmp_path, store_factory, capsys):
    store = store_factory("swe", splits=("train",) * 4 + ("test",) * 2)
    main = checkpoint(tmp_path / "main", "avit", history=3)
    alone = scores(tmp_path, main, store)
    others = [checkpoint(tmp_path / "short", "fno", history=2), checkpoint(tmp_path / "three", "unet", history=3)]
    words = ["eval", "mpp", "--checkpoint", main, "--data", store, "--output", tmp_path / "eval"]
    words += [word for other in others for word in ("--baseline", other)]
    assert command_line([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    assert "VRMSE of several models on the same windows" in shown
    found = json.loads((tmp_path / "eval" / "scores.json").read_text())
    dataset = found["datasets"]["swe"]
    compared = dataset.pop("comparison")
    assert list(compared["models"]) == [
        *("main", "short", "three", "linear stencil", "linear extrapolation", "persistence")
    ]
    assert set(found["baselines"]) == {"short", "three"}
    assert found["baselines"]["short"]["checkpoint"] == str(others[0])
    # What there was without baselines stays, and stands in the comparison too.
    assert dataset["one_step"] == alone["datasets"]["swe"]["one_step"]
    assert dataset["rollout"] == alone["datasets"]["swe"]["rollout"]
    one_step, rollout = dataset["one_step"]["vrmse"], dataset["rollout"]["vrmse"]
    for label, method in (("main", "model"), ("persistence", "persistence"), ("linear extrapolation", "linear")):
        assert compared["models"][label]["one_step"]["vrmse"]["mean"] == pytest.approx(one_step[method])
        assert compared["models"][label]["rollout"]["vrmse"]["growth"] == pytest.approx(rollout["growth"][method])
        assert compared["models"][label]["rollout"]["vrmse"]["steps_1_to_5"]["mean"] == pytest.approx(
            rollout["steps_1_to_5"][method]
        )
    assert compared["models"]["short"]["cost"]["kind"] == "fno"
    assert compared["models"]["short"]["cost"]["parameters"] > 0
    assert compared["models"]["short"]["cost"]["milliseconds"] > 0
    assert (tmp_path / "eval" / "figures" / "comparison.png").is_file()
    assert "Comparison" in (tmp_path / "eval" / "report.html").read_text()


def test_a_longer_history_moves_the_windows_of_all_and_a_shorter_one_sees_their_last_frames(tmp_path, store_factory):
    store = store_factory("swe", splits=("train",) * 4 + ("test",) * 2)
    main, long = (
        checkpoint(tmp_path / "main", "fno", history=2),
        checkpoint(tmp_path / "long", "unet", history=4),
    )
    found = scores(tmp_path, main, store, long)["datasets"]["swe"]["comparison"]
    assert found["context_frames"] == 4
    assert found["steps"] == 8
    of_long = scores(tmp_path, long, store, main)["datasets"]["swe"]["comparison"]
    for label in ("main", "long", "persistence", "linear stencil"):
        assert of_long["models"][label]["rollout"] == found["models"][label]["rollout"]
        assert of_long["models"][label]["one_step"] == found["models"][label]["one_step"]
    # The model of two frames, asked to forecast the frames behind the first four.
    own = open_store(store)
    frames = torch.tensor(own.read_rows("fields", own.rows("test"))).float()
    network = evaluation.load_checkpoint(main, evaluation.EvalSettings(family="mpp", verb="eval").data, None).model
    with torch.inference_mode():
        predicted = network(frames[:, 2:4], torch.tensor([0]), torch.ones(2, 2, dtype=torch.long))
    truth = frames[:, 4]
    centred = truth - truth.mean(dim=(2, 3), keepdim=True)
    expected = ((predicted - truth).square().mean((2, 3)) / (centred.square().sum((2, 3)) / 255 + 1e-7)).sqrt()
    growth = found["models"]["main"]["rollout"]["vrmse"]["growth"]
    assert growth[0] == pytest.approx(float(expected.mean()), rel=1e-4)


def test_the_stencil_sees_two_frames_and_is_told_nothing_whatever_the_checkpoint_sees(tmp_path, store_factory):
    store = store_factory("swe", splits=("train",) * 4 + ("test",) * 2)
    plain, long = (
        checkpoint(tmp_path / name, "avit", history=history) for name, history in (("plain", 2), ("long", 3))
    )
    told = checkpoint(tmp_path / "told", "avit", history=1, conditions=("dt",))
    # The windows are those of the longest history, so that the stencil's forecasts are the same.
    expected, found = (
        scores(tmp_path, main, store, long)["datasets"]["swe"]["comparison"]["models"] for main in (plain, told)
    )
    assert "told" in found
    for name in ("one_step", "rollout"):
        assert found["linear stencil"][name] == expected["linear stencil"][name]


def test_a_model_of_other_fields_is_left_out_of_a_dataset_by_name(tmp_path, store_factory, capsys):
    water = store_factory("swe", splits=("train",) * 3 + ("test",))
    heat = store_factory("heat", physics="diffusion_reaction", splits=("train",) * 3 + ("test",), seed=1)
    both = (*FIELDS["shallow_water"], *FIELDS["diffusion_reaction"])
    main = checkpoint(tmp_path / "main", "avit", history=2, fields=both)
    single = checkpoint(tmp_path / "single", "fno", history=2)
    found = scores(tmp_path, main, water.parent, single)["datasets"]
    assert "single" in found["swe"]["comparison"]["models"]
    assert "single" not in found["heat"]["comparison"]["models"]
    said = capsys.readouterr().err
    assert "baseline single is not scored on heat" in said
    assert "does not know the fields diffusion_reaction.activator" in said
    with pytest.raises(UserError, match="baseline single can be scored on none of the datasets heat"):
        scores(tmp_path, main, heat, single)


def test_a_baseline_that_was_trained_on_what_is_scored_is_refused(tmp_path, store_factory):
    store = open_store(store_factory("swe", splits=("train",) * 3 + ("test",)))
    seen = {
        "swe": {
            "store_hash": store.manifest.store_hash,
            "rows": hex_of(store.row_hashes()[store.rows("test")]),
        }
    }
    main = checkpoint(tmp_path / "main", "avit", history=2)
    cheat = checkpoint(tmp_path / "cheat", "fno", history=2, trained_on=seen)
    with pytest.raises(StoreError, match=r"baseline cheat: .* trained on 1 of the 1 trajectories"):
        scores(tmp_path, main, store.path, cheat)
    allowed = scores(tmp_path, main, store.path, cheat, allow_overlap=True)
    assert allowed["baselines"]["cheat"]["overlap"] == {"checked": True, "trajectories": 1, "allowed": True}


def test_models_that_cannot_be_compared_are_refused_by_name(tmp_path, store_factory):
    store = store_factory("swe")
    main = checkpoint(tmp_path / "main", "avit", history=2)
    strided = checkpoint(tmp_path / "strided", "fno", history=2, data={"history": 2, "time_stride": 2})
    with pytest.raises(UserError, match=r"it steps by 2 frames of a store, the checkpoint by 1"):
        scores(tmp_path, main, store, strided)
    with pytest.raises(UserError, match="takes part twice"):
        scores(tmp_path, main, store, main)


def test_the_stencil_forecasts_a_linear_equation_exactly(store_factory):
    """Fields that drift by whole points obey u(t + 1, x) = u(t, x - 1), which a stencil holds."""

    class Drifting(Subset):
        def load(self, windows, length):
            fields = [np.random.default_rng(row).normal(size=(1, 16, 16)) for row, _ in windows]
            rolled = [
                [np.roll(field, start + step, axis=1) for step in range(length)]
                for field, (_, start) in zip(fields, windows, strict=True)
            ]
            return torch.tensor(np.array(rolled), dtype=torch.float32)

    store = open_store(store_factory("swe", splits=("train",) * 4 + ("test",)))
    about = physics_of(store.manifest, store.path)
    subset = Drifting(store, about, Conditions((0,), (1, 1)), store.rows("test"), 3, 1)
    stencil = fit_stencil(subset, store.rows("train"), device=torch.device("cpu"))
    frames = subset.load([(9, 0)], 4)
    predicted = stencil(frames[:, :3], torch.tensor([0]), torch.ones(1, 2, dtype=torch.long))
    torch.testing.assert_close(predicted, frames[:, 3].double(), rtol=0, atol=1e-5)
