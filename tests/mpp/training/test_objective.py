"""The loss is the squared error over the scale that the recipe names."""

import pytest
import torch

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.metrics import nrmse, vrmse
from polycli.mpp.recipe.training import ModelSection, ObjectiveSection
from polycli.mpp.training.objective import NextFrame

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
