"""Stores to a run: what is in it, on any number of processes and after a stop, and what leaves nothing behind."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from polycli.commands.run_folder import look_at_run
from polycli.errors import RecipeError, RunError, StoreError, UserError
from polycli.recipes import load_recipe
from polycli.requests import EvalRequest, TrainRequest
from polycli.store.overlap import overlap
from polycli.xval import eval as evaluation
from polycli.xval import load_model, pretrain
from polycli.xval.data.store import open_records


def metrics_of(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


def train(recipe: str, store: Path, output: Path, *overrides: str, **options) -> dict:
    return pretrain.run(TrainRequest(recipe=recipe, data=(store,), output=output, overrides=overrides, **options))


def python(*arguments: object) -> subprocess.CompletedProcess:
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in launcher},
    )


@pytest.mark.slow
@pytest.mark.distributed
def test_the_command_line_trains_on_two_processes_and_goes_on(pretrain_recipe, planets, tmp_path):
    line = ["-m", "polycli", "pretrain", "xval", "--recipe", pretrain_recipe, "--data", planets]
    line += ["--output", tmp_path / "run", "--nproc", 2, "--json"]
    begun = python(*line, "--set", "train.steps=4")
    assert begun.returncode == 0, begun.stderr
    done = python(*line)
    assert done.returncode == 0, done.stderr

    answer = json.loads(done.stdout)
    run = tmp_path / "run"
    assert answer["step"] == 8
    assert json.loads((run / "status.json").read_text())["state"] == "complete"
    lines = metrics_of(run)
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 9))
    assert all(line["padding_share"] < 0.1 for line in lines if line["kind"] == "train")
    first, last = (line for line in lines if line["kind"] == "validation")
    assert last["validation/loss"] < first["validation/loss"]
    assert last["validation/loss"] == pytest.approx(last["validation/token_loss"] + last["validation/number_loss"])
    assert last["validation/rmse/description.stepsize"] > 0


def test_a_checkpoint_says_all_that_reading_records_needs(pretrain_recipe, planets, tmp_path):
    train(pretrain_recipe, planets, tmp_path / "run", "train.steps=2", "scaling.default=affine")
    store = open_records(planets)
    described = json.loads((tmp_path / "run" / "checkpoints" / "step-00000002" / "model.json").read_text())

    assert described["vocabulary"] == store.vocabulary.to_json()
    assert described["key_paths"] == list(store.key_paths)
    assert described["encoding"]["name"] == described["model"]["encoding"] == "xval"
    scaler = described["scaling"]["keys"]["description.planet0.m"]
    assert scaler["shift"] == store.statistics["description.planet0.m"].mean
    trained = described["trained_on"]["planets"]
    assert trained["store_hash"] == store.store.manifest.store_hash
    np.testing.assert_array_equal(overlap(trained["rows"], store.row_hashes()), store.rows("train"))
    repeated = load_recipe(str(tmp_path / "run" / "recipe.yaml"), family="xval", verb="pretrain")
    assert repeated.data.stores == (str(planets.resolve()),)
    model = load_model(tmp_path / "run")
    assert model.tokens == len(store.vocabulary)
    output = model.outputs(torch.tensor([[3, 3, 5]]), torch.tensor([[0.5, 2.0, 1.0]]))
    assert torch.isfinite(output.numbers).all()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_resume_exactly_and_learn_as_one_does(pretrain_recipe, planets, tmp_path):
    script = Path(__file__).with_name("pretrain_ranks.py")
    command = [sys.executable, str(script), pretrain_recipe, str(planets), str(tmp_path)]
    done = python("-c", f"import sys; from polycli.launch import start_ranks; sys.exit(start_ranks(2, {command!r}))")
    assert done.returncode == 0, done.stderr
    train(pretrain_recipe, planets, tmp_path / "alone")

    whole = metrics_of(tmp_path / "whole")
    assert metrics_of(tmp_path / "cut") == whole
    for one, two in zip(metrics_of(tmp_path / "alone"), whole, strict=True):
        assert two.pop("kind") == one.pop("kind")
        # Means over the global batch are exact however it is divided; only sums round differently.
        assert two == {key: pytest.approx(value, rel=1e-3) for key, value in one.items()}


@pytest.mark.parametrize("encoding", ["multiscale", "fone", "bits", "p10", "fp15"])
def test_every_encoding_trains(pretrain_recipe, planets, tmp_path, encoding):
    overrides = (f"model.encoding={encoding}", "model.context=400", "train.steps=2", "model.quantiles=[0.1,0.5,0.9]")
    done = train(pretrain_recipe, planets, tmp_path / "run", *overrides)

    scores = done["validation"]
    assert ("validation/number_loss" in scores) == (encoding not in ("p10", "fp15"))
    assert np.isfinite(scores["validation/loss"])
    assert load_model(tmp_path / "run").section.encoding == encoding


def test_text_forms_cover_the_numbers_of_all_splits(pretrain_recipe, records_store, tmp_path):
    store = records_store(
        [{"x": (-1) ** i * 10.0 ** (i % 23 - 11)} for i in range(120)],
        "wide",
        "coverage.underflow=count",
        "scaling.default=none",
    )
    train(pretrain_recipe, store, tmp_path / "run", "model.encoding=p1000", "train.steps=1")

    described = json.loads((tmp_path / "run" / "checkpoints" / "step-00000001" / "model.json").read_text())
    assert described["encoding"]["exponents"] == [-11, 11]

    with pytest.raises(StoreError, match=r"reach from 1e-11 to 1e11, p1000 writes 1e-9 to 1e12"):
        train(pretrain_recipe, store, tmp_path / "no", "model.encoding=p1000", "model.exponents=[-9, 12]")
    assert not (tmp_path / "no").exists()


def test_digits_cover_the_numbers_of_all_splits_and_what_they_round_to_zero_is_said(
    pretrain_recipe, records_store, tmp_path, capsys
):
    values = [{"x": 123.45 + i, "y": 0.5 * (i + 1)} for i in range(60)]
    store = records_store(values, "narrow", "scaling.default=none")
    train(pretrain_recipe, store, tmp_path / "run", "model.encoding=fone", "train.steps=1")
    described = json.loads((tmp_path / "run" / "checkpoints" / "step-00000001" / "model.json").read_text())
    assert described["encoding"] == {"name": "fone", "exponents": described["model"]["exponents"]}
    # From 0.5 to 182.45: three figures of the smallest, and the first digit of the largest.
    assert described["encoding"]["exponents"] == [-3, 2]
    assert "become 0" not in capsys.readouterr().err

    train(pretrain_recipe, store, tmp_path / "short", "model.encoding=fone", "train.steps=1", "model.exponents=[1, 3]")
    # Of 0.5, 1, 1.5 to 30 those below 5 are nearer to 0 than to 10, and 5 itself goes to the even one.
    assert "10 of 120 numbers (scaled) become 0" in capsys.readouterr().err

    with pytest.raises(StoreError, match=r"reach from 1e-1 to 1e2, fone writes 1e-3 to 1e1"):
        train(pretrain_recipe, store, tmp_path / "no", "model.encoding=fone", "model.exponents=[-3, 1]")
    assert not (tmp_path / "no").exists()


def test_the_loss_between_digits_is_of_p10_alone_and_falls(pretrain_recipe, planets, tmp_path):
    overrides = ("model.context=400", "train.steps=6", "objective.number_token_loss=0.3")
    train(pretrain_recipe, planets, tmp_path / "run", "model.encoding=p10", *overrides)
    lines = [line for line in metrics_of(tmp_path / "run") if line["kind"] == "train"]
    # Ten digits alike are 4.5 or less from any other on average.
    assert all(0 < line["number_token_loss"] < 4.5 for line in lines)
    assert lines[0]["loss"] == pytest.approx(lines[0]["token_loss"] + 0.3 * lines[0]["number_token_loss"], rel=1e-5)
    with pytest.raises(RecipeError, match="xval has no tokens that are digits: p10 has"):
        train(pretrain_recipe, planets, tmp_path / "no", *overrides)


def test_numbers_beyond_float32_as_the_recipe_scales_them_write_nothing(pretrain_recipe, records_store, tmp_path):
    values = [{"flux": 1e39 * (place + 1), "x": float(place)} for place in range(30)]
    store = records_store(values, "wide", "scaling.default=asinh")
    request = TrainRequest(
        recipe=pretrain_recipe, data=(store,), output=tmp_path / "run", overrides=("scaling={default: none}",)
    )
    with pytest.raises(StoreError, match=r"wide.zarr: flux has [0-9.e+]+, which is beyond float32"):
        pretrain.run(request)
    assert not (tmp_path / "run").exists()


def test_bfloat16_and_quantiles_and_causal_models_train(pretrain_recipe, planets, tmp_path):
    overrides = ("model.causal=true", "engine.precision=bfloat16", "model.quantiles=[0.25,0.75]", "train.steps=4")
    done = train(pretrain_recipe, planets, tmp_path / "run", *overrides)

    assert np.isfinite(done["validation"]["validation/loss"])
    assert load_model(tmp_path / "run").section.causal


def test_a_plan_counts_what_a_run_would_have(pretrain_recipe, planets, tmp_path):
    plan = train(pretrain_recipe, planets, tmp_path / "run", dry_run=True, json=True, nproc=2)

    assert not (tmp_path / "run").exists()
    assert plan["run"]["would"] == "begin"
    train(pretrain_recipe, planets, tmp_path / "run", "train.steps=1")
    model = load_model(tmp_path / "run")
    assert plan["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert plan["batch"]["accumulation"] == 2
    assert plan["batch"]["padding_share"] < 0.1
    assert plan["data"]["planets"]["training"]["records"] == len(open_records(planets).rows("train"))
    assert plan["memory_per_device"]["activations"] > 0


def test_a_dry_run_over_a_run_says_what_the_line_would_do_with_it(pretrain_recipe, planets, tmp_path, capsys):
    def would(*overrides: str, **options):
        plan = train(pretrain_recipe, planets, tmp_path / "run", *overrides, dry_run=True, json=True, **options)
        return plan["run"]["would"], plan["run"]["step"], capsys.readouterr().err

    train(pretrain_recipe, planets, tmp_path / "run", "train.steps=2")
    what, step, said = would("train.steps=2")
    assert (what, step) == ("nothing", 2)
    assert "complete already, at step 2: nothing would be trained" in said
    assert would("train.steps=3")[:2] == ("resume", 2)
    what, _, said = would("train.steps=2", "train.seed=7")
    assert what == "refuse"
    assert "train.seed was 5, is 7" in said
    assert "--output OTHER" in said
    assert would("train.steps=2", resume="never")[0] == "refuse"
    assert would("train.steps=1")[0] == "refuse"


def test_a_dry_run_refuses_batches_that_are_no_whole_micro_batches(pretrain_recipe, planets, tmp_path):
    with pytest.raises(UserError, match="is not divisible by 3"):
        train(pretrain_recipe, planets, tmp_path / "run", "train.micro_batch_size=3", dry_run=True)


def test_a_plan_without_data_assumes_some(pretrain_recipe):
    plan = pretrain.run(TrainRequest(recipe=pretrain_recipe, dry_run=True, json=True))

    assert plan["assumed"]["tokens_per_record"] == 532


@pytest.mark.parametrize("data", [(), (Path("nowhere"),), (Path(),)])
def test_without_data_the_missing_prepare_command_is_named(pretrain_recipe, tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(UserError, match="polycli prepare xval --source"):
        pretrain.run(TrainRequest(recipe=pretrain_recipe, data=data))

    assert sorted(tmp_path.rglob("*")) == before


def test_a_batch_that_cannot_be_shared_writes_nothing(pretrain_recipe, planets, tmp_path):
    with pytest.raises(UserError, match="not divisible by 3"):
        train(pretrain_recipe, planets, tmp_path / "run", "train.micro_batch_size=3")

    assert not (tmp_path / "run").exists()


def test_records_beyond_the_context_write_nothing(pretrain_recipe, planets, tmp_path):
    with pytest.raises(StoreError, match=r"longer than model\.context 20"):
        train(pretrain_recipe, planets, tmp_path / "run", "model.context=20")

    assert not (tmp_path / "run").exists()


def test_parameters_may_be_sharded_and_layers_recomputed(pretrain_recipe, planets, tmp_path):
    overrides = ("model.encoding=multiscale", "model.quantiles=[0.1,0.9]", "train.steps=2")
    plain = train(pretrain_recipe, planets, tmp_path / "plain", *overrides)
    sharded = train(
        pretrain_recipe,
        planets,
        tmp_path / "sharded",
        *overrides,
        "engine.zero_stage=3",
        "engine.activation_checkpointing=true",
    )

    assert sharded["validation"] == pytest.approx(plain["validation"], rel=1e-4)


def test_two_stores_of_one_name_both_train_and_the_rows_of_both_are_known(pretrain_recipe, records_store, tmp_path):
    values = [{"x": float(place), "y": place / 7} for place in range(120)]
    twins = [records_store(part, "twin") for part in (values[:60], values[60:])]
    request = TrainRequest(
        recipe=pretrain_recipe, data=tuple(twins), output=tmp_path / "run", overrides=("train.steps=1",)
    )
    pretrain.run(request)

    names = {f"{twin.parent.name}-twin" for twin in twins}
    assert json.loads((tmp_path / "run" / "data.json").read_text()).keys() == names
    for twin in twins:
        with pytest.raises(StoreError, match=r"trained on (\d+) of the \1 records"):
            evaluation.run(EvalRequest(checkpoint=tmp_path / "run", data=(twin,), split="train"))
    quick = ("report=false", "bootstrap_samples=20", "baselines=false")
    assert evaluation.run(EvalRequest(checkpoint=tmp_path / "run", overrides=quick))["datasets"].keys() == names


def test_a_store_prepared_again_with_another_scaling_is_not_what_a_complete_run_was_trained_on(
    pretrain_recipe, records_store, tmp_path
):
    """The numbers on disk are equal, what the model sees of them is not."""
    values = [{"x": float(place), "y": place / 7} for place in range(60)]
    store, other = records_store(values), records_store(values, "records", "scaling.default=none")
    request = TrainRequest(recipe=pretrain_recipe, data=(store,), output=tmp_path / "run", overrides=("train.steps=1",))
    pretrain.run(request)
    recipe = load_recipe(pretrain_recipe, family="xval", verb="pretrain", overrides=request.overrides)
    assert look_at_run(request, recipe) is not None

    again = replace(request, data=(other,))
    assert look_at_run(again, recipe) is None
    with pytest.raises(RunError, match=r"complete run.*records was prepared otherwise.*its .*scaling.* not"):
        pretrain.run(again)
