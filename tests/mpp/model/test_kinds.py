"""What holds for every network that a recipe can choose: named fields, units, gradients, new fields, counted costs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from polycli.engine.blocks import compile_blocks
from polycli.engine.costs.flops import flop_counter
from polycli.engine.layers import depths_in_order
from polycli.mpp.model.baselines.unet import ConvNextUnet
from polycli.mpp.model.kinds import make_network, parameter_count
from polycli.mpp.model.new_fields import with_new_fields
from polycli.mpp.recipe.networks import KINDS
from polycli.mpp.recipe.training import ModelSection, model_section
from polycli.mpp.training.costs import flops_per_sample
from polycli.mpp.training.freeze import freeze

FIELDS = ("flow.density", "flow.pressure", "heat.temperature")
SIZES = {
    "avit": {"embed_dim": 16, "num_heads": 2, "blocks": 2, "patch_size": 4, "layer_scale": 0.1, "drop_path": 0.0},
    "fno": {"kind": "fno", "width": 6, "modes": 3, "blocks": 2, "history": 3},
    "unet": {"kind": "unet", "width": 4, "stages": 2, "blocks_per_stage": 1, "history": 3, "layer_scale": 0.1},
}
SIZES["vit"] = {
    "kind": "vit",
    "embed_dim": 8,
    "num_heads": 2,
    "blocks": 2,
    "decoder_dim": 6,
    "decoder_heads": 3,
    "decoder_blocks": 1,
    "patch_size": 4,
    "tubelet": 3,
}
LABELS, PERIODIC = torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.long)


@pytest.fixture(params=KINDS)
def section(request):
    return model_section({**SIZES[request.param], "fields": FIELDS, "predicts": "change"})


@pytest.fixture
def network(section):
    torch.manual_seed(1)
    return make_network(section).eval()


def frames(fields: int = 2) -> torch.Tensor:
    return torch.randn(2, 3, fields, 16, 12, generator=torch.Generator().manual_seed(5))


def test_a_section_without_a_kind_is_that_of_the_axial_transformer():
    section = model_section({**SIZES["avit"], "fields": FIELDS})
    assert isinstance(section, ModelSection)
    assert "kind" not in section.model_dump()


def test_a_section_reads_back_from_what_a_checkpoint_says(section):
    assert model_section(section.model_dump(mode="json")) == section
    assert parameter_count(section) == sum(parameter.numel() for parameter in make_network(section).parameters())


@pytest.mark.parametrize("predicts", ["state", "change"])
def test_the_answer_follows_the_units_of_each_field(section, predicts):
    network = make_network(section.model_copy(update={"predicts": predicts})).double().eval()
    x = frames().double()
    factor, shift = (torch.tensor(values, dtype=torch.float64).view(2, 1, 1) for values in ((1e4, 0.3), (7.0, -50.0)))
    answer = network(factor * x + shift, LABELS, PERIODIC)
    # Floors below the scales, for fields of no spread, take a little of a field's spread, not of a number near 0.
    torch.testing.assert_close((answer - shift) / factor, network(x, LABELS, PERIODIC), rtol=3e-5, atol=1e-6)


def test_a_field_is_known_by_its_label_wherever_it_stands(network):
    x = frames()
    swapped = network(x.flip(2), LABELS.flip(0), PERIODIC)
    torch.testing.assert_close(swapped.flip(1), network(x, LABELS, PERIODIC), rtol=1e-4, atol=1e-5)
    assert (network(x, torch.tensor([0, 2]), PERIODIC) - network(x, LABELS, PERIODIC)).abs().max() > 1e-3


def test_every_parameter_that_should_train_has_a_gradient(network):
    network.train()(frames(3), torch.arange(3), PERIODIC).square().sum().backward()
    still = [
        name
        for name, value in network.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.any())
    ]
    assert still == []


def test_new_fields_leave_the_answer_for_the_old_ones(network):
    grown = with_new_fields(network, ["flow.velocity"]).eval()
    torch.testing.assert_close(
        grown(frames(), LABELS, PERIODIC), network(frames(), LABELS, PERIODIC), rtol=1e-4, atol=1e-5
    )
    assert torch.isfinite(grown(frames(), torch.tensor([0, 3]), PERIODIC)).all()


def test_the_modes_of_freezing_keep_the_blocks_and_all_but_the_ends(network):
    freeze(network, "processor")
    assert not any(parameter.requires_grad for parameter in network.blocks.parameters())
    freeze(network, "middle")
    training = {name for name, value in network.named_parameters() if value.requires_grad}
    assert network.field_axes.keys() <= training
    own = ("space_bag", "lifting.frames", "patches.")
    assert all(name in network.field_axes or any(part in name for part in own) for name in training)


def test_operations_are_those_of_a_real_forward_pass(section, network):
    with flop_counter() as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(frames()[:1], LABELS, PERIODIC[:1])
    assert flops_per_sample(section, 3, 2, (16, 12)) == counter.get_total_flops()


def test_layers_lie_in_one_order_but_in_a_u_net(network):
    if isinstance(network, ConvNextUnet):
        assert not network.is_chain
        return
    depths = depths_in_order(network, tuple(network.blocks))
    below = {name for name in network.field_axes if name.endswith(("space_bag.weight", "patches.weight"))}
    assert {depths[name] for name in below} == {0}
    above = network.field_axes.keys() - below
    assert {depths[name] for name in above} == {len(network.blocks) + 1}
    assert depths.get("mask.weight", len(network.blocks) + 1) == len(network.blocks) + 1


@pytest.mark.slow
def test_compiled_blocks_give_the_gradients_of_uncompiled_ones_on_any_grid_and_sides(section):
    gradients = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = make_network(section).train()
        if compiled:
            compile_blocks(model.blocks, backend="aot_eager")
        for grid, sides in (((8, 12), PERIODIC), ((12, 8), 1 - PERIODIC)):
            x = torch.randn(2, 3, 2, *grid, generator=torch.Generator().manual_seed(1))
            model(x, LABELS, sides).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
