"""Tensors from a file become a network's, or are refused by name: missing, unknown, of another shape, not finite."""

from pathlib import Path

import pytest
import torch
from torch import nn

from polycli.errors import CheckpointError
from polycli.nn.weights import assign_tensors

FILE = Path("some.safetensors")


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict()


def test_a_network_without_storage_has_the_tensors_and_in_its_own_types():
    model, given = network(), tensors()
    assign_tensors(FILE, model, {**given, "0.weight": given["0.weight"].double()})

    for name, value in model.state_dict().items():
        assert torch.equal(value, given[name])
        assert value.dtype == given[name].dtype


def test_what_is_changed_in_the_network_leaves_the_given_tensors_as_they_are():
    model, given = network(), tensors()
    before = given["0.bias"].clone()
    assign_tensors(FILE, model, given)
    with torch.no_grad():
        model.get_parameter("0.bias").add_(1)

    assert torch.equal(given["0.bias"], before)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"0.bias": None}, "1 tensors are missing, 0.bias among them"),
        ({"2.bias": torch.zeros(2)}, "1 tensors are unknown, 2.bias among them"),
        ({"0.weight": torch.zeros(2, 4)}, r"0.weight is \(2, 4\), \(2, 3\) was expected"),
        ({"0.bias": torch.tensor([0.0, float("nan")])}, "0.bias holds values that are not finite"),
        ({"0.bias": torch.tensor([0, 1])}, "0.bias holds values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, sentence):
    given = {name: value for name, value in {**tensors(), **change}.items() if value is not None}

    with pytest.raises(CheckpointError, match=sentence):
        assign_tensors(FILE, network(), given)
