"""What a training of MPP costs, against counts by hand and a real forward pass."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.padding import PERIODIC, WALL
from polycli.mpp.recipe.training import ModelSection, ObjectiveSection
from polycli.mpp.training.costs import activation_bytes, flops_per_sample, grid_computed_on, step_flops
from polycli.recipes import load_recipe
from polycli.sections import EngineSection


def section(**changes):
    sizes = {"embed_dim": 32, "num_heads": 2, "blocks": 4, "patch_size": 8, "position_bias": "none"}
    return ModelSection(**sizes | changes)


def test_a_block_between_first_and_last_costs_what_the_paper_says():
    # 6 x 4 patches of 5 frames, width 32.
    width, frames, height, breadth = 32, 5, 6, 4
    patches = height * breadth
    # Time: queries, keys, values and output; one score and one sum per pair of frames.
    time = patches * (4 * frames * width**2 + 2 * frames**2 * width)
    # Space: 4 products, and 8 of the MLP; then pairs along rows and along columns.
    space = frames * patches * (12 * width**2 + 2 * (height + breadth) * width)
    four, five = (flops_per_sample(section(blocks=blocks), frames, 3, (48, 32)) for blocks in (4, 5))
    assert five - four == 2 * (time + space)


@pytest.mark.parametrize("changes", [{}, {"position_bias": "relative", "patch_size": 16}, {"predicts": "change"}])
@pytest.mark.parametrize("grid", [(48, 32), (30, 45)])
def test_operations_are_those_of_a_real_forward_pass(changes, grid):
    sizes = section(blocks=5, **changes)
    model = AViT(sizes)
    # The counter knows no fused attention of CPUs.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randn(1, 5, 3, *grid), torch.tensor([0, 4, 5]), torch.zeros(1, 2, dtype=torch.long))
    assert flops_per_sample(sizes, 5, 3, grid) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        ({}, 3),
        ({"unroll": 4}, 12),
        ({"unroll": 4, "unroll_gradients": "each_step"}, 12),
        ({"unroll": 4, "unroll_gradients": "last_step"}, 3 + 3),
    ],
)
def test_an_unrolled_step_costs_a_forward_and_a_backward_pass_for_each_of_its_steps_that_has_gradients(
    objective, passes
):
    recipe = load_recipe("mpp_demo", family="mpp", verb="pretrain", overrides=("model.blocks=1",))
    unrolled = recipe.model_copy(update={"objective": ObjectiveSection(**objective)})
    forward = flops_per_sample(recipe.model, recipe.data.history, 2, (32, 32))
    assert step_flops(unrolled, [(1.0, 2, (32, 32))]) == passes * forward * recipe.train.global_batch_size
    kept = 1 if objective.get("unroll_gradients") == "last_step" else objective.get("unroll", 1)
    assert activation_bytes(unrolled, 2, (16, 16), 1) == kept * activation_bytes(recipe, 2, (16, 16), 1)


def test_jitter_costs_a_patch_more_along_axes_that_are_not_periodic():
    sizes = section(jitter="always")
    assert grid_computed_on(sizes, (48, 32), (PERIODIC, PERIODIC)) == (48, 32)
    assert grid_computed_on(sizes, (48, 32), (WALL, PERIODIC)) == (48, 40)
    model = AViT(sizes).train()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randn(1, 5, 3, 48, 32), torch.tensor([0, 4, 5]), torch.tensor([[WALL, PERIODIC]]))
    assert flops_per_sample(sizes, 5, 3, (48, 40)) == counter.get_total_flops()


def test_the_published_model_has_two_operations_per_weight_and_token_and_some_for_attention():
    sizes = load_recipe("mpp_b", family="mpp", verb="pretrain").model
    tokens = 16 * (128 // 16) ** 2
    assert flops_per_sample(sizes, 16, 4, (128, 128)) == pytest.approx(2 * 115.6e6 * tokens, rel=0.15)


def test_activations_grow_with_the_batch_and_shrink_when_recomputed():
    recipe = load_recipe("mpp_demo", family="mpp", verb="pretrain", overrides=("model.blocks=1",))
    recomputed = recipe.model_copy(update={"engine": EngineSection(activation_checkpointing=True)})

    one, two = (activation_bytes(recipe, 2, (32, 32), batch) for batch in (1, 2))

    assert two == pytest.approx(2 * one, rel=0.05)
    assert activation_bytes(recomputed, 2, (32, 32), 1) < 0.5 * one
