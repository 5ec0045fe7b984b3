"""Files are told apart by looking into them, and nothing in them is run."""

import argparse
import contextlib
import io
import json
import os
import pickle
import re
import struct
import zipfile

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from polycli.checkpoints.tensors import read_state_dict
from polycli.errors import CheckpointError, PolycliError, SourceError, UserError
from polycli.inspection import inspect_path
from tests.mpp.well_files import write_well


def text_of(path):
    return "\n".join(inspect_path(path).lines)


def test_an_hdf5_file_lists_its_arrays(tmp_path):
    path = tmp_path / "data"
    with h5py.File(path, "w") as file:
        file.create_dataset("0000/data", data=np.zeros((3, 4, 2), np.float32), compression="lzf")
        file.attrs["config"] = "x"
    assert "an HDF5 file" in text_of(path)
    assert "0000/data 3 x 4 x 2 float32 lzf" in " ".join(text_of(path).split())
    assert inspect_path(path).document["attributes"] == ["config"]


def test_a_truncated_hdf5_file_is_said_to_be_so(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(100_000)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SourceError, match="truncated"):
        inspect_path(path)


def test_a_text_file_called_h5_is_no_hdf5_file(tmp_path):
    (tmp_path / "data.h5").write_text("hello")
    with pytest.raises(SourceError, match="cannot be opened"):
        inspect_path(tmp_path / "data.h5")


def _safetensors(path, tensors):
    """The format by its specification: length, JSON header, bytes."""
    header, data = {"__metadata__": {"heads": "4"}}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_safetensors_are_counted_from_the_header_with_their_description(tmp_path):
    path = tmp_path / "model.safetensors"
    _safetensors(path, {"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.float32)})
    description = {"format": "polycli-model", "family": "mpp", "verb": "pretrain", "step": 7, "trained_on": {"swe": {}}}
    (tmp_path / "model.json").write_text(json.dumps(description))
    text = text_of(path)
    assert "2, 11 numbers, F32" in text
    assert "heads 4" in text
    assert "mpp, pretrain, step 7" in text


def test_truncated_safetensors_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    _safetensors(path, {"a": np.zeros((2, 3), np.float32)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        inspect_path(path)
    path.write_bytes(b"\xff" * 30)
    with pytest.raises(CheckpointError, match="header"):
        inspect_path(path)


class Dangerous:
    """Would write a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_is_read_and_not_run(tmp_path, protocol, zipped):
    mark = tmp_path / "was-run"
    program = pickle.dumps({"open": "open", "weights": Dangerous(str(mark))}, protocol=protocol)
    path = tmp_path / "model.ckpt"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", program)
    else:
        path.write_bytes(program)
    text = text_of(path)
    assert "unpickling would bring in" in text
    assert "open" in text.split("bring in")[1]
    assert not mark.exists()


def test_a_name_that_a_pickle_computes_is_not_called_harmless(tmp_path):
    # Strings through the memo, as no honest pickler writes them: os.system with a harmless pair of strings before it.
    program = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x0bcollections\x8c\x0bOrderedDict00h\x00h\x01\x93."
    (tmp_path / "a.pt").write_bytes(program)
    assert "os.system" in text_of(tmp_path / "a.pt").split("bring in")[1]


def test_a_published_checkpoint_is_a_pytorch_file_without_surprises(shared):
    text = text_of(shared / "parity" / "mpp_avit_rel.ckpt.tar")
    assert "a PyTorch file" in text
    assert "89, 87,656 numbers, float32" in text
    assert "mpp, 12 states, embed_dim 48, num_heads 4, blocks 2, patch_size 16, position_bias relative" in text
    assert "beware" not in text
    assert "astroclip.models" in text_of(shared / "parity" / "astroclip.ckpt").split("bring in")[1]


def test_a_pdebench_file_says_what_prepare_would_find_in_it(tmp_path, pdebench):
    pdebench.shallow_water(tmp_path / "a.h5")
    text = text_of(tmp_path / "a.h5")
    assert re.search(r"PDEBench +shallow_water, \d+ trajectories of \d+ frames, \d+ x \d+", text)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["0000/data"] = np.zeros((5, 16, 16))
        file["0000/grid/t"], file["0000/grid/x"], file["0000/grid/y"] = np.arange(5.0), np.arange(16.0), np.arange(16.0)
    assert "wrong shape: key 'data' has shape (5, 16, 16)" in text_of(tmp_path / "b.h5").split("beware")[1]


def test_a_file_of_the_well_says_what_prepare_would_find_in_it(tmp_path):
    write_well(tmp_path / "a.hdf5")
    text = text_of(tmp_path / "a.hdf5")
    assert re.search(r"The Well +waves, 2 trajectories of 5 frames, 8 x 6, dt 0.5\n", text)
    assert re.search(r"boundaries +x periodic, y wall\n", text)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file.attrs["grid_type"] = "spherical"
    assert "on a spherical grid; two spatial dimensions" in text_of(tmp_path / "a.hdf5").split("beware")[1]


def test_a_file_of_forecasts_is_called_so(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("swe_128").attrs["format"] = "polycli-forecast"
    assert text_of(tmp_path / "a.h5").startswith(f"{tmp_path / 'a.h5'}: forecasts, an HDF5 file")


def test_real_sources_are_recognised(shared):
    assert "an HDF5 file" in text_of(next((shared / "data" / "pdebench").rglob("*.h5")))
    assert "B_FLUX" in text_of(next((shared / "data" / "desi").glob("coadd*.fits")))


def test_numpy_files_are_described_without_reading_objects(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    np.savez(tmp_path / "b.npz", x=np.zeros(2), y=np.zeros((1, 2)))
    assert "3 x 4" in text_of(tmp_path / "a.npy")
    assert "y 1 x 2 float64" in " ".join(text_of(tmp_path / "b.npz").split())
    buffer = io.BytesIO()
    np.save(buffer, np.array([Dangerous(str(tmp_path / "mark"))], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(buffer.getvalue())
    with pytest.raises(SourceError):
        inspect_path(tmp_path / "c.npy")


def test_recipes_and_json_are_recognised(tmp_path):
    (tmp_path / "a.yaml").write_text("family: mpp\nverb: prepare\n")
    (tmp_path / "b.yaml").write_text("hello: 1\n")
    (tmp_path / "c.jsonl").write_text('{"step": 1}\n{"step": 2, "loss": 0.1}\n')
    assert "a recipe for `prepare mpp`" in text_of(tmp_path / "a.yaml")
    assert "a YAML file, but not a valid recipe" in text_of(tmp_path / "b.yaml")
    assert f"polycli recipes check {tmp_path / 'b.yaml'}" in text_of(tmp_path / "b.yaml")
    assert inspect_path(tmp_path / "c.jsonl").document["lines"] == 2


def test_what_is_unknown_or_absent_is_said(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x00\x01\x02\x03 something")
    assert "does not know" in text_of(tmp_path / "a.bin")
    with pytest.raises(UserError, match="no such file"):
        inspect_path(tmp_path / "nothing")


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.zeros(3), "size": torch.Size((1, 2)), "type": torch.float16, "both": {1: [b"a", {2}]}},
        {"parameter": nn.Parameter(torch.zeros(2)), "module": nn.MultiheadAttention(4, 2)},
        {"options": argparse.Namespace(deep=[nn.GELU()])},
    ],
)
def test_what_is_strange_in_a_pytorch_file_is_what_torch_finds_strange(tmp_path, content):
    torch.save(content, tmp_path / "file")
    strange = inspect_path(tmp_path / "file").document.get("beware", "in ").split("in ")[1]
    expected = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "file"))
    assert strange == ", ".join(expected)


def test_a_torchscript_archive_is_named_and_not_loaded(tmp_path, torchscript_archive):
    path, mark = torchscript_archive(tmp_path / "last.ckpt")
    text = text_of(path)
    assert "a TorchScript archive" in text
    assert "its code would run where it is loaded" in text
    assert not mark.exists()


def test_an_old_pytorch_file_says_what_its_fourth_pickle_asks_for(tmp_path):
    mark = tmp_path / "was-run"
    torch.save({"weights": Dangerous(str(mark))}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "open" in text_of(tmp_path / "old.pt").split("bring in")[1]
    assert not mark.exists()


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(10**7))
    with pytest.raises(CheckpointError, match="once unpacked"):
        inspect_path(tmp_path / "model.pt")


def _with_header(path, text):
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"{",
        b"[]",
        b'{"a": 3}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F99", "shape": [0], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1e9], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 8], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [5, 2]}}',
        b'{"__metadata__": 7}',
        b'{"__metadata__": {"a": 7}}',
        b'{"a": ' * 5000,
        b'{"\\ud800": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}',
        b"\xff" * 40,
    ],
)
def test_safetensors_of_any_header_end_in_a_sentence(tmp_path, header):
    path = _with_header(tmp_path / "model.safetensors", header)
    with contextlib.suppress(CheckpointError):
        inspect_path(path)
    with pytest.raises(CheckpointError):
        read_state_dict(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["a", "a.h5", "a.npz", "a.safetensors", "a.jsonl", "a.yaml", "MANIFEST.json"])
def test_named_pipes_are_said_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(PolycliError, match="a named pipe"):
        inspect_path(tmp_path / name)
    with contextlib.suppress(PolycliError):
        inspect_path(tmp_path)


def test_an_archive_of_arrays_is_described_by_its_headers(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(SourceError, match="cannot be read"):
        inspect_path(tmp_path / "a.npz")


@pytest.mark.parametrize("document", ["[" * 10**5, "1" * 5000, '{"a": NaN}', "", '"\\ud800"'])
def test_documents_that_cannot_be_read_are_said(tmp_path, document):
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text(document)
        if document or name == "a.json":
            with pytest.raises(SourceError, match="cannot be read"):
                inspect_path(tmp_path / name)
