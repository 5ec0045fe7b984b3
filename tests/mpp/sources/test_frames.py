"""How the work on a file is cut: jobs of whole pieces of it, within memory."""

import pytest

from polycli.mpp.sources.frames import job_size

MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("row_bytes", "at_once", "expected"),
    [
        (4 * MEGABYTE, 1, (4, False)),
        (MEGABYTE, 1, (16, True)),  # So small that to open the file for each would cost more than to read it.
        (4 * MEGABYTE, 3, (6, True)),  # Two pieces of three.
        (4 * MEGABYTE, 20, (20, True)),
        (4 * MEGABYTE, 1000, (32, True)),  # As many as 128 MB hold.
        (100 * MEGABYTE, 8, (1, True)),
        (3000 * MEGABYTE, 8, (1, False)),  # A trajectory that is larger than that is streamed.
    ],
)
def test_a_job_has_whole_pieces_of_a_file_and_never_more_than_memory_holds(row_bytes, at_once, expected):
    assert job_size(row_bytes, at_once) == expected
