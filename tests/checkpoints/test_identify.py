"""A path is what its bytes say, whatever it is called."""

import json
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polycli.checkpoints.identify import identify

TENSORS = {"a": torch.zeros(3)}


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3)


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "not a model")


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("safetensors", lambda path: save_file(TENSORS, path)),
        ("torch", lambda path: torch.save(TENSORS, path)),
        ("pickle", lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False)),
        ("pickle", lambda path: path.write_bytes(pickle.dumps([1]))),
        ("hdf5", write_hdf5),
        ("zip", write_zip),
        ("file", lambda path: path.write_text('{"a": 1}')),
        ("file", lambda path: path.write_bytes(b"")),
        ("missing", lambda path: None),
    ],
)
def test_files_are_known_by_their_first_bytes(tmp_path, kind, write):
    path = tmp_path / "model.anything"
    write(path)
    found = identify(path)
    assert found.kind == kind
    assert found.name


def test_safetensors_are_no_pickle_whatever_the_length_of_their_header(tmp_path):
    path = tmp_path / "model.safetensors"
    lengths = set()
    for letters in range(0, 400, 8):
        save_file(TENSORS, path, metadata={"polycli": "x" * letters})
        lengths.add(path.read_bytes()[0])
        assert identify(path).kind == "safetensors"
    assert 0x80 in lengths  # with which pickles begin


@pytest.mark.parametrize(
    ("kind", "format_"),
    [
        ("checkpoint", "polycli-checkpoint"),
        ("store", "polycli-store"),
        ("embeddings", "polycli-embeddings"),
        ("folder", "something-else"),
    ],
)
def test_folders_with_a_manifest_are_what_it_says(tmp_path, kind, format_):
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"format": format_}))
    assert identify(tmp_path).kind == kind


def test_runs_and_exports_are_known_by_their_files(tmp_path):
    assert identify(tmp_path).kind == "folder"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    (tmp_path / "run" / "status.json").touch()
    assert identify(tmp_path / "run").kind == "run"
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model.safetensors").touch()
    (tmp_path / "export" / "model.json").touch()
    assert identify(tmp_path / "export").kind == "exported"


def test_random_bytes_are_no_known_kind_of_model(tmp_path):
    (tmp_path / "noise").write_bytes(b"\x01" + os.urandom(4096))
    assert identify(tmp_path / "noise").kind == "file"


def test_a_torchscript_archive_is_none_of_weights(tmp_path, torchscript_archive):
    path, _ = torchscript_archive(tmp_path / "last.ckpt")
    assert identify(path).kind == "torchscript"
