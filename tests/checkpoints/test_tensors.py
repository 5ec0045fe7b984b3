"""State dicts are found in every way of packing them, and nothing but tensors is ever taken out."""

import argparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from polycli.checkpoints.tensors import read_state_dict
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
