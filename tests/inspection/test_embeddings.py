"""Embeddings say what they are and where they come from, in each of their formats."""

import numpy as np
import pyarrow as pa
import pytest

from polycli.errors import StoreError
from polycli.inspection import inspect_path
from polycli.store.embeddings import EmbeddingsHeader, PartWriter, partial_folder, publish

HEADER = EmbeddingsHeader(
    family="astroclip",
    vectors={"image_embedding": (3, "float32")},
    provenance={"checkpoint": "runs/a/model.safetensors", "model_hash": "m"},
    store_hash={"mock": "s"},
    options={"normalise": False},
)


@pytest.fixture
def write(tmp_path):
    def written(name):
        partial = partial_folder(tmp_path / name)
        with PartWriter(partial, 0) as writer:
            writer.write(pa.table({"object_id": [1, 2]}), {"image_embedding": np.ones((2, 3), np.float32)})
        publish(partial, tmp_path / name, HEADER)
        return tmp_path / name

    return written


@pytest.mark.parametrize("name", ["e", "e.parquet", "e.zarr"])
def test_each_format_is_recognised(write, name):
    finding = inspect_path(write(name))
    text = "\n".join(finding.lines)
    assert "embeddings of astroclip" in text
    assert "image_embedding 3 float32" in text
    assert "runs/a/model.safetensors" in text
    assert finding.document["rows"] == 2
    assert finding.document["store_hash"] == {"mock": "s"}


def test_verify_names_a_part_that_was_changed(write):
    folder = write("e")
    assert any("every file" in line for line in inspect_path(folder, verify=True).lines)
    part = folder / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=r"part-00000.parquet: damaged"):
        inspect_path(folder, verify=True)
