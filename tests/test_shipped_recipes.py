"""Every recipe that polycli ships loads, says what it is, and fits the machines that it is meant for."""

import json
from pathlib import Path

import pytest

from polycli.engine.batches.plan import check_division
from polycli.mpp.model.kinds import parameter_count
from polycli.mpp.recipe.training import PrepareRecipe, PretrainRecipe
from polycli.recipes import load_any_recipe, load_recipe, recipes_folder, shipped_names, shipped_recipes
from polycli.workflow.study.recipe import StudyRecipe

COSTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "rollout_costs.json"
PUBLISHED = {"mpp_ti": 7.29, "mpp_s": 28.98, "mpp_b": 115.61, "mpp_l": 407.06}  # million parameters


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_loads_and_describes_itself(name):
    first = (recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]

    recipe = load_any_recipe(name)

    assert first.startswith("# ")
    assert {shipped.name: shipped.description for shipped in shipped_recipes()}[name] == first.removeprefix("# ")
    assert recipe.family in {"mpp", "xval", "astroclip"}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_the_published_sizes_train_as_the_paper_says(name, millions):
    recipe = load_recipe(name, family="mpp", verb="pretrain", schema=PretrainRecipe)

    assert parameter_count(recipe.model) / 1e6 == pytest.approx(millions, abs=0.005)
    assert (recipe.data.history, recipe.train.steps, recipe.model.patch_size) == (16, 200_000, 16)
    assert (recipe.optim.name, recipe.optim.learning_rate, recipe.optim.weight_decay) == ("dadapt_adan", 1.0, 1e-3)
    assert recipe.engine.zero_stage == 0  # D-Adaptation under ZeRO would step differently on every rank
    for processes in (1, 2, 4, 8):
        check_division(
            recipe.train.global_batch_size, recipe.data.draws_per_step, processes, [recipe.train.micro_batch_size]
        )


@pytest.mark.parametrize(("name", "most"), [("mpp_demo", 1), ("mpp_small", 2)])
def test_small_recipes_share_out_their_batch(name, most):
    recipe = load_recipe(name, family="mpp", verb="pretrain", schema=PretrainRecipe)

    for processes in range(1, most + 1):
        check_division(
            recipe.train.global_batch_size, recipe.data.draws_per_step, processes, [recipe.train.micro_batch_size]
        )


def test_the_rollout_study_gives_each_switch_the_steps_that_its_measured_cost_allows():
    runs = load_recipe("mpp_rollout_study", family="mpp", verb="study", schema=StudyRecipe).runs.values()
    measured = json.loads(COSTS.read_text(encoding="utf-8"))["figures"]
    chosen = {switch: settings for run in runs for switch, settings in run.choices["switch"].items()}
    steps = {switch: int(settings[-1].removeprefix("train.steps=")) for switch, settings in chosen.items()}
    assert steps == measured["steps"]
    for switch, seconds in measured["step_seconds"].items():
        assert steps[switch] == round(measured["seconds"] / seconds)


def test_the_demo_simulates_at_least_three_physics_that_its_model_can_read():
    data = load_recipe("mpp_demo_data", family="mpp", verb="prepare", schema=PrepareRecipe)
    model = load_recipe("mpp_demo", family="mpp", verb="pretrain", schema=PretrainRecipe)

    assert len({section.system for section in data.simulate.values()}) >= 3
    for section in data.simulate.values():
        assert section.grid % model.model.patch_size == 0
        assert section.frames > model.data.history * model.data.time_stride
