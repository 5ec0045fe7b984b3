"""A file of weights says itself what model.json says beside it."""

import json

import pytest
import torch
from safetensors.torch import save_file

from polycli.checkpoints import metadata
from polycli.checkpoints.exported import ModelDescription, description_of, write_model
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import CheckpointError
from tests.earlier import as_schema_1

DESCRIPTION = ModelDescription(
    family="mpp",
    verb="pretrain",
    version="1",
    step=7,
    model={"predicts": "change"},
    trained_on={"waves": TrainedOn(store_hash="ab", rows=("cd", "ef"))},
    data={"history": 4},
)


@pytest.fixture
def pair(tmp_path):
    write_model(tmp_path, {"a": torch.zeros(1)}, DESCRIPTION)
    return tmp_path


def description(folder, family="mpp"):
    return description_of(resolve_checkpoint(folder / "model.safetensors"), family=family)


def test_weights_alone_say_all_that_model_json_says(pair):
    (pair / "model.json").unlink()

    assert description(pair) == DESCRIPTION
    with pytest.raises(CheckpointError, match="of the family mpp, xval was expected"):
        description(pair, family="xval")


def test_a_model_json_of_another_checkpoint_is_refused(pair):
    document = json.loads((pair / "model.json").read_text())
    (pair / "model.json").write_text(json.dumps({**document, "model": {"predicts": "state"}}))

    with pytest.raises(CheckpointError, match=r"model\.json beside it says another model than the weights do") as told:
        description(pair)
    assert "delete model.json" in str(told.value.hint)


def test_a_model_json_whose_declarations_were_changed_holds_and_is_said(pair, capsys):
    document = json.loads((pair / "model.json").read_text())
    (pair / "model.json").write_text(json.dumps({**document, "data": {"history": 2}}))

    assert description(pair).model_extra["data"] == {"history": 2}
    assert "was changed and holds in place of the weights' own: data" in " ".join(capsys.readouterr().err.split())


def test_pairs_of_an_earlier_version_are_read_and_their_weights_alone_say_nothing(pair):
    as_schema_1(pair)

    assert description(pair).model == DESCRIPTION.model
    assert description(pair).schema_version == 1
    assert metadata.says_nothing(metadata.read_metadata(pair / "model.safetensors"))
    (pair / "model.json").unlink()
    assert description(pair) is None


def test_hashes_too_many_for_a_header_stand_in_model_json_alone(pair, monkeypatch):
    monkeypatch.setattr(metadata, "_LARGEST_TEXT", 50)
    write_model(pair, {"a": torch.zeros(1)}, DESCRIPTION)

    assert description(pair) == DESCRIPTION
    (pair / "model.json").unlink()
    assert description(pair).trained_on == {}
    assert description(pair).model == DESCRIPTION.model


@pytest.mark.parametrize(
    ("written", "nothing"),
    [({"format": "pt"}, True), ({"format": "pt", "family": "mpp"}, True), (None, False), ({"num_heads": "4"}, False)],
)
def test_files_of_other_projects_are_not_taken_for_ours(tmp_path, written, nothing):
    save_file({"a": torch.zeros(1)}, tmp_path / "any.safetensors", metadata=written)

    assert metadata.says_nothing(metadata.read_metadata(tmp_path / "any.safetensors")) is nothing


def test_a_cut_header_is_said(pair):
    weights = pair / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])

    with pytest.raises(CheckpointError, match=r"model\.safetensors: a damaged or truncated safetensors file"):
        metadata.read_metadata(weights)
