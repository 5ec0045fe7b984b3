"""Embeddings say what they are and where they come from, in each of their formats."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from polycli.errors import PolycliError, StoreError
from polycli.inspection import inspect_path
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

HEADER = EmbeddingsHeader(
    family="astroclip",
    provenance={"checkpoint": "runs/a/model.safetensors", "model_hash": "m"},
    store_hash={"mock": "s"},
    options={"normalise": False},
)
FORMS = ["e", "e.parquet", "e.zarr"]


@pytest.fixture
def write(tmp_path):
    def written(name):
        parts = tmp_path / "parts"
        parts.mkdir()
        with PartWriter(parts, 0) as writer:
            rows = with_vectors(pa.table({"object_id": [1, 2]}), {"image_embedding": np.ones((2, 3), np.float32)})
            pixels = with_vectors(pa.table({"row": [0, 0, 1]}), {"pixel_embedding": np.ones((3, 4), np.float16)})
            writer.write({"": rows, "pixels": pixels})
        join(parts, tmp_path / name, HEADER)
        return tmp_path / name

    return written


@pytest.mark.parametrize("name", FORMS)
def test_each_format_is_recognised(write, name):
    finding = inspect_path(write(name))
    text = "\n".join(finding.lines)
    assert "embeddings of astroclip" in text
    assert "image_embedding 3 float32" in text
    assert "pixels" in text
    assert "3 rows: pixel_embedding 4 float16" in text
    assert "runs/a/model.safetensors" in text
    assert finding.document["rows"] == 2
    assert finding.document["store_hash"] == {"mock": "s"}


def test_a_table_beside_the_rows_says_what_it_is(write):
    finding = inspect_path(write("e.parquet").with_suffix(".pixels.parquet"))
    assert "pixels of embeddings of astroclip" in finding.lines[0]


@pytest.mark.parametrize("name", FORMS)
def test_verify_finds_any_changed_byte_in_any_file(write, name):
    target = write(name)
    assert any("every file" in line for line in inspect_path(target, verify=True).lines)
    beside = [target, target.with_suffix(".pixels.parquet")] if target.is_file() else sorted(target.rglob("*"))
    generator = np.random.default_rng(0)
    for file in (path for path in beside if path.is_file()):
        content = file.read_bytes()
        for place in {0, len(content) - 1, *generator.integers(len(content), size=6).tolist()}:
            file.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
            with pytest.raises(PolycliError, match=re.escape(target.stem)):
                inspect_path(target, verify=True)
        file.write_bytes(content)
        if file not in (target, target / "_MANIFEST.json", target / "zarr.json"):
            file.unlink()
            with pytest.raises(StoreError, match=f"{re.escape(file.name)}: is missing"):
                inspect_path(target, verify=True)
            file.write_bytes(content)


def test_embeddings_of_before_seals_are_read_to_their_end(tmp_path):
    """xVal wrote its vectors without a manifest of its own, AstroCLIP one without a seal."""
    metadata = {"polycli": json.dumps({"format": "polycli-embeddings", "checkpoint": "m", "encoding": "xval"})}
    table = pa.table({"record_id": ["a"] * 5000, "vector": np.random.default_rng(0).random(5000)})
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "old.parquet")
    finding = inspect_path(tmp_path / "old.parquet", verify=True)
    assert any("no hash" in line for line in finding.lines)
    assert "embeddings" in finding.lines[0]
    content = (tmp_path / "old.parquet").read_bytes()
    (tmp_path / "old.parquet").write_bytes(content[:4] + b"\xff" * 200 + content[204:])
    with pytest.raises(StoreError, match=r"old\.parquet: damaged"):
        inspect_path(tmp_path / "old.parquet", verify=True)


def test_what_xval_wrote_in_zarr_before_is_known_and_read_to_its_end(tmp_path):
    group = zarr.create_group(store=tmp_path / "old.zarr")
    group.attrs.update({"format": "polycli-embeddings", "checkpoint": "m", "encoding": "xval"})
    group.create_array("vectors", data=np.ones((2, 3), np.float32), compressors=[Crc32cCodec()])
    finding = inspect_path(tmp_path / "old.zarr", verify=True)
    assert "embeddings" in finding.lines[0]
    assert any("no hash" in line for line in finding.lines)
    chunk = tmp_path / "old.zarr" / "vectors" / "c" / "0" / "0"
    chunk.write_bytes(b"\1" + chunk.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"old\.zarr: damaged"):
        inspect_path(tmp_path / "old.zarr", verify=True)


def test_folders_of_before_are_checked_by_the_hashes_of_their_parts(write):
    folder = write("e")
    manifest = json.loads((folder / "_MANIFEST.json").read_text())
    del manifest["sha256"], manifest["tables"]
    (folder / "_MANIFEST.json").write_text(json.dumps(manifest | {"schema_version": 1}))
    assert any("every file has the hash" in line for line in inspect_path(folder, verify=True).lines)
    (folder / "part-00000.parquet").unlink()
    with pytest.raises(StoreError, match=r"part-00000\.parquet: is missing"):
        inspect_path(folder, verify=True)


def test_what_is_not_published_yet_is_said_with_the_command_that_tells_how_far_it_is(tmp_path):
    (tmp_path / ".a.hats.partial-units").mkdir()
    with pytest.raises(PolycliError, match=r"a\.hats: is being made, or was begun and did not finish") as caught:
        inspect_path(tmp_path / "a.hats")
    assert caught.value.hint == f"polycli status {tmp_path / 'a.hats'}"
    with pytest.raises(PolycliError, match=r"b\.hats: no such file or folder") as caught:
        inspect_path(tmp_path / "b.hats")
    assert caught.value.hint is None
