"""A skeleton has the names and shapes of the module, and is made at once."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from polycli.errors import UserError
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection
from polycli.nn.skeleton import skeleton

SIZES = {"embed_dim": 32, "num_heads": 2, "blocks": 2}


def test_a_skeleton_has_the_names_shapes_and_types_of_the_module():
    whole = AViT(ModelSection(**SIZES))
    with skeleton():
        bare = AViT(ModelSection(**SIZES))
    assert {name: (value.shape, value.dtype) for name, value in bare.state_dict().items()} == {
        name: (value.shape, value.dtype) for name, value in whole.state_dict().items()
    }
    assert {value.device.type for value in bare.state_dict().values()} == {"meta"}


def test_modules_made_afterwards_are_initialised_again():
    with skeleton():
        nn.Linear(3, 2)
    layer = nn.Linear(3, 2)
    assert layer.weight.device.type == "cpu"
    assert torch.isfinite(layer.weight).all()
    assert layer.weight.abs().sum() > 0


def test_loading_a_model_does_not_import_dynamo():
    code = (
        "import sys; from polycli.mpp.model.avit import AViT; from polycli.mpp.recipe.training import ModelSection\n"
        "from polycli.nn.skeleton import skeleton\n"
        f"with skeleton(): AViT(ModelSection(**{SIZES!r}))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sizes_beyond_all_measure_are_said():
    with pytest.raises(UserError, match="beyond all measure"), skeleton():
        nn.Linear(2**62, 2**10)
