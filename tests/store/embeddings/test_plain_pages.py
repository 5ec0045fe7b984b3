"""Numbers are read from Parquet pages as pyarrow reads them, and what lies otherwise is left to pyarrow."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polycli.errors import StoreError
from polycli.files import mapped
from polycli.store.embeddings.partitions import partitions_of
from polycli.store.embeddings.parts import parquet_writer, with_vectors
from polycli.store.embeddings.plain_pages import pieces_of, plain_column

ROWS, WIDTH = 3000, 257


def vectors(dtype):
    return np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(dtype)


def write(path, table, **options):
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table, **options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_any_rows_are_those_that_were_written_across_pages_and_row_groups(tmp_path, dtype):
    path, known = tmp_path / "a.parquet", vectors(dtype)
    write(path, with_vectors(pa.table({"id": np.arange(ROWS)}), {"v": known}), row_group_size=2200)
    metadata = parquet.read_metadata(path)
    column = plain_column(path, metadata, 0, "v")
    assert column is not None
    assert len(column.firsts) > 1, "several pages"
    for first, end in ((0, 1), (0, 2200), (2199, 2200), (500, 1700), (7, 7)):
        assert np.array_equal(column.read(first, end), known[first:end])
    second = plain_column(path, metadata, 1, "v")
    assert np.array_equal(second.read(0, 800), known[2200:])
    for partition in partitions_of([(path,)]):
        some = np.array([5, 300, 301, 799])
        assert np.array_equal(partition.vectors_at("v", some), known[partition.first + some])
        assert np.array_equal(partition.vectors_at("v", some[:1]), known[partition.first + some[:1]])


@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pieces_are_all_rows_in_order_or_those_around_chosen_ones(tmp_path, monkeypatch, dtype, is_mapped):
    path, known = tmp_path / "a.parquet", vectors(dtype)
    write(path, with_vectors(pa.table({"id": np.arange(ROWS)}), {"v": known}), row_group_size=2200)
    if not is_mapped:
        monkeypatch.setattr(mapped.mmap, "mmap", not_mapped)
        mapped._mapped.cache_clear()
    chosen = np.zeros(ROWS, np.bool_)
    chosen[[3, 1030, 2199, 2999]] = True
    for partition in partitions_of([(path,)]):
        rows = slice(partition.first, partition.first + partition.rows)
        whole = list(partition.pieces("v", 300, None))
        assert np.array_equal(np.concatenate([piece for _, piece in whole]), known[rows])
        assert max(len(piece) for _, piece in whole) == 300
        some = list(partition.pieces("v", 300, chosen[rows]))
        assert 0 < len(some) < len(whole)
        for first, piece in some:
            assert np.array_equal(piece, known[rows][first : first + len(piece)])
            assert chosen[rows][first : first + len(piece)].any()
        assert sum(chosen[rows][first : first + len(piece)].sum() for first, piece in some) == chosen[rows].sum()
    path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(
        StoreError, match=r"a.parquet: cannot be read: the file ends at byte \d+, and its vectors go on"
    ):
        list(partition.pieces("v", 300, None))


def test_pieces_hold_every_chosen_row_once_and_leave_out_long_gaps():
    draw = np.random.default_rng(0)
    for share in (0.0, 0.0005, 0.003, 0.05, 1.0):
        edges = np.unique(np.r_[0, draw.integers(1, 5000, 6), 5000]).tolist()
        chosen = draw.random(5000) < share
        pieces = list(pieces_of(pairwise(edges), 700, chosen))
        rows = np.concatenate([[], *(np.arange(first, end) for first, end in pieces)]).astype(int)
        assert np.all(np.diff(rows) > 0)
        assert chosen[rows].sum() == chosen.sum()
        assert all(0 < end - first <= 700 for first, end in pieces)
        assert all(any(begin <= first and end <= stop for begin, stop in pairwise(edges)) for first, end in pieces)
        # Whatever is looked at lies near a row that is chosen.
        nearest = np.abs(rows[:, None] - np.flatnonzero(chosen)).min(axis=1, initial=5000)
        assert nearest.max(initial=0) <= 96


def not_mapped(*_, **__):
    """As on a file system that maps no files."""
    raise OSError(19, "No such device")


def test_what_is_packed_or_lacks_a_number_is_left_to_pyarrow(tmp_path):
    known = vectors(np.float32)
    flat = pa.array(known.reshape(-1))
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(flat, WIDTH)})
    packed, gaps = tmp_path / "packed.parquet", tmp_path / "gaps.parquet"
    parquet.write_table(table, packed, compression="zstd", use_dictionary=False)
    assert plain_column(packed, parquet.read_metadata(packed), 0, "v") is None
    (partition,) = partitions_of([(packed,)])
    assert np.array_equal(partition.vectors("v", 100, 200), known[100:200])
    mask = np.zeros(flat.to_numpy().shape, np.bool_)
    mask[777] = True
    holed = pa.FixedSizeListArray.from_arrays(pa.array(known.reshape(-1), mask=mask), WIDTH)
    write(gaps, pa.table({"v": holed}))
    assert plain_column(gaps, parquet.read_metadata(gaps), 0, "v") is None


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_header_is_no_plain_page(tmp_path, seed):
    path = tmp_path / "a.parquet"
    write(path, with_vectors(pa.table({"id": np.arange(ROWS)}), {"v": vectors(np.float16)}))
    metadata = parquet.read_metadata(path)
    content = bytearray(path.read_bytes())
    names = [metadata.row_group(0).column(number).path_in_schema for number in range(2)]
    offset = metadata.row_group(0).column(names.index("v.list.element")).data_page_offset
    draw = np.random.default_rng(seed)
    content[offset + draw.integers(0, 24)] = draw.integers(0, 256)
    path.write_bytes(content)
    column = plain_column(path, metadata, 0, "v")
    # It may not matter, as a changed statistic does not; then every number is as it was.
    assert column is None or np.array_equal(column.read(0, ROWS), vectors(np.float16))
