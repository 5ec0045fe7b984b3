"""Chunks and shards stay within their limits and cover every element."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.store.layout import MAX_CHUNK_BYTES, MAX_SHARD_BYTES, ArrayLayout, shard_files

DIMS = ("trajectory", "time", "field", "x", "y")


@settings(deadline=None)
@given(
    frames=st.integers(1, 2000),
    fields=st.integers(1, 8),
    x=st.sampled_from([1, 31, 128, 512, 1000, 4096]),
    y=st.integers(1, 1100),
)
def test_chunks_and_shards_are_within_their_limits(frames, fields, x, y):
    layout = ArrayLayout.of_trajectories("fields", DIMS, (frames, fields, x, y))
    assert math.prod(layout.chunk) * 4 <= MAX_CHUNK_BYTES
    one_slab = layout.chunk[1] * math.prod(layout.shard[2:]) * 4
    assert math.prod(layout.shard) * 4 <= max(MAX_SHARD_BYTES, one_slab)
    assert layout.chunk[0] == layout.shard[0] == 1
    assert all(shard >= length for shard, length in zip(layout.shard[2:], (fields, x, y), strict=True))
    assert layout.shard[1] < frames + layout.chunk[1], "a shard holds no more than a row"


def test_a_usual_trajectory_is_one_file_and_a_chunk_is_eight_whole_frames():
    layout = ArrayLayout.of_trajectories("fields", DIMS, (101, 2, 128, 128))
    assert layout.chunk == (1, 8, 2, 128, 128)
    assert shard_files("fields", (2, 101, 2, 128, 128), layout.shard) == ["fields/c/0/0/0/0/0", "fields/c/1/0/0/0/0"]


def test_an_empty_array_of_a_forged_shape_has_no_files():
    assert shard_files("fields", (0, 2**40, 2**40), (1, 1, 1)) == []


def test_a_large_grid_is_cut_in_space():
    layout = ArrayLayout.of_trajectories("fields", DIMS, (21, 4, 512, 512))
    assert layout.chunk == (1, 8, 4, 256, 256)
    assert layout.shard == (1, 24, 4, 512, 512)


def test_a_shard_of_broken_chunks_is_refused():
    with pytest.raises(ValueError, match="whole chunks"):
        ArrayLayout("a", ("row", "time"), "float32", (1, 8), (1, 20))


def test_floats_are_filled_with_nan_and_integers_with_zero():
    assert ArrayLayout.whole("a", ("x",), (3,), "float64").zarr_metadata((3,))["fill_value"] == "NaN"
    assert ArrayLayout.whole("a", ("x",), (3,), np.dtype(np.uint8).name).zarr_metadata((3,))["fill_value"] == 0
