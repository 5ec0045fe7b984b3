"""`inspect EMBEDDINGS --verify --checkpoint C --data D`: some rows are embedded again, and a wrong vector is found."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from polycli.__main__ import run as command_line
from polycli.astroclip import embed as astroclip_embed
from polycli.errors import CheckpointError, StoreError
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.parts import with_vectors
from polycli.store.embeddings.reading import EmbeddingRows
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened
from polycli.workflow.embedding.sampling import compare_sample
from tests.astroclip.conftest import *  # noqa: F403  # The tiny model and the mock survey.
from tests.workflow.toy_rows import header, toy

FORMS = ["e", "e.parquet", "e.zarr"]


@pytest.fixture
def embedded(tmp_path):
    """Embed 90 rows of two toy stores, six of which cannot be."""

    def made(name):
        request = EmbedRequest(checkpoint=Path("c"), data=(), output=tmp_path / name, json=True)
        embed(begin(request, UnitSettings(max_quarantined=0.1)), opened(), noun=("row", "rows"))
        return tmp_path / name

    return made


def opened(**changes):
    stores = [toy("a", 40, 4, damaged=(3, 8), places=False), toy("b", 50, 4, damaged=(0, 1, 2, 3), places=False)]
    return Opened(header("a", "b", **changes), stores)


@pytest.mark.parametrize("name", FORMS)
def test_any_range_of_rows_can_be_read_in_every_form(embedded, name):
    rows = EmbeddingRows(embedded(name))
    good = [row for row in range(40) if row not in (3, 8)] + list(range(4, 50))
    for first, end in ((0, 84), (0, 1), (83, 84), (30, 60)):
        found = rows.read(first, end)
        assert found["row"].to_pylist() == good[first:end]
        assert [vector[0] for vector in found["toy_embedding"].to_pylist()] == good[first:end]


@pytest.mark.parametrize("name", FORMS)
def test_rows_embedded_again_agree_also_behind_rows_that_were_put_aside(embedded, name):
    path = embedded(name)
    found = compare_sample(path, read_manifest(path), opened(), rows=1000)
    assert (found.rows, found.equal, found.largest) == (84, 84, 0.0)
    some = compare_sample(path, read_manifest(path), opened(), rows=16)
    assert 8 <= some.rows <= 20


def test_objects_of_a_catalogue_are_found_by_id_and_position(tmp_path):
    """Its rows are in the order of the sky, and its vectors are float16."""

    def stores():
        return Opened(header("a", "b"), [toy("a", 40, 4, damaged=(3,), sky=True), toy("b", 50, 4, sky=True)])

    path = tmp_path / "e.hats"
    request = EmbedRequest(checkpoint=Path("c"), data=(), output=path, json=True)
    embed(begin(request, UnitSettings(max_quarantined=0.1), positions=True), stores(), noun=("row", "rows"))
    found = compare_sample(path, read_manifest(path), stores(), rows=1000)
    assert (found.rows, found.equal, found.largest) == (89, 89, 0.0)
    for changed in (lambda vector: vector * 1.01, lambda vector: vector[::-1]):
        other = stores()
        tables = other.rows[1].tables

        def wrong(batches, first_row, advance, tables=tables, changed=changed):
            made = tables(batches, first_row, advance)[""]
            vectors = np.asarray(made["toy_embedding"].combine_chunks().flatten())
            return {"": with_vectors(made.drop_columns("toy_embedding"), {"toy_embedding": changed(vectors)[:, None]})}

        with pytest.raises(StoreError, match=r"toy_embedding of object_id b-\d+ differs by"):
            compare_sample(
                path,
                read_manifest(path),
                Opened(other.header, [other.rows[0], dataclasses.replace(other.rows[1], tables=wrong)]),
                rows=1000,
            )


def test_another_vector_another_model_and_other_data_are_found(embedded):
    path = embedded("e.parquet")
    manifest = read_manifest(path)
    other = opened()
    tables = other.rows[1].tables

    def wrong(batches, first_row, advance):
        made = tables(batches, first_row, advance)[""]
        vectors = made["toy_embedding"].combine_chunks()
        changed = np.asarray(vectors.flatten()) * (1 + 1e-3 * (np.concatenate(batches) == 20))
        return {
            "": with_vectors(made.drop_columns("toy_embedding"), {"toy_embedding": changed[:, None].astype(np.float32)})
        }

    stores = [other.rows[0], dataclasses.replace(other.rows[1], tables=wrong)]
    with pytest.raises(StoreError, match=r"toy_embedding of name b differs by 0\.001 of its length"):
        compare_sample(path, manifest, Opened(other.header, stores), rows=1000)
    with pytest.raises(CheckpointError, match="is another model than that of"):
        compare_sample(path, manifest, Opened(header("a", model="other"), other.rows), rows=10)
    with pytest.raises(StoreError, match="was not made of c as it is now: it holds a, b"):
        compare_sample(path, manifest, Opened(other.header, [toy("c", 10, 4)]), rows=10)


def test_the_command_embeds_objects_again(tmp_path, tiny_model, mock_store, capsys):
    request = EmbedRequest(
        checkpoint=tiny_model,
        data=(mock_store,),
        output=tmp_path / "e.parquet",
        overrides=("dtype=float16", "batch_size=4"),
        split="train",
    )
    astroclip_embed.run(request)
    rows = parquet.read_table(tmp_path / "e.parquet").num_rows
    line = [
        "inspect",
        str(tmp_path / "e.parquet"),
        "--verify",
        "--checkpoint",
        str(tiny_model),
        "--data",
        str(mock_store),
    ]
    capsys.readouterr()
    assert command_line([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["embedded again"]
    assert re.match(rf"{rows} rows embedded again agree, {rows} bit for bit", said)
    assert command_line(line[:-2]) == 2
    assert "--checkpoint and --data belong together" in capsys.readouterr().err
