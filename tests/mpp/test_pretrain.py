"""Stores to a run: what is in it, that it does not depend on readers, and that what cannot be leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polycli.errors import PreemptedError, RunError, StoreError, UserError
from polycli.mpp import eval as evaluation
from polycli.mpp import load_model, pretrain
from polycli.mpp.training.batches import MixtureBatches
from polycli.recipes import load_recipe
from polycli.requests import EvalRequest, TrainRequest
from polycli.store.statistics import RunningStatistics
from tests.mpp.conftest import make_store

RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 16, num_heads: 2, blocks: 2, patch_size: 4, predicts: change, drop_path: 0.1, layer_scale: 0.1}
data: {history: 3, draws_per_step: 2, validation_windows: 5, workers: 1}
objective: {normalise_by: change}
optim: {learning_rate: 3.0e-3}
schedule: {name: constant, warmup_steps: 2}
train: {steps: 12, global_batch_size: 8, micro_batch_size: 2, seed: 5, validate_every: 6, checkpoint_every: 6}
log: {every: 1}
"""


#: Everything that keeps rollouts stable, at once.
SWITCHES = (
    "model.jitter=always",
    "model.absolute_position=walls",
    "objective.noise=0.1",
    "objective.unroll=2",
    "optim.ema_decay=0.5",
)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


@pytest.fixture
def stores(store_factory):
    paths = [
        store_factory("swe", physics="shallow_water", splits=("train",) * 6 + ("validation", "test")),
        store_factory("reaction", physics="diffusion_reaction", frames=10, boundary="wall", seed=1),
    ]
    return paths[0].parent


def metrics_of(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


def train(recipe: str, stores: Path, output: Path, *overrides: str, **options) -> dict:
    request = TrainRequest(recipe=recipe, data=(stores,), output=output, overrides=overrides, **options)
    return pretrain.run(request)


def model_file(run: Path, step: int = 12) -> Path:
    return run / "checkpoints" / f"step-{step:08d}" / "model.safetensors"


def polycli(*arguments: object) -> subprocess.CompletedProcess:
    return python("-m", "polycli", *arguments)


def python(*arguments: object) -> subprocess.CompletedProcess:
    # Tests that train in this process have made it a rank, which its children must not inherit.
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in launcher},
    )


def test_fields_in_units_that_errors_cannot_measure_are_warned_of(recipe, store_factory, tmp_path, capsys, monkeypatch):
    """Fields of 1e-6 gave errors a thousandfold too small, without a word."""
    whole = RunningStatistics.merge
    monkeypatch.setattr(
        RunningStatistics,
        "merge",
        lambda parts: {
            name: {key: value if key == "count" else 1e-7 * value for key, value in found.items()}
            for name, found in whole(parts).items()
        },
    )
    path = store_factory("tiny", splits=("train",) * 4 + ("validation", "test"))
    train(recipe, path, tmp_path / "run", "train.steps=1")
    sentence = "warning: tiny: shallow_water.height varies by"
    assert sentence in (said := capsys.readouterr().err)
    assert "multiplied by 1e+0" in said
    evaluation.run(EvalRequest(checkpoint=tmp_path / "run", output=tmp_path / "eval", overrides=("report=false",)))
    assert sentence in capsys.readouterr().err


def test_the_command_line_makes_a_run_that_describes_itself(recipe, stores, tmp_path):
    done = polycli("pretrain", "mpp", "--recipe", recipe, "--data", stores, "--output", tmp_path / "run", "--json")

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    run = tmp_path / "run"
    assert answer["step"] == 12
    assert answer["checkpoint"] == str(run / "checkpoints" / "step-00000012")
    assert json.loads((run / "status.json").read_text())["state"] == "complete"
    lines = metrics_of(run)
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    validations = [line for line in lines if line["kind"] == "validation"]
    assert [line["step"] for line in validations] == [6, 12]
    assert validations[1]["validation/loss"] < validations[0]["validation/loss"] < 1.05
    assert validations[1]["validation/loss"] == pytest.approx(
        (
            validations[1]["validation/swe/nrmse_over_persistence"]
            + validations[1]["validation/reaction/nrmse_over_persistence"]
        )
        / 2
    )
    described = json.loads((run / "checkpoints" / "step-00000012" / "model.json").read_text())
    data = json.loads((run / "data.json").read_text())
    manifest = json.loads((stores / "swe.zarr" / "MANIFEST.json").read_text())
    assert described["model"]["fields"][0] == "shallow_water.height"
    assert described["data"] == {"history": 3, "time_stride": 1}
    assert described["trained_on"]["swe"]["rows"] == manifest["row_hashes"][:6]
    assert described["trained_on"]["swe"]["store_hash"] == data["swe"]["store_hash"]
    repeated = load_recipe(str(run / "recipe.yaml"), family="mpp", verb="pretrain")
    assert repeated.data.stores == (str(stores.resolve()),)


def test_the_model_of_a_run_is_read_back_by_load_model(recipe, stores, tmp_path):
    train(recipe, stores, tmp_path / "run", "train.steps=2")
    model = load_model(tmp_path / "run")

    x = torch.randn(1, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    prediction = model(x, torch.tensor([0]), torch.ones(1, 2, dtype=torch.long))
    assert prediction.shape == (1, 1, 16, 16)
    assert torch.isfinite(prediction).all()


@pytest.mark.parametrize("workers", [0, 3])
def test_readers_do_not_change_a_single_bit(recipe, stores, tmp_path, workers):
    train(recipe, stores, tmp_path / "one", "train.steps=4")
    train(recipe, stores, tmp_path / "other", "train.steps=4", f"data.workers={workers}")

    assert metrics_of(tmp_path / "one") == metrics_of(tmp_path / "other")


@pytest.mark.parametrize("overrides", [(), SWITCHES], ids=["plain", "switches"])
def test_a_run_that_a_signal_stopped_and_the_same_line_resumed_equals_one_never_stopped(
    recipe, stores, tmp_path, monkeypatch, overrides
):
    train(recipe, stores, tmp_path / "whole", *overrides)
    ordinary = MixtureBatches.micro_batches

    def stop_when_reading_step_seven(self, step, world):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return ordinary(self, step, world)

    monkeypatch.setattr(MixtureBatches, "micro_batches", stop_when_reading_step_seven)
    with pytest.raises(PreemptedError):
        train(recipe, stores, tmp_path / "cut", *overrides)
    monkeypatch.setattr(MixtureBatches, "micro_batches", ordinary)
    stopped_at = metrics_of(tmp_path / "cut")[-1]["step"]
    train(recipe, stores, tmp_path / "cut", *overrides, resume="must")

    assert 0 < stopped_at < 12
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    weights = [model_file(tmp_path / name).read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_what_a_model_must_remember_in_forecasts_stands_in_its_description(recipe, stores, tmp_path):
    train(recipe, stores, tmp_path / "run", *SWITCHES, "train.steps=2")
    described = json.loads(model_file(tmp_path / "run", 2).with_name("model.json").read_text())
    assert described["model"]["jitter"] == "always"
    assert described["model"]["absolute_position"] == "walls"
    assert described["model"]["predicts"] == "change"
    assert described["ema"] == 0.5
    for said in (load_model(tmp_path / "run"), load_model(model_file(tmp_path / "run", 2))):
        assert (said.section.jitter, said.section.absolute_position) == ("always", "walls")
    alone = shutil.copy(model_file(tmp_path / "run", 2), tmp_path / "alone.safetensors")
    assert load_model(alone).section == said.section, "from the metadata of the bare file"
    assert load_model(alone, jitter="none").section.jitter == "none"


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_under_zero_2_resume_exactly_and_learn_as_one_does(recipe, stores, tmp_path):
    script = Path(__file__).with_name("pretrain_ranks.py")
    command = [sys.executable, str(script), recipe, str(stores), str(tmp_path)]
    done = python("-c", f"import sys; from polycli.launch import start_ranks; sys.exit(start_ranks(2, {command!r}))")
    assert done.returncode == 0, done.stderr
    train(recipe, stores, tmp_path / "alone", "model.drop_path=0")

    whole = metrics_of(tmp_path / "whole")
    assert metrics_of(tmp_path / "cut") == whole
    for one, two in zip(metrics_of(tmp_path / "alone"), whole, strict=True):
        assert two.pop("kind") == one.pop("kind")
        assert two == {key: pytest.approx(value, rel=2e-3) for key, value in one.items()}


@pytest.mark.slow
@pytest.mark.distributed
def test_processes_that_cannot_share_the_batch_write_nothing(recipe, stores, tmp_path):
    done = polycli("pretrain", "mpp", "--recipe", recipe, "--data", stores, "--output", tmp_path / "run", "--nproc", 3)

    assert done.returncode == 2
    assert "nearest sizes that work: 12" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", [(), (Path("nowhere"),), (Path(),)])
def test_without_data_the_missing_prepare_command_is_named(recipe, tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(UserError) as caught:
        pretrain.run(TrainRequest(recipe=recipe, data=data))

    assert caught.value.exit_code == 2
    assert "polycli prepare mpp --source" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_flipped_bit_is_found_before_anything_is_written(recipe, stores, tmp_path):
    chunk = max(
        (stores / "swe.zarr" / "fields" / "c").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)

    with pytest.raises(StoreError, match=r"swe\.zarr.*fields"):
        train(recipe, stores, tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_other_data_is_refused_unless_the_run_must_go_on_with_it(recipe, stores, tmp_path, capsys):
    train(recipe, stores, tmp_path / "run", "train.steps=1")
    assert "other data" not in capsys.readouterr().err

    for steps in (1, 2):
        with pytest.raises(RunError, match=r"the store reaction \(hash [0-9a-f]{12}\) is left out"):
            train(recipe, stores / "swe.zarr", tmp_path / "run", f"train.steps={steps}")

    train(recipe, stores / "swe.zarr", tmp_path / "run", "train.steps=2", resume="must")
    assert "resuming with other data: the store reaction" in capsys.readouterr().err


def test_a_complete_run_is_found_again_and_never_taken_for_another_one(recipe, stores, tmp_path, capsys):
    first = train(recipe, stores, tmp_path / "run", "train.steps=1")
    again = train(recipe, stores, tmp_path / "run", "train.steps=1", "data.workers=0")
    assert again["checkpoint"] == first["checkpoint"]
    assert "complete already, at step 1" in capsys.readouterr().err
    for override in ("train.seed=6", "optim.learning_rate=1.0e-4", "objective.normalise_by=target"):
        with pytest.raises(RunError, match=f"{override.split('=')[0]} was .*, is ") as refused:
            train(recipe, stores, tmp_path / "run", "train.steps=1", override)
        assert refused.value.exit_code == 2
    with pytest.raises(UserError, match="no such"):
        train(recipe, tmp_path / "nowhere.zarr", tmp_path / "run", "train.steps=1")


def test_two_stores_of_one_name_both_train_and_the_rows_of_both_are_known(recipe, tmp_path):
    twins = [make_store(tmp_path / folder, "waves", seed=seed) for seed, folder in enumerate(("first", "second"))]
    request = TrainRequest(
        recipe=recipe, data=tuple(twins), output=tmp_path / "run", overrides=("train.steps=1", "train.validate_every=1")
    )
    scores = pretrain.run(request)["validation"]

    names = {"first-waves", "second-waves"}
    assert {name.split("/")[1] for name in scores if name.endswith("/nrmse")} == names
    assert json.loads((tmp_path / "run" / "data.json").read_text()).keys() == names
    for twin in twins:
        with pytest.raises(StoreError, match="trained on 4 of the 4 trajectories"):
            evaluation.run(EvalRequest(checkpoint=tmp_path / "run", data=(twin,), split="train"))
    quick = ("report=false", "bootstrap_samples=20", "max_windows=2", "rollout_steps=1")
    assert evaluation.run(EvalRequest(checkpoint=tmp_path / "run", overrides=quick))["datasets"].keys() == names


def test_a_run_goes_to_a_folder_named_for_its_recipe(recipe, stores, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    pretrain.run(TrainRequest(recipe=recipe, data=(stores,), overrides=("train.steps=1",)))

    assert (tmp_path / "runs" / "tiny" / "status.json").is_file()
