"""A file for HDF5 on a full disk: the library reads back what it wrote, and the caller hears of the refusal."""

import numpy as np
import pytest

from polycli.files.hdf5_output import SafeFile


def test_what_a_full_disk_refused_is_read_back_until_the_check(tmp_path, full_disk):
    """HDF5 read what memory happened to hold, and now and then the process ended there."""
    content = np.arange(64, dtype=np.uint8).tobytes()
    file = SafeFile(tmp_path / "a.h5")
    with full_disk(100):
        file.write(content)
        assert file.write(content) == 64  # 36 bytes of it are on the disk.
        file.seek(300)
        file.write(content)
        file.seek(310)
        file.write(b"new")
        expected = content * 2 + bytes(172) + content
        expected = expected[:310] + b"new" + expected[313:]
        for begin, length in ((0, 364), (90, 20), (120, 10), (200, 50), (305, 20)):
            found = np.full(length, 255, np.uint8)
            file.seek(begin)
            assert file.readinto(found) == length
            assert found.tobytes() == expected[begin : begin + length]
            assert file.tell() == begin + length
    with pytest.raises(OSError, match="File too large"):
        file.check()
    file.close()


def test_a_file_on_a_disk_with_room_is_an_ordinary_one(tmp_path):
    with SafeFile(tmp_path / "a.h5") as file:
        file.write(b"abc")
        file.seek(1)
        buffer = bytearray(5)
        assert file.readinto(buffer) == 2
        file.check()
    assert bytes(buffer) == b"bc\0\0\0"
    assert (tmp_path / "a.h5").read_bytes() == b"abc"
