"""Embeddings: rows and vectors come back as they were given, in every format, whole or not at all."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zarr

from polycli.publishing import remove
from polycli.store.embeddings import zarr_form
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, blocks_of, with_vectors

HEADER = EmbeddingsHeader("toy", {"model_hash": "m"}, {"store": "s"}, data=["toy.zarr"])
IDS = [39633297352951412, -39633297352951412, 7, 2**53 + 1, 0]


def columns(first, count):
    part = slice(first, first + count)
    return pa.table(
        {
            "object_id": pa.array(IDS[part], pa.int64()),
            "name": pa.array(["a", None, "ö", "d", "e"][part], pa.string()),
            "class": pa.array([1, None, 3, 4, None][part], pa.int64()),
            "redshift": pa.array([0.1, float("nan"), 0.3, 0.4, 0.5][part]),
            "good": pa.array([True, None, False, True, True][part], pa.bool_()),
        }
    )


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16)


def pixels(first, count):
    """A second table: the row of each pixel, and a text that few rows share."""
    rows = np.repeat(np.arange(first, first + count), 2)
    kinds = pa.array([["left", "right"][row % 2] for row in rows]).dictionary_encode()
    values = {"pixel_embedding": np.stack([rows, -rows], axis=1).astype(np.float32)}
    return with_vectors(pa.table({"row": rows, "kind": kinds}), values)


@pytest.fixture
def write(tmp_path, vectors):
    """`write("e.parquet", order, cuts)`: the same five rows in units of `cuts` rows, written in this order."""

    def written(name, order=(1, 0), cuts=(3, 2), further=pixels, before_joining=lambda: None):
        target, folder = tmp_path / name, tmp_path / "parts"
        folder.mkdir()
        for unit in order:
            first, count = sum(cuts[:unit]), cuts[unit]
            with PartWriter(folder, unit) as writer:
                for row in range(first, first + count):
                    tables = {"": with_vectors(columns(row, 1), {"vector": vectors[row : row + 1]})}
                    writer.write(tables if further is None else {**tables, "pixels": further(row, 1)})
        before_joining()
        assert join(folder, target, HEADER)["rows"] == 5
        remove(folder)
        return target

    return written


def check_table(table, vectors):
    assert table["object_id"].to_pylist() == IDS
    assert table["name"].to_pylist() == ["a", None, "ö", "d", "e"]
    assert table["class"].to_pylist() == [1, None, 3, 4, None]
    found = table["vector"].combine_chunks()
    assert found.type == pa.list_(pa.float16(), 3)
    assert np.array_equal(found.flatten().to_numpy(zero_copy_only=False).reshape(-1, 3), vectors)


def check_pixels(table):
    assert table["row"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert table["kind"].to_pylist() == ["left", "left", "right", "right"] * 2 + ["left", "left"]
    assert table["pixel_embedding"].to_pylist()[-1] == [4, -4]


def test_a_folder_has_a_part_for_each_unit_and_a_manifest_with_their_hashes(write, vectors):
    folder = write("embeddings")
    # As one table by readers of folders of Parquet files, which pass over the manifest and over other tables.
    check_table(parquet.read_table(folder), vectors)
    check_pixels(parquet.read_table(folder / "_pixels"))
    manifest = json.loads((folder / "_MANIFEST.json").read_text())
    assert {name: file["rows"] for name, file in manifest["files"].items()} == {
        "part-00000.parquet": 3,
        "part-00001.parquet": 2,
        "_pixels/part-00000.parquet": 6,
        "_pixels/part-00001.parquet": 4,
    }
    assert manifest["vectors"] == {"vector": {"width": 3, "dtype": "float16"}}
    assert manifest["tables"] == {
        "pixels": {"rows": 10, "vectors": {"pixel_embedding": {"width": 2, "dtype": "float32"}}}
    }


def test_one_file_for_each_table_holds_all_parts_and_says_where_they_are_from(write, vectors):
    target = write("embeddings.parquet")
    table = parquet.read_table(target)
    check_table(table, vectors)
    check_pixels(parquet.read_table(target.with_suffix(".pixels.parquet")))
    manifest = json.loads(table.schema.metadata[b"polycli"])
    assert manifest["provenance"] == {"model_hash": "m"}
    assert manifest["files"]["embeddings.pixels.parquet"]["rows"] == 10


def test_a_zarr_group_has_an_array_for_each_column_and_marks_gaps(write, vectors):
    group = zarr.open_group(write("embeddings.zarr"), mode="r")
    assert group["object_id"][:].tolist() == IDS
    assert np.array_equal(group["vector"][:], vectors)
    assert group["class_null"][:].tolist() == [False, True, False, False, True]
    assert group["class"][:].tolist() == [1, 0, 3, 4, 0]
    assert group["good_null"][:].tolist() == [False, True, False, False, False]
    assert group["name"][:].tolist() == ["a", "", "ö", "d", "e"]
    assert group.attrs["polycli"]["store_hash"] == {"store": "s"}
    assert group["pixels/row"][:].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert group["pixels/kind"][:].tolist()[:3] == ["left", "left", "right"]
    assert group["pixels/pixel_embedding"][:].tolist()[-1] == [4, -4]


@pytest.mark.parametrize("name", ["e.parquet", "e.zarr"])
def test_neither_the_order_of_writing_nor_the_cuts_show(tmp_path, write, name):
    def content(folder):
        return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    expected = content(write(name).parent)
    for path in tmp_path.iterdir():
        remove(path)
    assert content(write(name, order=(0, 2, 1), cuts=(1, 2, 2)).parent) == expected


def test_a_table_without_rows_keeps_its_columns(write):
    nothing = write("e.zarr", further=lambda first, count: pixels(first, 0))
    group = zarr.open_group(nothing, mode="r")
    assert {name: group[f"pixels/{name}"].shape for name in ("row", "kind", "pixel_embedding")} == {
        "row": (0,),
        "kind": (0,),
        "pixel_embedding": (0, 2),
    }
    assert parquet.read_table(write("e", further=lambda first, count: pixels(first, 0)) / "_pixels").num_rows == 0


def test_of_a_group_some_blocks_are_in_memory_at_a_time(tmp_path, monkeypatch):
    """All of them were, until the last one was written."""
    values = np.zeros((zarr_form._CHUNK_ROWS, 64), np.float32)
    table = with_vectors(pa.table({"row": np.arange(len(values))}), {"toy_embedding": values})
    (tmp_path / "parts").mkdir()
    with PartWriter(tmp_path / "parts", 0) as writer:
        for _ in range(12):
            writer.write({"": table})
    held = []

    def watched(*arguments):
        for block in blocks_of(*arguments):
            held.append(pa.total_allocated_bytes())
            yield block

    monkeypatch.setattr(zarr_form, "blocks_of", watched)
    join(tmp_path / "parts", tmp_path / "e.zarr", HEADER)
    assert max(held) - held[0] < 3 * table.nbytes
