"""The map of embeddings: a point for each row, its nearest neighbours, and a file that says what it is of."""

import sys
import types

import numpy as np
import pyarrow.parquet as parquet
import pytest

from polycli import __main__ as entry
from polycli.errors import MissingDependencyError, StoreError, UserError
from polycli.search import projection
from polycli.search.projection import make_map, map_path, principal_plane, read_map
from polycli.search.searcher import Searcher
from tests.search.made import COUNT, WIDTH, catalogue, vectors, write


def unit(found):
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def searcher(tmp_path):
    return Searcher.open(write(tmp_path / "sky.parquet", catalogue(), {"image_embedding": vectors()}))


def test_the_plane_is_that_of_the_two_first_principal_components(searcher):
    points = principal_plane(searcher, "image_embedding")
    centred = unit(vectors().astype(np.float64))
    centred -= centred.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * size)[:, :2]
    # A component and its opposite are the same component.
    expected *= np.sign((expected * points).sum(axis=0))
    np.testing.assert_allclose(points, expected, atol=2e-5)


def test_the_file_has_points_columns_and_the_neighbours_that_sorting_gives(searcher, tmp_path):
    output = map_path(searcher.path)
    document = make_map(searcher, output, method="pca", neighbours=4)
    assert document["neighbours"] == 4
    table = parquet.read_table(output)
    assert table.column_names == [*catalogue().column_names, "projection_x", "projection_y", "neighbors"]
    assert table["object_id"].to_pylist() == catalogue()["object_id"].to_pylist()
    cosine = unit(vectors().astype(np.float64)) @ unit(vectors().astype(np.float64)).T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.sort(cosine, axis=1)[:, ::-1][:, :4]
    found = table["neighbors"].to_pylist()
    distances = np.array([each["distances"] for each in found])
    np.testing.assert_allclose(distances, 1 - nearest, atol=1e-5)
    ids = np.array([each["ids"] for each in found])
    # Rows from 0, each as near as it is said to be: equal vectors may stand in either order.
    np.testing.assert_allclose(np.take_along_axis(cosine, ids, axis=1), nearest, atol=1e-5)
    assert (ids != np.arange(COUNT)[:, None]).all()


def test_neighbours_of_very_many_rows_are_those_of_an_index_and_its_recall_is_said(
    searcher, tmp_path, monkeypatch, capsys
):
    exact = make_map(searcher, tmp_path / "exact.parquet", method="pca", neighbours=4)
    monkeypatch.setattr(projection, "EXACT_ROWS", COUNT - 1)
    document = make_map(searcher, tmp_path / "found.parquet", method="pca", neighbours=4)
    said = capsys.readouterr().err
    assert exact["neighbour_recall"] is None
    assert document["neighbour_recall"] > 0.9
    assert f"neighbours are those that the index finds, {document['neighbour_recall']:.2%} of them" in said
    one, other = (
        parquet.read_table(tmp_path / name)["neighbors"].to_pylist() for name in ("exact.parquet", "found.parquet")
    )
    same = [len({*a["ids"]} & {*b["ids"]}) / 4 for a, b in zip(one, other, strict=True)]
    assert np.mean(same) > 0.9
    assert all(row not in each["ids"] for row, each in enumerate(other))
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    make_map(searcher, tmp_path / "square.parquet", method="pca", neighbours=4)
    assert "take time with the square of the rows; with faiss" in capsys.readouterr().err
    assert parquet.read_table(tmp_path / "square.parquet")["neighbors"].to_pylist() == one


@pytest.mark.parametrize("form", ["sky", "sky.zarr", "sky.hats"])
def test_every_form_of_embeddings_has_a_map_in_the_order_of_its_rows(embeddings, form, tmp_path):
    searcher = Searcher.open(embeddings(form))
    output = tmp_path / "map.parquet"
    make_map(searcher, output, vector="spectrum", method="pca", neighbours=0)
    table = parquet.read_table(output)
    assert table["object_id"].to_pylist() == searcher.ids(range(COUNT))
    assert "neighbors" not in table.column_names
    found = read_map(output, searcher)
    assert found.kind == "spectrum"
    np.testing.assert_array_equal(found.points, principal_plane(searcher, "spectrum_embedding"))
    np.testing.assert_allclose(
        found.values(searcher, "redshift"), searcher.table(range(COUNT))["redshift"].to_numpy(), rtol=1e-6
    )


def test_a_map_of_other_embeddings_is_refused(searcher, tmp_path):
    output = map_path(searcher.path)
    assert read_map(output, searcher) is None
    make_map(searcher, output, method="pca", neighbours=0)
    other = Searcher.open(
        write(tmp_path / "other.parquet", catalogue(), {"image_embedding": vectors()}, provenance={"model_hash": "n"})
    )
    with pytest.raises(StoreError, match="a map of other vectors"):
        read_map(output, other)
    with pytest.raises(StoreError, match="is no map of embeddings"):
        read_map(searcher.path, searcher)


def test_a_map_is_replaced_only_when_asked_and_nothing_else_ever_is(searcher, tmp_path):
    output = map_path(searcher.path)
    make_map(searcher, output, method="pca", neighbours=0)
    with pytest.raises(UserError, match="exists already") as refused:
        make_map(searcher, output, method="pca", neighbours=0)
    assert refused.value.hint.endswith("--overwrite")
    make_map(searcher, output, method="pca", neighbours=0, overwrite=True)
    before = searcher.path.read_bytes()
    with pytest.raises(UserError):
        make_map(searcher, searcher.path, method="pca", overwrite=True)
    assert searcher.path.read_bytes() == before


def test_umap_is_taken_where_it_is_installed_and_else_named(searcher, tmp_path, monkeypatch):
    monkeypatch.setattr(projection, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="umap-learn") as refused:
        make_map(searcher, tmp_path / "m.parquet", method="umap")
    assert "polycli[umap]" in refused.value.hint
    assert make_map(searcher, tmp_path / "pca.parquet", neighbours=0)["method"] == "pca"

    class Umap:
        def __init__(self, **settings):
            assert settings["metric"] == "cosine"
            assert settings["random_state"] == 0

        def fit_transform(self, found):
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
            assert found.shape == (COUNT, WIDTH)
            return found[:, :2] * 2

    monkeypatch.setattr(projection, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    output = tmp_path / "umap.parquet"
    assert make_map(searcher, output, neighbours=0)["method"] == "umap"
    np.testing.assert_allclose(read_map(output, searcher).points, 2 * unit(vectors())[:, :2], atol=1e-6)


def test_the_command_writes_the_map_beside_the_embeddings(searcher, capsys):
    assert entry.run(["search", "map", str(searcher.path), "--method", "pca", "--neighbours", "2"]) == 0
    output = map_path(searcher.path)
    assert capsys.readouterr().out.strip() == str(output)
    assert read_map(output, searcher).method == "pca"
    assert entry.run(["search", "map", str(searcher.path), "--vector", "sound", "--overwrite"]) == 2


def test_a_vector_that_is_not_finite_is_in_the_middle_and_has_no_neighbours(tmp_path):
    some = vectors().copy()
    some[5] = np.nan
    searcher = Searcher.open(write(tmp_path / "sky.parquet", catalogue(), {"image_embedding": some}))
    output = map_path(searcher.path)
    make_map(searcher, output, method="pca", neighbours=3)
    neighbours = parquet.read_table(output)["neighbors"].to_pylist()
    assert neighbours[5] == {"ids": [], "distances": []}
    assert all(5 not in each["ids"] for each in neighbours)
    assert np.isfinite(read_map(output, searcher).points).all()
