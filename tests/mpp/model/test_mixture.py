"""A sample of a mixed batch gives the output, the loss and the gradients that it gives alone."""

import itertools

import pytest
import torch

from polycli.engine.blocks import compile_blocks
from polycli.errors import UserError
from polycli.mpp.data.mixed import joined
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.baselines.fno import FourierOperator
from polycli.mpp.model.jitter import Draw, jittered
from polycli.mpp.model.mixture import MixedPlacement
from polycli.mpp.model.padding import OPEN, PERIODIC, WALL, Placement
from polycli.mpp.recipe.networks import FnoSection
from polycli.mpp.recipe.training import ModelSection, ObjectiveSection
from polycli.mpp.training.objective import NextFrame, with_noise

#: In float64; in float32 the sums of a padded batch round otherwise, by parts in a million.
EXACT = {"rtol": 1e-9, "atol": 1e-11}
#: Fields, grid and boundaries along W and H of four physics; two samples of the first, one of each other.
PHYSICS = (
    ((4, 1), (12, 20), (PERIODIC, PERIODIC), 2),
    ((0,), (16, 8), (WALL, WALL), 1),
    ((2, 5, 3), (9, 14), (OPEN, PERIODIC), 1),
    ((3,), (24, 4), (PERIODIC, WALL), 1),
)
#: What makes the model see more of the batch, or draw something for it.
SWITCHES = (
    {},
    {"position_bias": "continuous", "predicts": "change"},
    {"position_bias": "none", "absolute_position": "walls", "patch_size": 8},
    {"absolute_position": "all", "jitter": "always", "conditions": ("dt", "parameters"), "parameters": ("mach",)},
)


def network(**changes):
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "num_heads": 2, "blocks": 2, "patch_size": 4, "drop_path": 0.0, "layer_scale": 0.5}
    model = AViT(ModelSection(**sizes | {"condition_dropout": 0.0} | changes)).double()
    for name, parameter in model.named_parameters():
        if name.startswith(("position.", "conditioning.")):
            torch.nn.init.normal_(parameter, std=0.3)  # they begin at zero
    return model


def parts(frames=4, told=0, physics=PHYSICS):
    """One unmixed batch for each physics, of fields that differ in size and mean."""
    torch.manual_seed(1)
    for number, (labels, grid, bcs, count) in enumerate(physics):
        fields = torch.randn(count, frames, len(labels), *grid, dtype=torch.float64)
        batch = {
            "fields": fields * 10.0**number + number,
            "state_labels": torch.tensor(labels),
            "bcs": torch.tensor([bcs] * count),
        }
        yield batch | (
            {"told": torch.rand(count, told) if number else torch.full((count, told), torch.nan)} if told else {}
        )


def predictions(model, batches):
    for batch in batches:
        more = {key: batch[key] for key in ("told", "grids") if key in batch}
        yield model(batch["fields"][:, :-1], batch["state_labels"], batch["bcs"], Draw(0, 3), **more)


def spoilt(mixed):
    """The batch with NaN in every place of the padding."""
    fields = mixed["fields"].clone()
    for sample, labels, (height, width) in zip(fields, mixed["state_labels"], mixed["grids"], strict=True):
        own = torch.zeros(sample.shape[1:], dtype=torch.bool)
        own[: int((labels >= 0).sum()), :height, :width] = True
        sample[:, ~own] = torch.nan
    return mixed | {"fields": fields}


def gradients(objective, batches):
    """The loss of each batch's samples, each sample weighed alike, and the gradients of their mean."""
    objective.zero_grad()
    total = sum(len(batch["fields"]) for batch in batches)
    losses, metrics = [], []
    for batch in batches:
        torch.manual_seed(7)  # jitter
        loss, found = objective(batch)
        (loss * len(batch["fields"]) / total).backward()
        losses.append(loss.item() * len(batch["fields"]) / total)
        metrics.append(torch.stack([found["nrmse"], found["vrmse"]], dim=1))
    grads = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    return sum(losses), torch.cat(metrics), grads


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda found: "-".join(found) or "plain")
def test_each_sample_of_a_mixed_batch_is_predicted_as_it_is_alone(switches):
    model = network(**switches).eval()
    batches = list(parts(told=len(model.section.told)))
    mixed = joined(batches)
    assert mixed["fields"].shape == (5, 4, 3, 24, 20)
    (found,) = predictions(model, [spoilt(mixed)])
    begin = 0
    for alone in predictions(model, batches):
        count, channels, height, width = alone.shape
        torch.testing.assert_close(found[begin : begin + count, :channels, :height, :width], alone, **EXACT)
        found[begin : begin + count, :channels, :height, :width] = 0
        begin += count
    assert (found == 0).all(), "the padding comes out as zeros"


@pytest.mark.parametrize("normalise_by", ["target", "variance", "change"])
@pytest.mark.parametrize("switches", SWITCHES, ids=lambda found: "-".join(found) or "plain")
def test_loss_metrics_and_gradients_of_a_mixed_batch_are_those_of_its_samples_alone(switches, normalise_by):
    objective = NextFrame(network(**switches), ObjectiveSection(normalise_by=normalise_by)).train()
    batches = list(parts(told=len(objective.model.section.told)))
    loss, metrics, grads = gradients(objective, batches)
    mixed_loss, mixed_metrics, mixed_grads = gradients(objective, [spoilt(joined(batches))])
    assert mixed_loss == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(mixed_metrics, metrics, **EXACT)
    assert grads.keys() == mixed_grads.keys()
    for name, gradient in grads.items():
        torch.testing.assert_close(
            mixed_grads[name], gradient, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("mode", ["through_time", "each_step", "last_step"])
def test_unrolled_steps_feed_back_each_samples_own_frames(mode):
    objective = NextFrame(network(predicts="change"), ObjectiveSection(unroll=3, unroll_gradients=mode)).train()
    batches = list(parts(frames=6))
    loss, _, grads = gradients(objective, batches)
    mixed_loss, _, mixed_grads = gradients(objective, [spoilt(joined(batches))])
    assert mixed_loss == pytest.approx(loss, rel=1e-9)
    for name, gradient in grads.items():
        torch.testing.assert_close(mixed_grads[name], gradient, rtol=1e-6, atol=1e-9)


def test_noise_is_in_units_of_each_samples_own_changes():
    batches = list(parts())
    mixed = joined(batches)
    own = (mixed["fields"][:, 0, :1] != 0) | (mixed["fields"][:, 1, :1] != 0)
    torch.manual_seed(3)
    noisy = with_noise(mixed["fields"], 0.1, own)
    torch.manual_seed(3)
    normal = torch.randn_like(mixed["fields"])
    begin = 0
    for batch in batches:
        x = batch["fields"]
        count, _, channels, height, width = x.shape
        size = (x[:, 1:] - x[:, :-1]).square().mean((1, 3, 4), keepdim=True).sqrt()
        expected = x + 0.1 * size * normal[begin : begin + count, :, :channels, :height, :width]
        found = noisy[begin : begin + count, :, :channels, :height, :width]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        begin += count


def test_float32_and_bfloat16_stay_as_near_to_the_samples_alone_as_their_digits_allow():
    model = network().float().eval()
    batches = [batch | {"fields": batch["fields"].float()} for batch in parts()]
    for precision, within in ((None, 2e-5), (torch.bfloat16, 0.05)):
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            (found,) = predictions(model, [joined(batches)])
            begin = 0
            for alone in predictions(model, batches):
                count, channels, height, width = alone.shape
                error = (found[begin : begin + count, :channels, :height, :width] - alone).abs().max()
                assert error <= within * alone.std()
                begin += count


@pytest.mark.parametrize("fractions", [None, (0.7, 0.3)])
def test_every_grid_is_laid_over_patches_as_it_is_alone(fractions):
    for along_w, along_h in itertools.product((WALL, PERIODIC, OPEN), repeat=2):
        bcs = torch.tensor([[along_w, along_h]])
        x = torch.zeros(1, 1, 1, 12, 16, dtype=torch.float64)
        alone = torch.randn(1, 1, 1, 9, 14, dtype=torch.float64)
        x[..., :9, :14] = alone
        expected = Placement.centred((9, 14), 4) if fractions is None else jittered((9, 14), bcs, 4, fractions)
        laid = expected.lay(alone, bcs)
        placement = MixedPlacement.of(torch.tensor([[9, 14]]), (12, 16), bcs, 4, fractions)
        found = placement.lay(x, bcs)
        height, width = laid.shape[3:]
        assert torch.equal(found[..., :height, :width], laid)
        assert found.count_nonzero() == laid.count_nonzero()
        assert torch.equal(placement.take_back(found[:, 0], (12, 16))[..., :9, :14], alone[:, 0])


def test_batches_that_are_alike_are_joined_without_masks():
    batches = list(parts(physics=PHYSICS[:1] * 2))
    found = joined(batches)
    assert "grids" not in found
    assert torch.equal(found["fields"], torch.cat([batch["fields"] for batch in batches]))
    assert found["state_labels"].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"grids": torch.tensor([[30, 4]] * 5)}, r"grids holds \[\(30, 4\)\]; the batch has 24 x 20 points"),
        ({"grids": torch.tensor([[4, 3]] * 5)}, "a sample of at most 4 x 4 points is a single token"),
        ({"grids": torch.ones(5, 2)}, "integers"),
        ({"state_labels": torch.tensor([0, 1, 2])}, "state_labels is the same for all samples"),
    ],
)
def test_what_does_not_say_whose_points_are_whose_is_refused(changes, says):
    with pytest.raises(UserError, match=says):
        list(predictions(network().eval(), [joined(list(parts())) | changes]))


def test_a_network_that_cannot_mix_says_so():
    model = FourierOperator(FnoSection(kind="fno", width=8, blocks=1, modes=2, history=3)).double().eval()
    with pytest.raises(UserError, match="share no batch in a network of kind fno"):
        list(predictions(model, [joined(list(parts()))]))


@pytest.mark.slow
def test_compiled_blocks_mix_as_uncompiled_ones_do():
    batches, gradients_of = list(parts()), []
    for compiled in (False, True):
        objective = NextFrame(network(), ObjectiveSection()).train()
        if compiled:
            compile_blocks(objective.model.blocks, backend="aot_eager")
        gradients_of.append(gradients(objective, [joined(batches)])[2])
    for name, gradient in gradients_of[0].items():
        torch.testing.assert_close(gradients_of[1][name], gradient, rtol=1e-7, atol=1e-10)
