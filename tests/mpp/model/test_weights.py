"""Models from every kind of checkpoint, and a reason for everything that is none."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.checkpoints.manifest import checkpoint_name, write_manifest
from polycli.errors import CheckpointError
from polycli.mpp import load_model
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.physics import PUBLISHED_FIELDS
from polycli.mpp.recipe.training import ModelSection

SIZES = {"embed_dim": 32, "num_heads": 2, "blocks": 2, "layer_scale": 0.5}


def make(**changes):
    torch.manual_seed(1)
    return AViT(ModelSection(**{**SIZES, **changes})).eval()


def same_output(one, other):
    x = torch.randn(1, 2, 2, 32, 32)
    arguments = (x, torch.tensor([0, 2]), torch.tensor([[1, 0]]))
    with torch.no_grad():
        return torch.equal(one(*arguments), other(*arguments))


def make_checkpoint(run, step, metric, model):
    directory = run / "checkpoints" / checkpoint_name(step)
    directory.mkdir(parents=True)
    section = model.section.model_dump(mode="json")
    description = ModelDescription(family="mpp", verb="pretrain", version="0", step=step, model=section)
    write_model(directory, model.state_dict(), description)
    score = None if metric is None else ("validation/loss", metric)
    write_manifest(directory, step=step, family="mpp", verb="pretrain", world_size=1, zero_stage=0, metric=score)
    return directory


@pytest.mark.parametrize("patch_size", [4, 8, 16])
@pytest.mark.parametrize("position_bias", ["relative", "continuous", "none"])
def test_sizes_are_read_off_the_tensors(tmp_path, patch_size, position_bias):
    model = make(patch_size=patch_size, position_bias=position_bias)
    save_file(model.state_dict(), tmp_path / "any.safetensors")
    loaded = load_model(tmp_path / "any.safetensors")
    assert loaded.section == model.section.model_copy(update={"layer_scale": 1e-6})
    assert loaded.section.fields == PUBLISHED_FIELDS
    assert not loaded.training
    assert same_output(loaded, model)


@pytest.mark.parametrize("nest", [(), ("model_state",), ("model",), ("state_dict",), ("teacher",), ("state", "none")])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "_orig_mod.module."])
def test_the_ways_in_which_projects_pack_a_state_dict_are_all_read(tmp_path, nest, prefix):
    if nest == ("state", "none"):
        packed = {"epoch": 3, "model": {"state_dict": {prefix + k: v for k, v in make().state_dict().items()}}}
    else:
        packed = {prefix + name: value for name, value in make().state_dict().items()}
        for key in nest:
            packed = {"epoch": 3, key: packed, "optimizer_state_dict": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(packed, tmp_path / "checkpoint.tar")
    assert same_output(load_model(str(tmp_path / "checkpoint.tar")), make())


def test_files_of_before_the_zip_format_are_read(tmp_path):
    torch.save({"model_state": make().state_dict()}, tmp_path / "old.tar", _use_new_zipfile_serialization=False)
    assert same_output(load_model(tmp_path / "old.tar"), make())


@pytest.mark.parity
def test_the_originals_own_file_is_read(shared):
    packed = load_model(shared / "parity" / "mpp_avit_rel.ckpt.tar")
    flat = load_model(shared / "parity" / "mpp_avit_rel.safetensors")
    assert same_output(packed, flat)
    assert (packed.section.embed_dim, packed.section.num_heads, packed.section.blocks) == (48, 4, 2)


def test_a_model_of_other_states_has_numbered_fields_until_names_are_given(tmp_path):
    save_file(make(fields=("a", "b", "c")).state_dict(), tmp_path / "three.safetensors")
    assert load_model(tmp_path / "three.safetensors").section.fields == ("state.0", "state.1", "state.2")
    assert load_model(tmp_path / "three.safetensors", fields=("u", "v", "w")).section.fields == ("u", "v", "w")


def test_a_description_beside_the_tensors_says_what_they_do_not(tmp_path):
    model = make(fields=("a.u", "a.v", "a.p"), predicts="change")
    section = model.section.model_dump(mode="json")
    write_model(
        tmp_path,
        model.state_dict(),
        ModelDescription(family="mpp", verb="pretrain", version="0", step=1, model=section),
    )
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_model(path)
        assert loaded.section == model.section
        assert same_output(loaded, model)


def test_a_run_gives_its_best_checkpoint_else_its_last(tmp_path):
    models = {}
    for step, metric in ((1, 0.9), (2, 0.3), (3, 0.5)):
        models[step] = make(fields=(f"step.{step}", "b", "c"))
        make_checkpoint(tmp_path, step, metric, models[step])
    assert load_model(tmp_path).section.fields[0] == "step.2"
    (tmp_path / "checkpoints" / checkpoint_name(2) / "MANIFEST.json").unlink()
    assert load_model(tmp_path).section.fields[0] == "step.3"


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path):
    directory = make_checkpoint(tmp_path, 1, None, make())
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    for path in (tmp_path, directory, directory / "model.safetensors"):
        with pytest.raises(CheckpointError, match="damaged"):
            load_model(path)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.system, (f"touch {self.marker}",))


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle", "text pickle"])
def test_a_checkpoint_that_tries_to_run_code_is_refused_and_nothing_runs(tmp_path, form):
    marker, path = tmp_path / "executed", tmp_path / "checkpoint.tar"
    payload = {"model_state": make().state_dict(), "extra": Malicious(marker)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(Malicious(marker)))
    elif form == "text pickle":
        path.write_bytes(pickle.dumps(Malicious(marker), protocol=0))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "zip")
    reason = r"system, which is refused" if form in ("zip", "legacy") else "nothing in it was run|not a checkpoint"
    with pytest.raises(CheckpointError, match=reason):
        load_model(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))  # noqa: S301  # the same object does run where pickles are trusted
    assert marker.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_a_truncated_checkpoint_is_refused(tmp_path, form, share):
    path = tmp_path / "whole"
    if form == "safetensors":
        save_file(make().state_dict(), path)
    else:
        torch.save({"model_state": make().state_dict()}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"truncated|not a checkpoint"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x00\x01\x02\x03" * 999, "a file of no known kind"), (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file")],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, content, reason):
    (tmp_path / "file.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path / "file.safetensors")


def test_absent_paths_and_runs_without_checkpoints_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        load_model(tmp_path / "absent")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint yet"):
        load_model(tmp_path)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["specformer.ckpt", "xval_numformer.safetensors", "astroclip_model.safetensors"])
def test_models_of_other_families_are_refused(shared, name):
    with pytest.raises(CheckpointError, match=r"not an MPP model: space_bag\.weight is missing"):
        load_model(shared / "parity" / name)


@pytest.mark.parity
def test_a_pickled_module_of_another_project_is_refused_by_its_name(shared):
    with pytest.raises(CheckpointError, match=r"asks to load the Python object astroclip\."):
        load_model(shared / "parity" / "astroclip.ckpt")


def test_a_described_family_that_is_another_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    description = {
        "format": "polycli-model",
        "family": "xval",
        "verb": "pretrain",
        "version": "0",
        "step": 1,
        "model": {},
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="of the family xval, mpp was expected"):
        load_model(tmp_path / "model.safetensors")


def broken(name, value):
    return {**make().state_dict(), name: value}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (broken("blocks.1.spatial.gamma_att", torch.zeros(31)), r"gamma_att is \(31,\), \(32,\) was expected"),
        (broken("blocks.1.spatial.extra", torch.zeros(1)), "1 tensors are unknown"),
        (broken("debed.out_bias", torch.full((12,), float("nan"))), "out_bias holds values that are not finite"),
        (
            {k: v for k, v in make().state_dict().items() if "blocks.1.temporal" not in k},
            "are missing, blocks.1.temporal",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, tensors, reason):
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path / "model.safetensors")


def test_a_size_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no size 'depth'"):
        load_model(Path(tmp_path), depth=3)
