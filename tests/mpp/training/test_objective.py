"""The loss is the squared error over the scale that the recipe names."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.metrics import EPSILON, mean_square, mean_square_error, nrmse, vrmse
from polycli.mpp.recipe.training import FinetuneRecipe, ModelSection, ObjectiveSection
from polycli.mpp.training.objective import NextFrame, with_noise

LABELS, BCS = torch.tensor([1, 5]), torch.zeros(3, 2, dtype=torch.long)


def batch(fields):
    return {"fields": fields, "state_labels": LABELS, "bcs": BCS}


def network(**objective):
    torch.manual_seed(0)
    model = AViT(ModelSection(embed_dim=32, num_heads=2, blocks=1, layer_scale=0.5))
    return NextFrame(model, ObjectiveSection(**objective)).eval()


def scales(last, target):
    return {
        "target": (target**2).mean((-2, -1)),
        "variance": target.var((-2, -1)),
        "change": ((target - last) ** 2).mean((-2, -1)),
    }


@pytest.mark.parametrize("normalise_by", ["target", "variance", "change"])
def test_the_loss_is_the_mean_over_samples_and_fields_of_squared_error_over_its_scale(normalise_by):
    fields = torch.randn(3, 4, 2, 16, 32)
    loss, metrics = network(normalise_by=normalise_by)(batch(fields))
    prediction = network().model(fields[:, :-1], LABELS, BCS)
    error = ((prediction - fields[:, -1]) ** 2).mean((-2, -1))
    expected = (error / scales(fields[:, -2], fields[:, -1])[normalise_by]).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(metrics["nrmse"], nrmse(prediction, fields[:, -1]).mean(-1))
    torch.testing.assert_close(metrics["vrmse"], vrmse(prediction, fields[:, -1]).mean(-1))
    assert metrics["nrmse"].shape == (3,)
    assert not metrics["nrmse"].requires_grad


@pytest.mark.parametrize("normalise_by", ["variance", "change"])
def test_the_loss_does_not_depend_on_the_units_of_a_field(normalise_by):
    fields = torch.randn(3, 4, 2, 16, 32)
    objective = network(normalise_by=normalise_by)
    units = torch.tensor([1e-3, 1e3]).view(2, 1, 1)
    torch.testing.assert_close(objective(batch(fields * units))[0], objective(batch(fields))[0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("normalise_by", ["target", "variance", "change"])
@pytest.mark.parametrize("value", [0.0, 1000.0])
def test_a_field_that_never_changes_gives_a_finite_loss_and_finite_gradients(normalise_by, value):
    objective = network(normalise_by=normalise_by)
    fields = torch.randn(3, 4, 2, 16, 32)
    fields[:, :, 1] = value
    loss, _ = objective(batch(fields))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.requires_grad)


def test_the_loss_is_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        loss, metrics = network()(batch(torch.randn(3, 4, 2, 16, 32)))
    assert loss.dtype is torch.float32
    assert metrics["vrmse"].dtype is torch.float32


def test_a_small_step_down_the_gradient_lowers_the_loss_by_its_squared_norm():
    objective, fields = network().double(), torch.randn(3, 4, 2, 32, 32, dtype=torch.float64)
    before, _ = objective(batch(fields))
    before.backward()
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    squared_norm = sum(float(parameter.grad.square().sum()) for parameter in trained)
    step = 1e-6 / squared_norm
    with torch.no_grad():
        for parameter in trained:
            parameter.sub_(step * parameter.grad)
    lowered = float((before - objective(batch(fields))[0]).detach())
    assert lowered == pytest.approx(1e-6, rel=1e-2)


def test_the_objective_adds_no_tensor_to_the_networks():
    objective = network()
    assert objective.state_dict().keys() == {"model." + name for name in objective.model.state_dict()}


class Growth(nn.Module):
    """The last frame times a number; its gradients are those that a hand can compute."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, labels, bcs):
        return self.factor * x[:, -1]


def growth_loss(frames, **objective):
    """Loss and gradient of frames of one value each."""
    fields = torch.tensor(frames)[None, :, None, None, None].expand(1, -1, 1, 2, 2)
    trained = NextFrame(Growth(1.5), ObjectiveSection(normalise_by="target", **objective)).train()
    loss, _ = trained({"fields": fields, "state_labels": LABELS[:1], "bcs": BCS[:1]})
    loss.backward()
    return float(loss.detach()), float(trained.model.factor.grad)


def test_unrolled_losses_and_gradients_are_those_of_a_hand():
    first, one, two = 2.0, 4.0, 5.0  # 1.5 and 2.25 times the first frame are predicted
    errors = 1.5 * first - one, 2.25 * first - two
    losses = errors[0] ** 2 / one**2, errors[1] ** 2 / two**2
    step_one = 2 * errors[0] * first / one**2
    # The frame that is fed back is 1.5 * first: a constant, or another function of the factor.
    step_two = 2 * errors[1] * (1.5 * first) / two**2
    through = 2 * errors[1] * (2 * 1.5 * first) / two**2
    found = growth_loss([1.0, first, one, two], unroll=2)
    assert found == pytest.approx((sum(losses) / 2, (step_one + through) / 2), rel=1e-5)
    found = growth_loss([1.0, first, one, two], unroll=2, unroll_gradients="each_step")
    assert found == pytest.approx((sum(losses) / 2, (step_one + step_two) / 2), rel=1e-5)
    found = growth_loss([1.0, first, one, two], unroll=2, unroll_gradients="last_step")
    assert found == pytest.approx((losses[1], step_two), rel=1e-5)


def test_a_change_is_measured_from_the_true_frame_before_it_however_far_training_is_unrolled():
    trained = NextFrame(Growth(1.0), ObjectiveSection(normalise_by="change", unroll=3)).train()
    fields = torch.tensor([1.0, 2.0, 4.0, 8.0])[None, :, None, None, None].expand(1, -1, 1, 2, 2)
    loss, metrics = trained({"fields": fields, "state_labels": LABELS[:1], "bcs": BCS[:1]})
    # Persistence from 1: errors 1, 3, 7 over changes 1, 2, 4.
    assert loss.item() == pytest.approx((1 + 9 / 4 + 49 / 16) / 3, rel=1e-5)
    assert metrics["nrmse"].item() == pytest.approx(1 / 2, rel=1e-5), "of the first step"


@pytest.mark.parametrize("gradients", ["through_time", "each_step", "last_step"])
def test_one_step_is_the_published_loss_bit_for_bit_while_training_too(gradients):
    fields = torch.randn(3, 4, 2, 16, 32)
    trained = network(unroll=1, unroll_gradients=gradients).train()
    for block in trained.model.blocks:
        block.train(mode=False)  # no random depth
    prediction = trained.model(fields[:, :-1], LABELS, BCS)
    expected = (mean_square_error(prediction, fields[:, -1]) / (mean_square(fields[:, -1]) + EPSILON)).mean()
    assert torch.equal(trained(batch(fields))[0], expected)


def test_validation_is_one_step_without_noise_whatever_training_does():
    fields = torch.randn(3, 4, 2, 16, 32)
    plain, other = network(), network(unroll=3, noise=0.5)
    assert torch.equal(plain(batch(fields))[0], other(batch(fields))[0])


def test_noise_has_the_size_that_was_asked_for_in_units_of_each_fields_changes():
    rate = torch.tensor([1e-3, 7.0]).view(1, 1, 2, 1, 1)
    time = torch.arange(6.0).view(1, 6, 1, 1, 1)
    frames = (3 + rate * time).expand(4, 6, 2, 64, 64)
    added = (with_noise(frames, 0.2) - frames).transpose(1, 2).flatten(3) / (0.2 * rate.view(1, 2, 1, 1))
    count = added[0, 0].numel()
    assert added.mean((-2, -1)).abs().max() < 5 / count**0.5
    assert (added.std((-2, -1)) - 1).abs().max() < 5 / (2 * count) ** 0.5 + 1e-3
    flat = added[:, 1].flatten(1)
    assert torch.corrcoef(torch.stack([flat[0, : count // 2], flat[0, count // 2 :]]))[0, 1].abs() < 0.05


@pytest.mark.parametrize(("given", "key"), [({"noise": 0.1}, "objective.noise"), ({"unroll": 2}, "objective.unroll")])
def test_what_is_for_next_frames_is_refused_where_there_are_none(given, key):
    with pytest.raises(ValidationError, match=f"{key} is for training on next frames; tubes have none"):
        ObjectiveSection(kind="tubes", **given)
    recipe = {
        "family": "mpp",
        "verb": "finetune",
        "objective": given,
        "head": {"kind": "regression", "targets": ["nu"]},
    }
    train = {"steps": 1, "global_batch_size": 1, "micro_batch_size": 1}
    with pytest.raises(ValidationError, match=f"{key} is for next frames; a head predicts parameters"):
        FinetuneRecipe.model_validate({**recipe, "train": train})
