"""State dicts are found in every way of packing them, and nothing but tensors is ever taken out."""

import argparse
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from polycli.checkpoints.tensors import read_packed, read_state_dict
from polycli.errors import CheckpointError

TENSORS = {"first.weight": torch.arange(6.0).view(2, 3), "second.bias": torch.ones(2)}


def same(found):
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_safetensors_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "file")
    assert same(read_state_dict(tmp_path / "file"))


def test_prefixes_of_wrappers_are_taken_off_in_any_order(tmp_path):
    torch.save({"_orig_mod.module." + name: value for name, value in TENSORS.items()}, tmp_path / "file")
    assert same(read_state_dict(tmp_path / "file"))


def test_of_a_teacher_only_its_backbone_is_the_network(tmp_path):
    packed = {"backbone." + name: value for name, value in TENSORS.items()} | {"dino_head.weight": torch.zeros(1)}
    torch.save({"teacher": packed, "iteration": 7}, tmp_path / "file")
    assert same(read_state_dict(tmp_path / "file"))


def test_a_name_that_only_begins_like_a_wrapper_is_kept(tmp_path):
    packed = {"module.a": torch.zeros(1), "other.b": torch.zeros(1)}
    torch.save(packed, tmp_path / "file")
    assert read_state_dict(tmp_path / "file").keys() == packed.keys()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {"deeper": {"a": torch.zeros(1)}}}, 7])
def test_a_file_without_named_tensors_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "file")
    with pytest.raises(CheckpointError, match="holds no named tensors"):
        read_state_dict(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "name"),
    [(nn.Linear(2, 2), "torch.nn.modules.linear.Linear"), (argparse.Namespace(a=1), "argparse.Namespace")],
)
def test_python_objects_are_refused_by_name(tmp_path, content, name):
    torch.save({"model": TENSORS, "extra": content}, tmp_path / "file")
    with pytest.raises(CheckpointError, match=rf"asks to load the Python object {name}, which is refused"):
        read_state_dict(tmp_path / "file")


@pytest.mark.parametrize("stubs", [[], ["torch.nn."]])
@pytest.mark.parametrize("name", ["file", "file.ckpt", "file.pt", "file.safetensors", "model.safetensors"])
def test_a_program_is_refused_before_it_is_loaded(tmp_path, torchscript_archive, name, stubs):
    path, mark = torchscript_archive(tmp_path / name)
    with pytest.raises(CheckpointError, match="TorchScript archive, whose code would run"):
        read_packed(path, stubs=stubs)
    assert not mark.exists()


def test_the_program_of_these_tests_would_have_run(tmp_path, torchscript_archive):
    path, mark = torchscript_archive(tmp_path / "file.ckpt")
    torch.jit.load(path)
    assert mark.exists()


def _rebuilt(tensor, shape, stride):
    class Forged:
        def __reduce__(self):
            storage = torch.storage.TypedStorage(
                wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, 0, shape, stride, False, {})

    return Forged()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("shape", "stride"),
    [((10**5, 10**5), (10**5, 1)), ((10**10,), (0,)), ((2**62,), (1,)), ((-5,), (1,)), ((3,), (-1,))],
)
def test_a_shape_that_the_file_cannot_hold_is_refused(tmp_path, shape, stride, zipped):
    content = {"weight": _rebuilt(torch.zeros(4), shape, stride)}
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "file")


def test_tensors_that_share_their_numbers_are_read(tmp_path):
    shared = torch.ones(1000)
    torch.save({"first": shared, "last": shared.view(10, 100)}, tmp_path / "file")
    assert torch.equal(read_state_dict(tmp_path / "file")["last"], torch.ones(10, 100))


@pytest.mark.parametrize(
    "tensor", [torch.zeros(3).to_sparse(), torch.zeros(3, device="meta"), torch.nested.nested_tensor([torch.zeros(2)])]
)
@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_what_is_no_plain_array_is_refused(tmp_path, tensor):
    torch.save({"weight": tensor}, tmp_path / "file")
    with pytest.raises(CheckpointError, match="weight is not a plain array of numbers"):
        read_state_dict(tmp_path / "file")


def test_a_mapping_that_holds_itself_is_no_checkpoint(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "file")
    with pytest.raises(CheckpointError, match="holds no named tensors"):
        read_state_dict(tmp_path / "file")


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    torch.save(TENSORS, tmp_path / "whole")
    with zipfile.ZipFile(tmp_path / "whole") as whole, zipfile.ZipFile(tmp_path / "file", "w") as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
        packed.writestr("whole/data/9", bytes(10**7), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="once unpacked, in a file of"):
        read_state_dict(tmp_path / "file")
