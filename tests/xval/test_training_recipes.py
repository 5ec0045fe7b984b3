"""The recipes that train say what the paper says, and fit the machines that they are meant for."""

import pytest

from polycli.engine.plan import check_division
from polycli.recipes import load_recipe
from polycli.xval.model import parameter_count
from polycli.xval.recipe import FinetuneRecipe, PretrainRecipe


@pytest.mark.parametrize("name", ["xval_planets", "xval_arithmetic", "xval_temperature"])
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
