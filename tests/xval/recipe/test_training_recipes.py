"""The recipes that train say what the paper says, and fit the machines that they are meant for."""

import json

import pytest

from polycli.__main__ import run as command_line
from polycli.engine.batches.plan import check_division
from polycli.errors import RecipeError
from polycli.recipes import default_recipe, load_recipe, settings_schema
from polycli.xval.model.numformer import parameter_count
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe


@pytest.mark.parametrize("name", ["xval_planets", "xval_arithmetic", "xval_trees", "xval_temperature"])
def test_the_paper_s_network_and_optimizer(name):
    recipe = load_recipe(name, family="xval", verb="pretrain", schema=PretrainRecipe)
    model, optim = recipe.model, recipe.optim

    assert (model.embed_dim, model.num_heads, model.blocks, model.feed_forward) == (768, 6, 6, 3072)
    assert (optim.name, optim.learning_rate, optim.weight_decay) == ("adamw", 1e-4, 1e-2)
    assert recipe.objective.number_weight == 1
    for processes in (1, 2, 4, 8):
        check_division(recipe.train.global_batch_size, 1, processes, [recipe.train.micro_batch_size])


def test_planets_have_the_paper_s_context_batch_and_masks():
    recipe = load_recipe("xval_planets", family="xval", verb="pretrain", schema=PretrainRecipe)

    assert (recipe.model.context, recipe.train.global_batch_size) == (1024, 32)
    assert recipe.objective.mask_probability == 0.3
    # Without what the paper has not, and with its vocabulary: 48.14 M.
    plain = recipe.model.model_copy(update={"quantiles": ()})
    assert parameter_count(plain, 27) == pytest.approx(48.14e6, rel=1e-4)


def test_small_recipes_share_out_their_batch():
    for recipe in (
        load_recipe("xval_demo", family="xval", verb="pretrain", schema=PretrainRecipe),
        load_recipe("xval_finetune", family="xval", verb="finetune", schema=FinetuneRecipe),
    ):
        for processes in (1, 2):
            check_division(recipe.train.global_batch_size, 1, processes, [recipe.train.micro_batch_size])


@pytest.mark.parametrize(
    ("source", "data", "model"),
    [
        ("planets", "xval_planets_data", "xval_planets"),
        ("planets", "xval_demo_data", "xval_demo"),
        ("arithmetic", "xval_arithmetic_data", "xval_arithmetic"),
        ("arithmetic", "xval_trees_data", "xval_trees"),
        ("arithmetic", "xval_study_products", "xval_study_model"),
        ("planets", "xval_study_planets", "xval_race_model"),
        ("temperature", "xval_temperature_data", "xval_temperature"),
    ],
)
def test_the_data_of_a_recipe_fit_the_model_of_its_name(tmp_path, capsys, source, data, model):
    store = tmp_path / "s.zarr"
    prepare = ["prepare", "xval", "--source", source, "--recipe", data, "--limit", "12", "--workers", "1"]
    assert command_line([*prepare, "--output", str(store), "--json"]) == 0
    longest = json.loads(capsys.readouterr().out)["stores"][0]["coverage"]["longest"]
    pretrain = ["pretrain", "xval", "--recipe", model, "--data", str(store), "--output", str(tmp_path / "run")]
    assert command_line([*pretrain, "--dry-run", "--json"]) == 0
    recipe = load_recipe(model, family="xval", verb="pretrain", schema=PretrainRecipe)
    assert longest <= recipe.model.context


def test_a_context_beyond_all_use_is_refused_by_name_before_a_network_is_planned():
    with pytest.raises(RecipeError, match="context"):
        load_recipe("xval_demo", family="xval", verb="pretrain", overrides=("model.context=9223372036854775807",))


@pytest.mark.parametrize(
    ("verb", "override"),
    [("eval", "share=1e-30"), ("eval", "seed=1000000000000000000"), ("calibrate", "seed=4294967296")],
)
def test_settings_beyond_all_use_are_refused_by_name(verb, override):
    """So many turns, and a seed that scikit-learn does not take, ended in a traceback."""
    schema = settings_schema("xval", verb)
    with pytest.raises(RecipeError, match="`" + override.split("=")[0] + "` should be"):
        default_recipe("xval", verb, (override,), schema=schema)
