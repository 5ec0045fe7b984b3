"""Embeddings: rows and vectors come back as they were given, in every format, whole or not at all."""

import json
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zarr

from polycli.errors import PolycliError, UserError
from polycli.store.embeddings import EmbeddingsHeader, PartWriter, partial_folder, publish, refuse_target

HEADER = EmbeddingsHeader("toy", {"vector": (3, "float16")}, {"model_hash": "m"}, {"store": "s"})
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


@pytest.fixture
def write(tmp_path, vectors):
    def written(name):
        target = tmp_path / name
        partial = partial_folder(target)
        # The second process is ready first.
        with PartWriter(partial, 1) as writer:
            writer.write(columns(3, 2), {"vector": vectors[3:]})
        with PartWriter(partial, 0) as writer:
            writer.write(columns(0, 2), {"vector": vectors[:2]})
            writer.write(columns(2, 1), {"vector": vectors[2:3]})
        assert not target.exists()
        assert publish(partial, target, HEADER) == 5
        assert [path.name for path in tmp_path.iterdir()] == [name], "nothing else is left"
        return target

    return written


def check_table(table, vectors):
    assert table["object_id"].to_pylist() == IDS
    assert table["name"].to_pylist() == ["a", None, "ö", "d", "e"]
    assert table["class"].to_pylist() == [1, None, 3, 4, None]
    found = table["vector"].combine_chunks()
    assert found.type == pa.list_(pa.float16(), 3)
    assert np.array_equal(found.flatten().to_numpy(zero_copy_only=False).reshape(-1, 3), vectors)


def test_a_folder_has_a_part_for_each_process_and_a_manifest_with_their_hashes(write, vectors):
    folder = write("embeddings")
    # As one table by readers of folders of Parquet files, which pass over the manifest.
    check_table(parquet.read_table(folder), vectors)
    manifest = json.loads((folder / "_MANIFEST.json").read_text())
    assert (manifest["rows"], [file["rows"] for file in manifest["files"].values()]) == (5, [3, 2])
    assert manifest["vectors"] == {"vector": {"width": 3, "dtype": "float16"}}


def test_one_file_holds_all_parts_and_says_where_they_are_from(write, vectors):
    table = parquet.read_table(write("embeddings.parquet"))
    check_table(table, vectors)
    assert json.loads(table.schema.metadata[b"polycli"])["provenance"] == {"model_hash": "m"}


def test_a_zarr_group_has_an_array_for_each_column_and_marks_gaps(write, vectors):
    group = zarr.open_group(write("embeddings.zarr"), mode="r")
    assert group["object_id"][:].tolist() == IDS
    assert np.array_equal(group["vector"][:], vectors)
    assert group["class_null"][:].tolist() == [False, True, False, False, True]
    assert group["class"][:].tolist() == [1, 0, 3, 4, 0]
    assert group["good_null"][:].tolist() == [False, True, False, False, False]
    assert group["name"][:].tolist() == ["a", "", "ö", "d", "e"]
    assert group.attrs["polycli"]["store_hash"] == {"store": "s"}


def test_an_output_of_another_format_or_that_exists_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"the suffix says the format: \.parquet, \.zarr"):
        refuse_target(tmp_path / "out.csv", overwrite=False)
    (tmp_path / "out.parquet").touch()
    with pytest.raises(UserError, match="exists already"):
        refuse_target(tmp_path / "out.parquet", overwrite=False)
    refuse_target(tmp_path / "out.parquet", overwrite=True)


@pytest.fixture
def file_limit():
    """Let this process write no file beyond a size, as a disk that is full would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("refused", ["rows", "the end of the file"])
def test_a_disk_that_refuses_a_write_is_named(tmp_path, vectors, file_limit, refused):
    partial = partial_folder(tmp_path / "out.parquet")

    def write_all():
        with PartWriter(partial, 0) as writer:
            if refused == "rows":
                file_limit(64)
            writer.write(columns(0, 5), {"vector": vectors})
            file_limit(writer.path.stat().st_size)

    with pytest.raises(PolycliError, match=r"part-00000.parquet: cannot be written .*large"):
        write_all()
    assert not (tmp_path / "out.parquet").exists()
