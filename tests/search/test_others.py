"""Tables of vectors that other tools wrote: numpy's answers, or a sentence that names what is wrong."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polycli.__main__ import run as command_line
from polycli.errors import StoreError, UserError
from polycli.search.searcher import Searcher
from tests.search.made import write

COUNT, WIDTH = 300, 12
IDS = {
    "int64": pa.array(range(10**17, 10**17 + COUNT)),
    "string": pa.array([f"G{number:03d}" for number in range(COUNT)], pa.large_string()),
    "bytes": pa.array([b"G%03d  " % number for number in range(COUNT)], pa.binary(6)),
    "latin-1": pa.array([b"G%03d\xe9" % number for number in range(COUNT)]),
}
TYPED = {"int64": str(10**17 + 20), "string": "G020", "bytes": "G020", "latin-1": r"G020\xe9"}
LISTS = {
    "fixed": lambda flat: pa.FixedSizeListArray.from_arrays(flat, WIDTH),
    "large": lambda flat: pa.LargeListArray.from_arrays(pa.array(np.arange(COUNT + 1) * WIDTH), flat),
    "list": lambda flat: pa.ListArray.from_arrays(pa.array(np.arange(COUNT + 1, dtype=np.int32) * WIDTH), flat),
}


def vectors(dtype):
    """Vectors of very different lengths, some that are not finite or zero, and two equal ones."""
    made = np.random.default_rng(0).standard_normal((COUNT, WIDTH))
    made[7, 3], made[8, 3], made[9], made[12] = np.nan, np.inf, 0, made[13]
    if dtype != np.float16:
        made[10] *= 1e30
        made[11] *= 1e-30
    return made.astype(dtype)


def written(path, lists, ids, dtype=np.float32, compression="none"):
    table = pa.table({"object_id": IDS[ids], "v": LISTS[lists](pa.array(vectors(dtype).reshape(-1)))})
    parquet.write_table(table, path, compression=compression, use_dictionary=False, row_group_size=70)
    return path


def nearest(known, row, k):
    """Rows by falling cosine with a row, by numpy."""
    known = known.astype(np.float64)
    with np.errstate(invalid="ignore"):
        unit = known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-300)
        cosine = np.nan_to_num(unit @ unit[row], nan=-np.inf).astype(np.float32)
    cosine[row] = -np.inf
    order = np.lexsort((np.arange(COUNT), -cosine))[:k]
    return order.tolist(), cosine[order]


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lists", LISTS)
def test_numpy_finds_the_same_in_parquet_of_every_writer(tmp_path, lists, dtype, compression):
    searcher = Searcher.open(written(tmp_path / "v.parquet", lists, "int64", dtype, compression))
    for row in (0, 10, 11, 13, 299):
        expected, cosine = nearest(vectors(dtype), row, COUNT - 3)
        answer = searcher.nearest(searcher.vectors([row], "v"), "v", COUNT, without=[row])
        assert [each.row for each in answer.neighbours] == expected
        np.testing.assert_allclose([each.similarity for each in answer.neighbours], cosine, atol=1e-6)


@pytest.mark.parametrize("ids", IDS)
def test_ids_of_every_type_are_found_as_they_are_typed(tmp_path, capsys, ids):
    path = written(tmp_path / "v.parquet", "list", ids)
    assert command_line(["search", str(path), "--id", TYPED[ids], "-k", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["query"]["row"] == 20
    assert [each["row"] for each in document["neighbours"]] == nearest(vectors(np.float32), 20, 3)[0]


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64())])
def test_lists_of_different_lengths_are_no_vectors(tmp_path, kind, compression):
    """Six numbers of three rows would be three vectors of two."""
    lists = pa.array([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]], kind)
    parquet.write_table(pa.table({"v": lists}), tmp_path / "v.parquet", compression=compression, use_dictionary=False)
    with pytest.raises(StoreError, match=r"v.parquet: column v has vectors of 2 numbers and of 1: one width"):
        Searcher.open(tmp_path / "v.parquet").nearest(np.ones(2, np.float32), "v")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())])
def test_a_row_without_a_vector_is_similar_to_nothing(tmp_path, kind):
    lists = pa.array([None, [1.0, 2.0], None, [2.0, 1.0], [0.5, None]], kind)
    parquet.write_table(pa.table({"v": lists}), tmp_path / "v.parquet", compression="none", use_dictionary=False)
    searcher = Searcher.open(tmp_path / "v.parquet")
    assert [each.row for each in searcher.nearest(np.ones((1, 2), np.float32), "v").neighbours] == [1, 3]
    with pytest.raises(UserError, match="zero or not finite"):
        searcher.nearest(searcher.vectors([0], "v"), "v")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[: len(content) // 2], "is damaged: it does not end as a Parquet file does"),
        (lambda content: b"", "is damaged: it does not begin as a Parquet file does"),
        (lambda content: content[:-9] + bytes(9), "is damaged: it does not end"),
    ],
)
def test_a_damaged_file_is_not_said_to_be_something_else(tmp_path, change, said):
    path = write(tmp_path / "e.parquet", pa.table({"record_id": ["a", "b"]}), {"v": np.eye(2, dtype=np.float32)})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StoreError, match=said):
        Searcher.open(path)


@pytest.mark.parametrize(("form", "file"), [("e", "_MANIFEST.json"), ("e.zarr", "zarr.json")])
def test_a_damaged_manifest_is_not_said_to_be_something_else(tmp_path, form, file):
    path = write(tmp_path / form, pa.table({"record_id": ["a", "b"]}), {"v": np.eye(2, dtype=np.float32)})
    (path / file).write_text((path / file).read_text()[:40])
    with pytest.raises(StoreError, match=f"{file}: is damaged: it is not JSON"):
        Searcher.open(path)


@pytest.mark.parametrize("form", ["e", "e.parquet", "e.zarr"])
def test_a_column_of_which_nothing_is_known_is_kept(tmp_path, capsys, form):
    table = pa.table({"record_id": ["a", "b", "c"], "nothing": pa.nulls(3)})
    path = write(tmp_path / form, table, {"v": np.eye(3, dtype=np.float32)}, units_of=1)
    assert Searcher.open(path).table([1])["nothing"].to_pylist() == [None]
    assert command_line(["search", str(path), "--id", "a", "--where", "nothing is null", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["neighbours"]) == 2
    assert command_line(["search", str(path), "--id", "a", "--where", "nothing > 3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neighbours"] == []


def test_an_index_of_a_file_of_others_knows_when_that_was_written_anew(tmp_path):
    """Two files of one size whose footers are equal, for nothing in them says what the vectors are."""
    vectors = np.random.default_rng(0).standard_normal((2, COUNT, WIDTH)).astype(np.float32)
    known = []
    for some in vectors:
        lists = LISTS["fixed"](pa.array(some.reshape(-1)))
        parquet.write_table(pa.table({"v": lists}), tmp_path / "v.parquet", write_statistics=False, compression="none")
        known.append(Searcher.open(tmp_path / "v.parquet").stored.identity())
    assert known[0] != known[1]
