"""npy and npz files of any content end in an array or in a sentence."""

import io
import zipfile

import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.files.numpy_files import PackedRows, npz_headers, open_npy, read_npz


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


def test_rows_of_a_compressed_array_are_those_of_numpy_in_any_order(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(">f4")
    np.savez_compressed(tmp_path / "a.npz", x=values, y=np.asfortranarray(values[:, 0]), z=np.array(1.0))
    packed = PackedRows(tmp_path / "a.npz", "x")
    for rows in ([0, 1, 2], [3, 9], [49], [7, 5, 7], [], [20, 30]):
        found = packed.read(np.array(rows, np.int64))
        assert found.dtype == values.dtype
        assert np.array_equal(found, values[rows])
    # Only the rows 7 and 5 lay behind what was read.
    assert packed.restarts == 1
    assert not PackedRows(tmp_path / "a.npz", "y").has_rows
    assert not PackedRows(tmp_path / "a.npz", "z").has_rows
    with pytest.raises(SourceError, match="array x: cannot be read"):
        packed.read(np.array([50]))


def test_headers_of_compressed_arrays_that_claim_too_much_are_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (2, 2**40)})
        member.write(bytes(64))
    with pytest.raises(SourceError, match="claims more numbers than there are"):
        PackedRows(tmp_path / "a.npz", "x")
