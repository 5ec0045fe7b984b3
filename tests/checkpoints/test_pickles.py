"""Objects of other projects become inert stubs; whatever else a pickle asks for is refused before it is made."""

import argparse
import collections
import io
import pickle
import tracemalloc
import zipfile

import pytest
import torch
from torch import nn

from polycli.checkpoints.pickles import Stub, imports_of, load_pickles
from polycli.checkpoints.tensors import read_packed, read_state_dict
from polycli.errors import CheckpointError

TENSORS = collections.OrderedDict(weight=torch.arange(6.0).view(2, 3), half=torch.ones(2, dtype=torch.float16))


def test_modules_become_stubs_and_tensors_stay_tensors(tmp_path):
    torch.save({"state_dict": TENSORS, "module": nn.Linear(2, 2), "dtype": torch.float32}, tmp_path / "file")

    found = load_pickles(tmp_path / "file", ["torch.nn."], zipped=True)

    assert isinstance(found["module"], Stub)
    assert not vars(found["module"])
    assert found["dtype"] is torch.float32
    assert torch.equal(found["state_dict"]["weight"], TENSORS["weight"])


def test_files_of_before_2020_are_read_alike(tmp_path):
    packed = {"state_dict": TENSORS, "extra": nn.Linear(2, 2)}
    torch.save(packed, tmp_path / "file", _use_new_zipfile_serialization=False)

    assert torch.equal(read_state_dict(tmp_path / "file", stubs=["torch.nn."])["weight"], TENSORS["weight"])


@pytest.mark.parametrize("stubs", [["torch.nn."], ["torch.nn.", "dinov2."]])
def test_every_other_global_is_refused_by_name(tmp_path, stubs):
    torch.save({"state_dict": TENSORS, "extra": argparse.Namespace(a=nn.Linear(1, 1))}, tmp_path / "file")

    with pytest.raises(CheckpointError, match=r"asks to load the Python object argparse\.Namespace"):
        read_state_dict(tmp_path / "file", stubs=stubs)


def test_without_stubs_modules_are_refused(tmp_path):
    torch.save({"state_dict": TENSORS, "extra": nn.Linear(2, 2)}, tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_packed(tmp_path / "file")


def test_a_cut_file_is_damaged(tmp_path):
    torch.save({"state_dict": TENSORS}, tmp_path / "file")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_packed(tmp_path / "file", stubs=["torch.nn."])


def test_settings_are_numbers_and_texts_alone(tmp_path):
    beside = {"num_heads": 4, "name": "a", "module": nn.Linear(1, 1), "list": [1]}
    torch.save({"state_dict": TENSORS, "hyper_parameters": beside}, tmp_path / "file")

    assert read_packed(tmp_path / "file", stubs=["torch.nn."]).settings == {"num_heads": 4, "name": "a"}


def test_torch_alone_would_not_say_what_a_newer_pickle_asks_for(tmp_path):
    torch.save({"a": argparse.Namespace()}, tmp_path / "file", pickle_protocol=4)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported"):
        torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "file")
    program = zipfile.ZipFile(tmp_path / "file").read("file/data.pkl")
    assert "argparse.Namespace" in set(imports_of(io.BytesIO(program)))


@pytest.mark.parametrize("stubs", [[], ["torch.nn."]])
@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02r\xff\xff\xff\x3f.",  # the memo's place 2^30, for which Python's own unpickler takes 8 GB
        b"\x80\x02r\xff\xff\xff\x3f",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\xff.",
    ],
)
def test_a_few_bytes_take_no_memory(tmp_path, stubs, program):
    (tmp_path / "file").write_bytes(program)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_packed(tmp_path / "file", stubs=stubs)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
