"""HDF5 files that lead elsewhere, in circles or claim too much end in a sentence."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from polycli.__main__ import run as command_line
from polycli.errors import SourceError
from polycli.files.hdf5 import is_hdf5, open_hdf5


def write(path, fill):
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def external_link(file):
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/data")


def external_numbers(file):
    file.create_dataset("raw", shape=(10,), dtype="f8", external=[("/etc/passwd", 0, 80)])


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
    file.create_virtual_dataset("view", layout)


def terabytes(file):
    file.create_dataset("huge", shape=(10**6, 10**6), dtype="f4", chunks=(1, 1000))


def deep(file):
    for _ in range(3000):
        file = file.create_group("a")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (external_link, "elsewhere leads to another file"),
        (external_numbers, "raw keeps its numbers in another file"),
        (virtual, "view keeps its numbers in another file"),
        (terabytes, "claims 4,000,000,000,000 bytes"),
        (deep, "nested too deep"),
    ],
)
def test_what_no_honest_file_has_is_named(tmp_path, fill, said):
    with pytest.raises(SourceError, match=said), open_hdf5(write(tmp_path / "a.h5", fill)):
        pass


def test_loops_of_links_are_said_where_they_are_followed(tmp_path):
    def loops(file):
        file["a/b"] = np.zeros(3)
        file["a/soft"] = h5py.SoftLink("/a/soft")
        file["a/hard"] = file["a"]

    path = write(tmp_path / "a.h5", loops)
    with open_hdf5(path) as file:
        assert file["a/hard/hard/b"].shape == (3,)
    with pytest.raises(SourceError, match="truncated or damaged"), open_hdf5(path) as file:
        file["a/soft"]


def test_views_within_a_file_are_read(tmp_path):
    def inside(file):
        file["data"] = np.arange(3.0)
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(".", "data", (3,))
        file.create_virtual_dataset("view", layout)

    with open_hdf5(write(tmp_path / "a.h5", inside)) as file:
        assert file["view"][2] == 2


def test_what_is_no_hdf5_file_is_said(tmp_path):
    (tmp_path / "a.h5").write_text("hello")
    assert not is_hdf5(tmp_path / "a.h5")
    with pytest.raises(SourceError, match="or none"), open_hdf5(tmp_path / "a.h5"):
        pass


WRITER = """
import os, sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
file["u"] = [1.0, 2.0]
file.flush()
os._exit(0)
"""


def test_a_file_that_its_writer_has_not_closed_is_not_called_truncated(tmp_path, capsys):
    path = tmp_path / "run 1.h5"
    subprocess.run([sys.executable, "-c", WRITER, path], check=True)
    with (
        pytest.raises(SourceError, match="is not closed: a program is writing it, or was killed") as raised,
        open_hdf5(path),
    ):
        pass
    assert raised.value.hint.endswith(f"h5clear -s '{path}'")
    assert command_line(["inspect", str(path)]) == 2
    said = capsys.readouterr().err
    assert "is not closed" in said
    assert "truncated" not in said
