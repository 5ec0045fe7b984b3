"""CHECKPOINT means one pair of files, and it is said why that one."""

import json

import pytest
import torch
from safetensors.torch import save_file

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.checkpoints.manifest import checkpoint_name, write_manifest
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.errors import CheckpointError


def make_checkpoint(run, step, metric=None):
    directory = run / "checkpoints" / checkpoint_name(step)
    directory.mkdir(parents=True)
    description = ModelDescription(family="mpp", verb="pretrain", version="0", step=step, model={})
    write_model(directory, {"a": torch.full((3,), float(step))}, description)
    score = None if metric is None else ("validation/loss", metric)
    write_manifest(directory, step=step, family="mpp", verb="pretrain", world_size=1, zero_stage=0, metric=score)
    return directory


def test_a_run_means_its_best_checkpoint_by_validation(tmp_path):
    for step, metric in ((1, 0.5), (2, 0.1), (3, 0.2)):
        make_checkpoint(tmp_path, step, metric)
    found = resolve_checkpoint(tmp_path)
    assert found.checkpoint_dir == tmp_path / "checkpoints" / checkpoint_name(2)
    assert found.model_file == found.checkpoint_dir / "model.safetensors"
    assert found.description_file == found.checkpoint_dir / "model.json"
    assert found.how == "best of 3 kept, by validation/loss"


def test_a_run_without_validation_means_its_last_checkpoint(tmp_path):
    for step in (10, 9):
        make_checkpoint(tmp_path, step)
    found = resolve_checkpoint(tmp_path)
    assert found.model_file.parent.name == checkpoint_name(10)
    assert found.how == "last of 2"


def test_a_checkpoint_and_the_file_in_it_mean_the_same(tmp_path):
    directory = make_checkpoint(tmp_path, 1)
    assert resolve_checkpoint(directory) == resolve_checkpoint(directory / "model.safetensors")
    assert resolve_checkpoint(directory).how == "as given"


def test_a_checkpoint_that_lost_its_manifest_is_none(tmp_path):
    directory = make_checkpoint(tmp_path, 1)
    (directory / "MANIFEST.json").unlink()
    with pytest.raises(CheckpointError, match=r"no MANIFEST\.json"):
        resolve_checkpoint(directory)


def test_a_run_of_nothing_but_damaged_checkpoints_says_what_is_wrong_with_the_newest(tmp_path):
    for step in (1, 2):
        weights = make_checkpoint(tmp_path, step) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-step])
    with pytest.raises(CheckpointError, match=rf"{checkpoint_name(2)}/model\.safetensors: \d+ bytes, .* says \d+"):
        resolve_checkpoint(tmp_path)


@pytest.mark.parametrize("metrics", [(0.5, 0.6), (None, None)])
def test_a_damaged_checkpoint_is_said_where_another_one_is_taken(tmp_path, capsys, metrics):
    first, second = (make_checkpoint(tmp_path, step, metric) for step, metric in zip((10, 20), metrics, strict=True))
    damaged, other = (first, second) if metrics[0] else (second, first)
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[:-1])
    resolved = resolve_checkpoint(tmp_path)
    assert resolved.checkpoint_dir == other
    assert resolved.how.startswith(("best" if metrics[0] else "last") + " of 1 that are whole, 1 damaged")
    assert f"warning: {damaged.name} is damaged and passed over" in capsys.readouterr().err


def test_an_exported_pair_may_have_any_name_and_place(tmp_path):
    directory = make_checkpoint(tmp_path, 1)
    (directory / "model.safetensors").rename(tmp_path / "swe.safetensors")
    (directory / "model.json").rename(tmp_path / "swe.json")
    found = resolve_checkpoint(tmp_path / "swe.safetensors")
    assert found.description_file == tmp_path / "swe.json"
    assert found.checkpoint_dir is None


def test_a_json_file_of_others_beside_the_weights_is_not_a_description(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "swe.safetensors")
    (tmp_path / "swe.json").write_text(json.dumps({"notes": "mine"}))
    assert resolve_checkpoint(tmp_path / "swe.safetensors").description_file is None


def test_what_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"format": "polycli-store"}))
    with pytest.raises(CheckpointError, match="a store, not a checkpoint"):
        resolve_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        resolve_checkpoint(tmp_path / "absent")


def test_a_torchscript_archive_is_refused_by_name(tmp_path, torchscript_archive):
    path, mark = torchscript_archive(tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="TorchScript archive, whose code would run"):
        resolve_checkpoint(path)
    assert not mark.exists()


def test_a_run_of_nearly_that_name_is_asked_for(tmp_path):
    (tmp_path / "messung").mkdir()
    with pytest.raises(CheckpointError, match="there is no such checkpoint") as caught:
        resolve_checkpoint(tmp_path / "mesung")
    assert caught.value.hint == f"did you mean {tmp_path / 'messung'}?"
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(tmp_path / "none" / "run")
    assert caught.value.hint is None
