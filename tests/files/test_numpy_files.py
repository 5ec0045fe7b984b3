"""npy and npz files of any content end in an array or in a sentence."""

import io
import zipfile

import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.files.numpy_files import npz_headers, open_npy, read_npz


def header(text, magic=b"\x93NUMPY\x01\x00"):
    data = text.encode("latin-1")
    return magic + len(data).to_bytes(2, "little") + data


def test_shapes_come_from_the_headers_alone(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((3, 4), np.float32), y=np.arange(5))
    found = npz_headers(tmp_path / "a.npz")
    assert {name: entry.shape for name, entry in found.items()} == {"x": (3, 4), "y": (5,)}
    assert np.array_equal(read_npz(tmp_path / "a.npz", "y"), np.arange(5))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }\n"),
        header("(" * 5000),
        header("{'descr': '<f4'"),
        b"\x80\x04\x95",
        b"PK\x03\x04 no archive",
        b"plain text",
    ],
)
def test_what_is_no_array_is_said_in_a_sentence(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(SourceError, match="cannot be read"):
        open_npy(tmp_path / "a.npy")
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(SourceError, match="cannot be read"):
        npz_headers(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(SourceError, match="cannot be read"):
        read_npz(tmp_path / "b.npz", "x")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_described_and_not_read(tmp_path):
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "<f4", "fortran_order": False, "shape": (5 * 2**24,)})
    packed = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(tmp_path / "a.npz", "w", **packed) as archive, archive.open("x.npy", "w") as member:
        for part in (start.getvalue(), *[bytes(2**24)] * 20):
            member.write(part)
    assert npz_headers(tmp_path / "a.npz")["x"].shape == (5 * 2**24,)
    with pytest.raises(SourceError, match="claims"):
        read_npz(tmp_path / "a.npz", "x")
