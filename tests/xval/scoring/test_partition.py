"""`polycli.embed_partition` of records: rows of a table in memory get the vectors that `embed` gives them."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import polycli
from polycli.errors import StoreError, UserError
from polycli.requests import EmbedRequest
from polycli.workflow.embedding import partitions
from polycli.workflow.embedding.partitions import ArrowColumn, PlainColumn
from polycli.xval import embed
from tests.xval.table_model import COLUMNS, table_model, values


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    return table_model(tmp_path_factory.mktemp("stars"))


@pytest.fixture
def table():
    return pa.table({"object_id": [f"s{row}" for row in range(60)], **values(60)})


def test_rows_get_the_vectors_that_embed_gives_them(tmp_path, stars, table):
    store, model = stars
    request = EmbedRequest(checkpoint=model, data=(store,), output=tmp_path / "e.parquet", json=True)
    embed.run(request)
    written = parquet.read_table(tmp_path / "e.parquet")
    expected = dict(zip(written["record_id"].to_pylist(), written["record_embedding"].to_pylist(), strict=True))
    function = pickle.loads(pickle.dumps(polycli.embed_partition("xval", model, columns=COLUMNS)))  # noqa: S301
    made = function(table.rename_columns(["object_id", *COLUMNS]))
    assert made.column_names == [*table.column_names, "record_embedding"]
    assert made.schema.field("record_embedding").type == pa.list_(pa.float32(), 16)
    assert len(expected) == 60
    for name, vector in zip(made["object_id"].to_pylist(), made["record_embedding"].to_pylist(), strict=True):
        np.testing.assert_allclose(vector, expected[name], atol=1e-5)


def test_columns_may_have_other_names_and_order_and_some_are_kept(stars, table):
    _, model = stars
    plain = polycli.embed_partition("xval", model, columns=COLUMNS)(table)
    named = polycli.embed_partition(
        "xval", model, columns={"kind": "TYPE", "redshift": "Z", "mag_r": "R"}, keep=["object_id"]
    )
    other = named(table.rename_columns(["object_id", "Z", "R", "TYPE"]))
    assert other.column_names == ["object_id", "record_embedding"]
    assert other["record_embedding"].to_pylist() == plain["record_embedding"].to_pylist()


def test_a_table_without_rows_tells_its_columns(stars, table):
    """LSDB asks a function so what it will return."""
    _, model = stars
    made = polycli.embed_partition("xval", model, columns=COLUMNS)(table.slice(0, 0))
    assert (len(made), made.schema.field("record_embedding").type) == (0, pa.list_(pa.float32(), 16))


def test_what_does_not_fit_is_refused(stars, table):
    _, model = stars
    with pytest.raises(StoreError, match="the table has no column redshift") as error:
        polycli.embed_partition("xval", model, columns=COLUMNS)(table.rename_columns(["id", "Redshift", "r", "kind"]))
    assert "Redshift" in error.value.hint
    with pytest.raises(StoreError, match="the model has never seen the key z; it knows redshift, mag_r, kind"):
        polycli.embed_partition("xval", model, columns={"z": "redshift"})(table)
    with pytest.raises(StoreError, match="a table of pyarrow or pandas was expected, and this is a list"):
        polycli.embed_partition("xval", model, columns=COLUMNS)([1, 2])
    with pytest.raises(UserError, match="rows of mpp are no rows of a table"):
        polycli.embed_partition("mpp", model)


def test_a_process_opens_the_model_once(stars, table, monkeypatch):
    _, model = stars
    function = polycli.embed_partition("xval", model, columns=COLUMNS)
    monkeypatch.setattr(partitions, "_opened", {})
    function(table)
    (encode,) = partitions._opened.values()
    pickle.loads(pickle.dumps(function))(table)  # noqa: S301
    assert [*partitions._opened.values()] == [encode]


def test_cells_are_numbers_however_they_are_nested():
    cells = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    nested = pa.array(cells.tolist())
    objects = [np.array([*image.tolist()], dtype=object) for image in cells]
    ragged = [[np.array(row) for row in band] for band in cells[0]]
    for column in (
        ArrowColumn(pa.chunked_array([nested])),
        ArrowColumn(pa.chunked_array([nested.slice(0, 1), nested.slice(1)])),
        PlainColumn([*cells]),
        PlainColumn(cells.tolist()),
        PlainColumn(objects),
        PlainColumn([ragged, [[np.array(row) for row in band] for band in cells[1]]]),
    ):
        assert np.array_equal(column.values(), cells)
    of_two_on_average = [[1.0], [1.0, 2.0, 3.0]]
    for column in (
        ArrowColumn(pa.chunked_array([[[1.0, 2.0], [3.0]]])),
        ArrowColumn(pa.chunked_array([of_two_on_average])),
        ArrowColumn(pa.chunked_array([[[1.0, 2.0], None, [3.0, 4.0]]])),
        PlainColumn([[1.0, 2.0], [3.0]]),
        PlainColumn(of_two_on_average),
    ):
        with pytest.raises(StoreError, match="its cells hold different numbers of values"):
            column.values()
    assert PlainColumn([np.int64(3), np.nan, None, "a"]).objects() == [3, None, None, "a"]
    assert ArrowColumn(pa.chunked_array([[1.5, float("nan"), None]])).objects() == [1.5, None, None]
