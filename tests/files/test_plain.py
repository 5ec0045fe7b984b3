"""Plain files alone are opened, and what they claim is compared with their size."""

import os

import pytest

from polycli.errors import SourceError, StoreError
from polycli.files.plain import ALWAYS_ALLOWED, check_plain, open_plain, read_bytes, refuse_claim


@pytest.fixture
def pipe(tmp_path):
    """A named pipe, which whoever opens it plainly waits at."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.timeout(20)
def test_a_named_pipe_is_refused_at_once(pipe):
    with pytest.raises(SourceError, match="a named pipe, a file was expected"):
        check_plain(pipe)
    with pytest.raises(OSError, match="a named pipe"):
        open_plain(pipe)
    with pytest.raises(OSError, match="a named pipe"):
        read_bytes(pipe, 10)


def test_devices_and_folders_are_no_files(tmp_path):
    with pytest.raises(StoreError, match="a device, a file was expected"):
        check_plain(tmp_path.joinpath("/dev/zero"), StoreError)
    with pytest.raises(SourceError, match="a folder"):
        check_plain(tmp_path)


def test_links_that_lead_in_a_circle_and_names_that_are_too_long_are_said(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in ("a", "x" * 300, "nul\0"):
        with pytest.raises(SourceError, match="cannot be read"):
            check_plain(tmp_path / name)
        with pytest.raises(OSError):  # noqa: PT011  # each system says it in its own words
            open_plain(tmp_path / name)


def test_no_more_is_read_than_is_expected(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_bytes(tmp_path / "a", 4)


def test_a_claim_far_beyond_the_size_of_the_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    refuse_claim(tmp_path / "a", ALWAYS_ALLOWED)
    with pytest.raises(SourceError, match="claims 1,000,000,000,000 bytes, in a file of 1,000"):
        refuse_claim(tmp_path / "a", 10**12)
