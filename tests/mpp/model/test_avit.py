"""AViT equals the published code where that is right, and does what it should where that is wrong."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from polycli.engine.blocks import compile_blocks, recompute_blocks
from polycli.errors import UserError
from polycli.mpp import load_model
from polycli.mpp.model.attention import drop_path
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.kinds import parameter_count
from polycli.mpp.model.metrics import mean_square, mean_square_error, nrmse
from polycli.mpp.recipe.training import ModelSection

ROOT = Path(__file__).resolve().parents[3]
PARITY = ROOT.parent / "shared" / "parity"
CLOSED = torch.zeros(1, 2, dtype=torch.long)


def tiny(**changes):
    sizes = {"embed_dim": 32, "num_heads": 2, "blocks": 2, "drop_path": 0.0, "layer_scale": 0.5} | changes
    torch.manual_seed(0)
    return AViT(ModelSection(**sizes)).eval()


def relative_error(found, expected):
    return float(((found - expected).norm() / expected.norm()).detach())


def plain_form():
    spec = importlib.util.spec_from_file_location("train_step", ROOT / "benchmarks" / "train_step.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_forward


@pytest.mark.parity
@pytest.mark.skipif(not PARITY.is_dir(), reason="the reference values of the original projects are not here")
@pytest.mark.parametrize("labels_for", ["every sample", "the batch"])
@pytest.mark.parametrize("name", ["mpp_avit_rel", "mpp_avit_rel_periodic", "mpp_avit_continuous"])
def test_outputs_losses_and_gradients_are_those_of_the_published_code(name, labels_for):
    with safe_open(PARITY / f"{name}.safetensors", "pt") as file:
        reference = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    model = load_model(PARITY / f"{name}.safetensors")
    labels, target = reference["input.state_labels"], reference["input.target"]
    labels = labels if labels_for == "every sample" else labels[0]
    prediction = model(reference["input.x"].transpose(0, 1), labels, reference["input.bcs"])
    loss = (mean_square_error(prediction, target) / (mean_square(target) + 1e-7)).mean()
    loss.backward()
    assert relative_error(prediction, reference["output.prediction"]) <= 1e-5
    assert relative_error(loss, reference["output.loss"]) <= 1e-5
    assert relative_error(nrmse(prediction, target).mean(), reference["output.nrmse"]) <= 1e-5
    gradients = {key.removeprefix("grad."): value for key, value in reference.items() if key.startswith("grad.")}
    parameters = dict(model.named_parameters())
    assert len(gradients) == 5
    for parameter, expected in gradients.items():
        assert relative_error(parameters[parameter].grad, expected) <= 1e-4, parameter


@pytest.mark.parametrize(
    ("width", "heads", "blocks", "millions"),
    [(192, 3, 12, 7.29), (384, 6, 12, 28.98), (768, 12, 12, 115.61), (1024, 16, 24, 407.06)],
)
def test_the_four_sizes_have_the_published_parameter_counts(width, heads, blocks, millions):
    section = ModelSection(embed_dim=width, num_heads=heads, blocks=blocks)
    assert round(parameter_count(section) / 1e6, 2) == millions


@pytest.mark.parametrize("bcs", [[0, 0], [1, 0], [0, 1], [1, 1]])
def test_it_equals_the_plain_form_with_unfused_stem_and_all_frames_decoded(bcs):
    model = tiny(blocks=3).double()
    weights = dict(model.named_parameters())
    x = torch.randn(2, 5, 3, 80, 48, dtype=torch.float64)
    labels, flags = torch.tensor([9, 0, 4]), torch.tensor([bcs, bcs])
    direction = torch.randn(2, 3, 80, 48, dtype=torch.float64)
    ours = model(x, labels, flags)
    plain = plain_form()(weights, model.section, x, labels, flags)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
    found = torch.autograd.grad((ours * direction).sum(), list(trained.values()))
    expected = torch.autograd.grad((plain * direction).sum(), list(trained.values()))
    scale = max(float(value.abs().max()) for value in expected)
    for name, one, other in zip(trained, found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10 * scale, msg=name)


@pytest.mark.parametrize("patch_size", [4, 8, 16])
@pytest.mark.parametrize("position_bias", ["relative", "continuous"])
def test_labels_and_boundaries_of_each_sample_are_honoured(patch_size, position_bias):
    model = tiny(patch_size=patch_size, position_bias=position_bias)
    x = torch.randn(3, 4, 2, 5 * patch_size, 4 * patch_size)
    labels = torch.tensor([[3, 0], [1, 2], [3, 0]])
    bcs = torch.tensor([[0, 1], [1, 1], [1, 0]])
    together = model(x, labels, bcs)
    for sample in range(3):
        alone = model(x[sample : sample + 1], labels[sample], bcs[sample : sample + 1])
        torch.testing.assert_close(together[sample : sample + 1], alone, rtol=1e-4, atol=1e-5)
    other_labels = model(x, labels.flip(0, 1), bcs)
    other_bcs = model(x, labels, 1 - bcs)
    for sample in range(3):
        assert relative_error(other_labels[sample], together[sample]) > 1e-3
        assert relative_error(other_bcs[sample], together[sample]) > 1e-4


@pytest.mark.parametrize("position_bias", ["relative", "continuous", "none"])
@pytest.mark.parametrize("predicts", ["state", "change"])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (1, 48, 32), (3, 16, 16), (2, 16, 48)])
def test_one_frame_one_token_and_odd_token_counts_give_finite_values_and_gradients(
    position_bias, predicts, frames, height, width
):
    model = tiny(position_bias=position_bias, predicts=predicts)
    x = torch.randn(2, frames, 2, height, width)
    output = model(x, torch.tensor([1, 5]), torch.tensor([[0, 0], [1, 1]]))
    assert output.shape == (2, 2, height, width)
    output.square().mean().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad and p.grad is not None)


def test_on_a_ring_of_an_odd_number_of_tokens_a_shift_of_the_fields_shifts_the_output():
    model = tiny(blocks=1)
    x = torch.randn(1, 3, 2, 5 * 16, 3 * 16)
    labels, ring = torch.tensor([0, 1]), torch.ones(1, 2, dtype=torch.long)
    shifted = model(x.roll((32, 16), dims=(-2, -1)), labels, ring)
    torch.testing.assert_close(shifted, model(x, labels, ring).roll((32, 16), dims=(-2, -1)), rtol=1e-4, atol=1e-5)


def test_on_a_closed_axis_a_shift_of_the_fields_changes_the_output():
    model = tiny(blocks=1)
    x = torch.randn(1, 3, 2, 5 * 16, 3 * 16)
    labels = torch.tensor([0, 1])
    shifted = model(x.roll(32, dims=-2), labels, CLOSED)
    assert relative_error(shifted, model(x, labels, CLOSED).roll(32, dims=-2)) > 1e-3


FIELDS = {
    "zero": lambda x: x.new_zeros(x.shape),
    "constant": lambda x: torch.full_like(x, 1000.0),
    "a still first frame": lambda x: torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:]], dim=1),
    "still": lambda x: x[:, :1].expand_as(x).clone(),
    "tiny": lambda x: x * 1e-10,
    "a ripple on a large constant": lambda x: 1e5 + x,
}


@pytest.mark.parametrize("predicts", ["state", "change"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", list(FIELDS))
def test_fields_without_variance_give_finite_values_and_gradients(case, precision, predicts):
    model = tiny(predicts=predicts)
    x = torch.stack([FIELDS[case](torch.randn(1, 4, 32, 48)), torch.randn(1, 4, 32, 48)], dim=2)
    every = FIELDS[case](torch.randn(1, 4, 2, 32, 48))
    for fields in (x, every):
        model.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
            output = model(fields, torch.tensor([2, 7]), CLOSED)
        assert output.dtype is torch.float32
        assert torch.isfinite(output).all()
        (mean_square_error(output, fields[:, -1]) / (mean_square(fields[:, -1]) + 1e-7)).mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_a_field_of_any_scale_and_offset_is_predicted_in_its_own_units():
    model = tiny()
    x, labels = torch.randn(1, 4, 2, 32, 32), torch.tensor([2, 7])
    scale, offset = torch.tensor([1e-6, 1e3]).view(2, 1, 1), torch.tensor([0.0, 300.0]).view(2, 1, 1)
    plain = model(x, labels, CLOSED)
    torch.testing.assert_close(
        (model(x * scale + offset, labels, CLOSED) - offset) / scale, plain, rtol=1e-3, atol=1e-3
    )


def test_bfloat16_stays_near_float32_and_leaves_the_residual_stream_alone():
    model = tiny(layer_scale=1e-3)
    x, labels = torch.randn(2, 4, 2, 32, 48), torch.tensor([2, 7])
    bcs = torch.zeros(2, 2, dtype=torch.long)
    streams = []
    hook = model.blocks[0].register_forward_hook(lambda _module, _inputs, output: streams.append(output))
    exact = model(x, labels, bcs)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x, labels, bcs)
    hook.remove()
    assert relative_error(rounded, exact) < 0.02
    assert streams[1].dtype is torch.float32


def test_predicting_the_change_adds_to_the_last_frame_in_units_of_the_changes_seen():
    model = tiny(predicts="change")
    x, labels = torch.randn(1, 4, 2, 32, 32), torch.tensor([2, 7])
    still = torch.cat([x[:, :1].expand(-1, 3, -1, -1, -1), x[:, :1] * (1 + 1e-3)], dim=1)
    moved = (model(still, labels, CLOSED) - still[:, -1]).detach().square().mean().sqrt()
    changes = (still[:, 1:] - still[:, :-1]).square().mean().sqrt()
    assert 0.01 < float(moved / changes) < 100
    with torch.no_grad():
        model.debed.out_kernel.zero_()
        model.debed.out_bias.zero_()
    assert torch.equal(model(x, labels, CLOSED), x[:, -1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "labels", "autocast"),
    [
        ({"predicts": "change"}, [2, 7], False),
        ({"position_bias": "continuous", "patch_size": 4}, [[2, 7], [0, 1]], True),
    ],
)
def test_the_model_is_one_graph_whatever_labels_and_boundaries_hold(changes, labels, autocast):
    model = tiny(**changes)
    x, labels, bcs = torch.randn(2, 2, 2, 16, 32), torch.tensor(labels), torch.tensor([[0, 1], [1, 1]])
    graphs = []

    def count(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=count, fullgraph=True)
    for labels_now, bcs_now in ((labels, bcs), ((labels + 1) % 8, 1 - bcs)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            torch.testing.assert_close(compiled(x, labels_now, bcs_now), model(x, labels_now, bcs_now))
    assert len(graphs) == 1


@pytest.mark.slow
def test_compiled_blocks_give_the_gradients_of_uncompiled_ones_under_autocast():
    gradients = []
    for compiled in (False, True):
        model = tiny().train()
        if compiled:
            compile_blocks(model.blocks, backend="aot_eager")
        torch.manual_seed(5)
        x = torch.randn(2, 3, 2, 32, 48)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(x, torch.tensor([2, 7]), torch.tensor([[0, 1], [1, 1]]))
        output.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    whole = torch.cat([value.flatten() for value in gradients[0].values()])
    assert relative_error(torch.cat([value.flatten() for value in gradients[1].values()]), whole) < 1e-4


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_checkpointed_activations_give_the_same_gradients(rate):
    model = tiny(drop_path=rate).train()
    x, labels = torch.randn(4, 3, 2, 32, 32), torch.tensor([2, 7])
    gradients = []
    for recompute in (False, True):
        if recompute:
            recompute_blocks(model.blocks)
        model.zero_grad()
        torch.manual_seed(7)
        model(x, labels, CLOSED.expand(4, 2)).square().mean().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_stochastic_depth_rises_linearly_and_acts_in_training_alone():
    model = tiny(blocks=4, drop_path=0.3)
    kept = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[2]))
    arguments = (torch.randn(1, 2, 1, 16, 32), torch.tensor([0]), CLOSED)
    model(*arguments)
    assert kept == [None] * 4
    model.train()(*arguments)
    assert kept[4] is None
    assert [float(keep) for keep in kept[5:]] == pytest.approx([0.9, 0.8, 0.7])


def test_a_dropped_branch_is_left_out_for_whole_samples_and_scaled_up_elsewhere():
    branch = torch.ones(10_000, 1, 1, 2, 3)
    assert torch.equal(drop_path(branch, None), branch)
    dropped = drop_path(branch, torch.tensor(0.7)).flatten(1)
    assert torch.equal(dropped.amax(1), dropped.amin(1))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)


def test_every_weight_of_a_smaller_patch_size_is_in_a_checkpoint_of_patch_size_16():
    largest = {name: value.shape for name, value in tiny(patch_size=16).state_dict().items()}
    for patch_size, own in ((8, set()), (4, {"debed.out_kernel_2"})):
        smaller = {name: value.shape for name, value in tiny(patch_size=patch_size).state_dict().items()}
        assert {name for name in smaller if largest.get(name) != smaller[name]} == own


def test_published_names_and_shapes_are_kept():
    state = tiny(embed_dim=48, num_heads=4).state_dict()
    assert state["blocks.0.temporal.input_head.weight"].shape == (144, 48, 1, 1)
    assert state["debed.out_proj.0.weight"].shape == (48, 12, 2, 2)
    assert state["debed.out_kernel"].shape == (12, 12, 4, 4)
    assert state["embed.in_proj.7.bias"].shape == (48,)


@pytest.mark.parametrize("grid", [(30, 45), (17, 16), (5, 7)])
@pytest.mark.parametrize("patch_size", [8, 16])
def test_a_grid_that_the_patch_size_does_not_divide_gives_fields_on_that_grid(grid, patch_size):
    model, labels = tiny(patch_size=patch_size), torch.tensor([0, 4])
    x = torch.randn(2, 3, 2, *grid, requires_grad=True)
    y = model(x, labels, torch.tensor([[0, 1], [2, 0]]))
    y.square().sum().backward()
    assert y.shape == (2, 2, *grid)
    assert bool(y.isfinite().all())
    assert float(x.grad.abs().amin()) > 0  # every point of the context is seen


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"x": np.zeros((1, 2, 1, 16, 16), np.float32)}, "x is a ndarray, not a tensor"),
        ({"x": torch.zeros(1, 2, 1, 16)}, r"x is torch.float32 \(1, 2, 1, 16\); frames are"),
        ({"x": torch.zeros(1, 2, 1, 16, 16, dtype=torch.long)}, "x is torch.int64"),
        ({"state_labels": torch.tensor([12])}, r"state_labels holds \[12\]; numbers from 0 to 11"),
        ({"state_labels": torch.tensor([-1])}, "state_labels holds"),
        ({"state_labels": torch.tensor([0, 1])}, r"state_labels is \(2,\); x has 1 fields"),
        ({"state_labels": torch.tensor([0.0])}, "state_labels is torch.float32; integers"),
        ({"bcs": torch.tensor([[3, 0]])}, "bcs holds"),
        ({"bcs": torch.tensor([0, 0])}, r"bcs is \(2,\); \(1, 2\) was expected"),
    ],
)
def test_what_is_no_batch_is_refused_in_a_sentence(inputs, says):
    given = {"x": torch.randn(1, 2, 1, 16, 16), "state_labels": torch.tensor([0]), "bcs": CLOSED} | inputs
    with pytest.raises(UserError, match=says):
        tiny()(**given)


def test_float64_frames_are_taken_by_a_float32_model():
    x, labels = torch.randn(1, 2, 1, 16, 16), torch.tensor([0])
    assert torch.equal(tiny()(x.double(), labels, CLOSED), tiny()(x, labels, CLOSED))


def test_new_models_start_as_the_published_code_starts():
    torch.manual_seed(0)
    model = AViT(ModelSection(embed_dim=192, num_heads=3, blocks=1))
    attention = model.blocks[0].temporal
    assert float(attention.gamma.detach().unique()) == pytest.approx(1e-6)
    reference = nn.Conv2d(192, 576, 1)
    assert float(attention.input_head.weight.detach().std()) == pytest.approx(
        float(reference.weight.detach().std()), rel=0.02
    )
    transposed = nn.ConvTranspose2d(48, 12, 4, stride=4)
    assert float(model.debed.out_kernel.detach().std()) == pytest.approx(
        float(transposed.weight.detach().std()), rel=0.05
    )
    assert float(attention.rel_pos_bias.relative_attention_bias.weight.detach().std()) == pytest.approx(1, abs=0.2)
