"""The transfer study: what it runs, that both starts are trained alike, and once, tiny, through the command line."""

import json
from collections import Counter
from pathlib import Path

import pytest

from polycli.mpp.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.recipes import load_recipe
from polycli.requests import StudyRequest
from polycli.workflow.study.plan import Layout, experiments, training_settings
from polycli.workflow.study.recipe import StudyRecipe
from polycli.workflow.study.running import run_study

NAMES = ["mpp_transfer_study", "mpp_transfer_study_gpu"]
SECTIONS = ("train", "schedule", "objective", "engine", "optim", "data")


def study(name) -> StudyRecipe:
    return load_recipe(name, family="mpp", verb="study", schema=StudyRecipe)


def recipe_of(plan: StudyRecipe, entry: str, number: int = 0):
    run = plan.runs[entry]
    schema = FinetuneRecipe if run.verb == "finetune" else PretrainRecipe
    settings = training_settings(plan, experiments(entry, run)[number], Layout(Path("study")))
    return load_recipe(run.recipe, family="mpp", verb=run.verb, overrides=settings, schema=schema)


@pytest.mark.parametrize("name", NAMES)
def test_two_targets_four_nested_sets_three_seeds_and_two_starts(tmp_path, name):
    planned = run_study(StudyRequest(recipe=name, output=tmp_path / "study", dry_run=True, json=True), "mpp")
    counted = Counter(command.split()[1] for command in planned["commands"])
    # One model for all systems, one for each; 24 of each start, and 3 longer ones; the force, of two starts and three
    # seeds, with the network or by a probe.
    assert counted == {"prepare": 6, "pretrain": 1 + 3 + 24 + 3, "finetune": 24 + 3 + 12, "eval": 1 + 3 + 48 + 6 + 12}
    plan = study(name)
    for entry in ("from_pretrained", "from_scratch"):
        grid = plan.runs[entry].grid
        assert (len(grid["target"]), len(set(grid["samples"])), len(grid["seed"])) == (2, 4, 3)
        chosen = {recipe_of(plan, entry, number).data.train_trajectories for number in range(24)}
        assert chosen == set(grid["samples"])


@pytest.mark.parametrize("name", NAMES)
def test_both_starts_train_alike_but_for_their_learning_rates(name):
    plan = study(name)
    assert plan.runs["from_pretrained"].grid == plan.runs["from_scratch"].grid
    for number, experiment in enumerate(experiments("from_scratch", plan.runs["from_scratch"])):
        tuned, scratch = (recipe_of(plan, entry, number) for entry in ("from_pretrained", "from_scratch"))
        assert tuned.train.seed == experiment.values["seed"]
        for section in SECTIONS:
            ours, theirs = (getattr(one, section).model_dump() for one in (tuned, scratch))
            if section == "optim":
                del ours["learning_rate"], theirs["learning_rate"]
            if section == "data":  # the checkpoint's, where finetuning does not say it
                ours["history"] = recipe_of(plan, "pretrained").data.history
            assert ours == theirs, section


@pytest.mark.parametrize("name", NAMES)
def test_the_one_model_and_each_single_one_see_as_many_samples_of_a_system_with_one_network(name):
    plan = study(name)
    together = recipe_of(plan, "pretrained")
    assert together.data.draws_per_step == len(plan.runs["pretrained"].stores) == 3
    for number in range(3):
        single = recipe_of(plan, "single", number)
        assert single.model == together.model
        assert single.train.steps == together.train.steps
        assert single.train.global_batch_size * 3 == together.train.global_batch_size
        assert single.optim == together.optim


@pytest.mark.parametrize("name", NAMES)
def test_the_withheld_systems_are_not_pretrained_on(name):
    plan = study(name)
    targets = plan.runs["from_scratch"].grid["target"]
    assert not set(targets) & set(plan.runs["pretrained"].stores)
    assert set(plan.stores) == {*targets, *plan.runs["pretrained"].stores, "forced"}


@pytest.mark.slow
def test_a_tiny_transfer_study_runs_to_its_tables(tmp_path):
    simulate = "simulate={{{name}: {{system: {system}, trajectories: 12, frames: 10, grid: 16{more}}}}}"
    systems = {name: name for name in ("shallow_water", "diffusion_reaction", "incompressible_ns")}
    more = {"forced": ", variant: forced"}
    withheld = {"near": "compressible_ns", "far": "compressible_ns"}
    overrides = [
        f"stores.{name}.set=['{simulate.format(name=name, system=system, more=more.get(name, ''))}']"
        for name, system in {**systems, **withheld, "forced": "incompressible_ns"}.items()
    ]
    plan = study("mpp_transfer_study")
    for entry, run in plan.runs.items():
        tiny = [one for one in run.set if one not in {"data.train_trajectories=64", "train.steps=1500"}]
        tiny += [] if "train.steps={steps}" in tiny else ["train.steps=2"]
        tiny = [*tiny, "model.embed_dim=16", "model.num_heads=2", "model.blocks=1"]
        tiny = [setting for setting in tiny if run.verb == "pretrain" or not setting.startswith("model.")]
        overrides.append(f"runs.{entry}.set={json.dumps(tiny)}")
    grid = "{target: [near, far], samples: [2, 4], seed: [0]}"
    overrides += [f"runs.{entry}.grid={grid}" for entry in ("from_pretrained", "from_scratch")]
    grid = "{parameter: [force], seed: [0]}"
    overrides += [f"runs.{entry}.grid={grid}" for entry in plan.runs if entry.startswith(("force", "probe"))]
    overrides += [f"runs.longer_{start}.grid={{steps: [2, 3], seed: [0]}}" for start in ("pretrained", "scratch")]
    request = StudyRequest(recipe="mpp_transfer_study", output=tmp_path / "study", overrides=tuple(overrides))
    document = run_study(request, "mpp")
    assert set(document["comparisons"]) == {section.title for section in plan.comparisons}
    assert (tmp_path / "study/comparisons.png").is_file()
