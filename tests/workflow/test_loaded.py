"""Which file a checkpoint is, why that one, and what it says of itself: the same for all families."""

import pytest
import torch
from safetensors.torch import save_file

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.checkpoints.manifest import CheckpointMetric
from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import CheckpointError
from polycli.store.hashing import file_hash
from polycli.workflow.loaded import find_checkpoint


@pytest.fixture
def model(tmp_path):
    description = ModelDescription(
        family="mpp",
        verb="pretrain",
        version="0",
        step=40,
        model={},
        metric=CheckpointMetric(name="validation/loss", value=0.25),
        trained_on={"waves": TrainedOn(store_hash="1", rows=("00" * 16,))},
        data={"history": 3},
    )
    write_model(tmp_path, {"weight": torch.zeros(2)}, description)
    return tmp_path / "model.safetensors"


def test_the_file_its_hash_and_the_reason_are_provenance(model, capsys):
    found = find_checkpoint(model, family="mpp")

    assert found.provenance().checkpoint == str(model)
    assert found.provenance().model_hash == file_hash(model)
    assert found.selected_by == "as given: validation/loss 0.25 at step 40"
    assert found.selected_by in " ".join(capsys.readouterr().err.split())
    assert list(found.trained_on) == ["waves"]
    assert found.described("data") == {"history": 3}
    assert found.described("objective") is None
    assert found.recipe_section("data") == {}, "an exported pair lies in no run"


def test_a_checkpoint_of_another_family_is_refused(model):
    with pytest.raises(CheckpointError, match=r"model\.safetensors: a checkpoint of the family mpp, xval was expected"):
        find_checkpoint(model, family="xval")


def test_weights_of_other_projects_say_nothing_of_themselves(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    found = find_checkpoint(tmp_path / "other.safetensors", family="astroclip", quiet=True)

    assert (found.selected_by, dict(found.trained_on), found.run) == ("as given", {}, None)
