"""What a run folder tells before torch is imported."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from polycli.checkpoints.manifest import write_manifest
from polycli.commands.run_folder import look_at_run
from polycli.engine.run import write_atomically
from polycli.errors import RunError
from polycli.recipes import dump_recipe, load_recipe
from polycli.requests import TrainRequest
from polycli.store.manifest import read_manifest
from tests.mpp.conftest import make_store


def recipe_with(*overrides: str):
    return load_recipe("mpp_demo", family="mpp", verb="pretrain", overrides=overrides)


@pytest.fixture
def complete(tmp_path):
    """A run of 7 steps that is over, and the request that led to it."""
    run = tmp_path / "run"
    store = make_store(tmp_path / "swe", "swe")
    checkpoint = run / "checkpoints/step-00000007"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    write_manifest(
        checkpoint, step=7, family="mpp", verb="pretrain", world_size=1, zero_stage=0, optimizer="adamw", metric=None
    )
    write_atomically(run / "recipe.yaml", dump_recipe(recipe_with("train.steps=7")))
    write_atomically(run / "data.json", json.dumps({"swe": {"store_hash": read_manifest(store).store_hash}}))
    (run / "status.json").write_text(json.dumps({"state": "complete", "step": 7}))
    return TrainRequest(recipe="mpp_demo", data=(store,), output=run)


def test_a_complete_run_is_answered_with_its_last_checkpoint(complete, capsys):
    found = look_at_run(complete, recipe_with("train.steps=7"))
    assert found is not None
    assert (found["step"], found["checkpoint"]) == (7, str(complete.output / "checkpoints/step-00000007"))
    assert "complete already, at step 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    "override",
    [
        "train.steps=8",
        "model.blocks=3",
        "train.seed=1",
        "optim.learning_rate=0.5",
        "train.global_batch_size=48",
        "train.micro_batch_size=1",
        "objective.normalise_by=variance",
        "data.history=3",
        "engine.precision=bfloat16",
    ],
)
def test_another_recipe_is_for_the_engine_to_go_on_with_or_to_refuse(complete, override):
    assert look_at_run(complete, recipe_with("train.steps=7", override)) is None


def test_keys_on_which_no_result_depends_may_differ(complete):
    settings = ("data.workers=0", "log.every=3", "engine.zero_stage=0", "train.keep_last=5", "data.stores=[elsewhere]")
    assert look_at_run(complete, recipe_with("train.steps=7", *settings)) is not None


def test_other_data_a_limit_or_data_that_is_not_there_is_no_complete_run(complete, tmp_path):
    recipe = recipe_with("train.steps=7")
    other = make_store(tmp_path / "other", "swe", seed=1)
    assert look_at_run(replace(complete, data=(other,)), recipe) is None
    assert look_at_run(replace(complete, data=(*complete.data, other)), recipe) is None
    assert look_at_run(replace(complete, data=(tmp_path / "nowhere.zarr",)), recipe) is None
    assert look_at_run(replace(complete, data=()), recipe) is None
    assert look_at_run(replace(complete, limit=2), recipe) is None
    # The same store by another way is the same.
    (tmp_path / "link.zarr").symlink_to(complete.data[0])
    assert look_at_run(replace(complete, data=(tmp_path / "link.zarr", complete.data[0])), recipe) is not None


@pytest.mark.parametrize("state", ["running", "preempted", "failed"])
def test_a_run_that_is_not_complete_goes_on(complete, state):
    (complete.output / "status.json").write_text(json.dumps({"state": state, "step": 7}))
    assert look_at_run(complete, recipe_with("train.steps=7")) is None


def test_a_damaged_checkpoint_is_no_complete_run(complete):
    (complete.output / "checkpoints/step-00000007/model.safetensors").write_bytes(b"Weights")
    assert look_at_run(complete, recipe_with("train.steps=7")) is None


def test_what_the_resume_policy_forbids_is_refused_here(complete, tmp_path):
    never = TrainRequest(recipe="mpp_demo", output=complete.output, resume="never")
    with pytest.raises(RunError, match="holds a run already"):
        look_at_run(never, recipe_with())
    with pytest.raises(RunError, match="no run to resume"):
        look_at_run(TrainRequest(recipe="mpp_demo", output=tmp_path / "none", resume="must"), recipe_with())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("")
    with pytest.raises(RunError, match="not empty and no run"):
        look_at_run(TrainRequest(recipe="mpp_demo", output=tmp_path / "thesis"), recipe_with())


def test_the_look_does_not_import_torch():
    code = "import sys, polycli.commands.run_folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_profile_is_a_key_of_the_recipe(tmp_path):
    from polycli.commands.verbs import _with_profile

    recipe = recipe_with(*_with_profile(["train.steps=3"], 2))
    assert recipe.log.profile == 2
    assert recipe_with(*_with_profile(None, None)).log.profile == 0
