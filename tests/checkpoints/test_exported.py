"""What is written beside the weights comes back, and nothing else is taken for it."""

import json

import pytest
import torch
from safetensors.torch import load_file

from polycli.checkpoints.exported import ModelDescription, read_description, write_model
from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import CheckpointError

DESCRIPTION = ModelDescription(
    family="mpp",
    verb="pretrain",
    version="1",
    step=7,
    model={"embed_dim": 3},
    trained_on={"swe": TrainedOn(store_hash="ab", rows=("cd", "ef"))},
    data={"history": 4},
)


def test_a_description_comes_back_with_what_the_family_added(tmp_path):
    write_model(tmp_path, {"a": torch.zeros(1)}, DESCRIPTION)
    assert read_description(tmp_path / "model.json") == DESCRIPTION
    document = json.loads((tmp_path / "model.json").read_text())
    assert document["format"] == "polycli-model"
    assert document["data"] == {"history": 4}


def test_tensors_are_float32_and_own_their_memory(tmp_path):
    shared = torch.arange(12, dtype=torch.bfloat16).view(3, 4)
    write_model(tmp_path, {"a": shared, "b": shared.T, "count": torch.tensor(3)}, DESCRIPTION)
    found = load_file(tmp_path / "model.safetensors")
    assert found["a"].dtype is torch.float32
    assert found["count"].dtype is torch.int64
    assert torch.equal(found["b"], found["a"].T)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other", "family": "mpp"}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match="not a description of a model"):
        read_description(tmp_path / "model.json")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_description(tmp_path / "absent.json")
