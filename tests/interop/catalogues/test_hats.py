"""The packages hats and lsdb: our collections are strictly valid, also while they grow, and searches are astropy's.

Runs in an environment of its own, `make test-interop`.
"""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix

from polycli.__main__ import run as command_line
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings import hats_form
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import with_vectors
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened, Rows

pytestmark = pytest.mark.interop
#: Objects of each of two stores, a lot of them at the poles, at right ascension 0 and at a corner of four pixels.
COUNT, MOST, WIDTH, KILLS = 10_000, 800, 4, 12
CATALOGUES = ("objects", "objects_5arcsec", "vectors")


def sky(seed):
    draw = np.random.default_rng(seed)
    ra, dec = draw.uniform(0, 360, COUNT), np.degrees(np.arcsin(draw.uniform(-1, 1, COUNT)))
    dec[:400], dec[400:800] = 90 - np.abs(draw.normal(0, 0.02, 400)), -90 + np.abs(draw.normal(0, 0.02, 400))
    ra[800:1200], dec[800:1200] = np.mod(draw.normal(0, 0.01, 400), 360), draw.normal(0, 0.01, 400)
    ra[1200:1500], dec[1200:1500] = draw.normal(45, 0.01, 300), draw.normal(0, 0.01, 300)
    return ra, dec


def stores():
    """Two stores; every object of the second lies within some arcseconds of one of the first."""
    ra, dec = sky(0)
    draw = np.random.default_rng(9)
    places = SkyCoord(ra * units.deg, dec * units.deg)
    near = places.directional_offset_by(
        draw.uniform(0, 360, COUNT) * units.deg, draw.exponential(2, COUNT) * units.arcsec
    )
    return {"a": (ra, dec), "b": (near.ra.deg, near.dec.deg)}


def embedded(output, names, *, append=False):
    there, opened = stores(), []
    for name in names:
        ra, dec = there[name]
        pixels = HEALPix(nside=2**29, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
        columns = {
            "object_id": np.arange(COUNT) + (COUNT if name == "b" else 0),
            "ra": ra,
            "dec": dec,
            "healpix29": np.asarray(pixels, np.int64),
        }
        table = pa.table(columns)

        def tables(batches, _, advance, table=table):
            rows = np.concatenate(batches)
            vectors = np.repeat(table["object_id"].to_numpy()[rows, None], WIDTH, axis=1) / np.float32(2 * COUNT)
            advance(len(rows))
            return {"": with_vectors(table.take(rows), {"image_embedding": vectors.astype(np.float32)})}

        ids = table["object_id"].to_pylist()
        opened.append(
            Rows(
                name,
                name,
                100,
                tables,
                ids=lambda rows, ids=ids: [ids[row] for row in rows],
                count=COUNT,
                take=np.arange,
            )
        )
    header = EmbeddingsHeader("astroclip", {"model_hash": "m"}, dict.fromkeys(names, "1"), data=tuple(names))
    request = EmbedRequest(checkpoint=Path("c"), data=(), output=output, append=append, json=True)
    target = begin(request, UnitSettings(unit_rows=500), positions=True)
    embed(target, Opened(header, opened), noun=("object", "objects"))
    return output


@pytest.fixture(scope="module")
def collections(tmp_path_factory):
    """One of the first store, one of the second, and one of the first to which the second was added."""
    folder = tmp_path_factory.mktemp("sky")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hats_form, "PARTITION_ROWS", MOST)
        found = {name: embedded(folder / f"{name}.hats", [name]) for name in ("a", "b")}
        found["both"] = embedded(folder / "both.hats", ["a"])
        embedded(found["both"], ["a", "b"], append=True)
    return found


def is_valid(collection):
    from hats.io.validation import is_valid_catalog, is_valid_collection

    return is_valid_collection(collection, strict=True, verbose=False) and all(
        is_valid_catalog(collection / name, strict=True, verbose=False) for name in CATALOGUES
    )


def test_collections_are_strictly_valid_also_after_they_grew(collections):
    import hats

    assert all(is_valid(path) for path in collections.values())
    counts = {name: hats.read_hats(path / "objects").catalog_info.total_rows for name, path in collections.items()}
    assert counts == {"a": COUNT, "b": COUNT, "both": 2 * COUNT}


@pytest.mark.parametrize("place", [(120.0, 90.0), (200.0, -90.0), (0.0, 0.0), (45.0, 0.0), (359.995, 0.004)])
def test_cones_hold_what_astropy_says(collections, place):
    import lsdb

    there = stores()
    ra, dec = (np.concatenate([there["a"][axis], there["b"][axis]]) for axis in (0, 1))
    apart = SkyCoord(*place, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
    expected = np.flatnonzero(apart <= 60.0)
    found = lsdb.open_catalog(collections["both"]).cone_search(*place, radius_arcsec=60.0).compute()
    assert len(expected) > 20
    assert sorted(found["object_id"]) == expected.tolist()


def test_a_crossmatch_finds_the_pairs_that_astropy_finds(collections):
    import lsdb

    there = stores()
    one, other = (SkyCoord(*there[name], unit="deg") for name in ("a", "b"))
    nearest, apart, _ = one.match_to_catalog_sky(other)
    pairs = {(row, COUNT + int(nearest[row])) for row in np.flatnonzero(apart.arcsec <= 4.0).tolist()}
    catalogues = [lsdb.open_catalog(collections[name]) for name in ("a", "b")]
    found = catalogues[0].crossmatch(
        catalogues[1], n_neighbors=1, radius_arcsec=4.0, suffixes=("_a", "_b"), suffix_method="all_columns"
    )
    table = found.compute()
    assert len(pairs) > 2000
    assert set(zip(table["object_id_a"].tolist(), table["object_id_b"].tolist(), strict=True)) == pairs


def test_the_index_finds_an_object_by_its_id(collections):
    import lsdb

    catalogue = lsdb.open_catalog(collections["both"])
    for name, ra in ((7, stores()["a"][0][7]), (COUNT + 7, stores()["b"][0][7])):
        found = catalogue.id_search({"object_id": name}).compute()
        assert found["ra"].tolist() == [ra]


def test_vectors_are_joined_by_the_id(collections):
    import lsdb

    objects = lsdb.open_catalog(collections["a"])
    vectors = lsdb.open_catalog(collections["a"] / "vectors", columns=["object_id", "image_embedding"])
    both = objects.join(vectors, left_on="object_id", right_on="object_id", suffixes=("", "_vector"))
    table = both.cone_search(0.0, 0.0, radius_arcsec=60.0).compute()
    column = next(name for name in table.columns if name.startswith("image_embedding"))
    assert len(table) > 100
    for name, vector in zip(table["object_id"], table[column], strict=True):
        assert list(vector) == [np.float16(name / (2 * COUNT))] * WIDTH


def test_a_collection_that_grows_is_strictly_valid_after_each_kill(collections, tmp_path, monkeypatch):
    monkeypatch.setattr(hats_form, "PARTITION_ROWS", MOST)
    path = embedded(tmp_path / "sky.hats", ["a"])
    draw, kills, longest = np.random.default_rng(3), 0, 2.0
    while kills < KILLS:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                embedded(path, ["a", "b"], append=True)
                code = 0
            finally:
                os._exit(code)
        time.sleep(draw.uniform(0.0, longest))
        if os.waitpid(child, os.WNOHANG)[0]:
            # It was through: from the start again, with less time.
            longest *= 0.8
            for left in tmp_path.iterdir():
                left.rename(tmp_path.parent / f"{left.name}-{kills}-{longest}")
            embedded(path, ["a"])
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        assert is_valid(path)
    embedded(path, ["a", "b"], append=True)
    assert is_valid(path)

    def content(folder):
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    grown = {
        name: data for name, data in content(path).items() if name not in ("collection.properties", "_MANIFEST.json")
    }
    assert grown.items() <= content(collections["both"]).items()
    assert [left.name for left in tmp_path.iterdir()] == ["sky.hats"]


def test_a_catalogue_that_lsdb_wrote_is_searched(tmp_path, collections, capsys):
    """Vectors of anybody, in a catalogue without a manifest of ours."""
    import lsdb

    vectors = lsdb.open_catalog(collections["a"] / "vectors", columns=["object_id", "ra", "dec", "image_embedding"])
    draw = np.random.default_rng(5)

    def other(frame):
        # Ours are all of one direction, for they are one number many times.
        made = draw.standard_normal((len(frame), 6), dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(made.reshape(-1)), 6)
        series = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([column])), index=frame.index)
        return frame.drop(columns="image_embedding").assign(feature=series)

    import pandas as pd

    theirs = vectors.map_partitions(other)
    theirs.to_hats(tmp_path / "theirs", catalog_name="theirs")
    table = lsdb.open_catalog(tmp_path / "theirs").compute()
    values = np.stack([np.asarray(vector, np.float64) for vector in table["feature"]])
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    row = int(np.flatnonzero(table["object_id"].to_numpy() == 7)[0])
    like = np.argsort(-(values @ values[row]), kind="stable")[1:6]
    capsys.readouterr()
    assert command_line(["search", str(tmp_path / "theirs"), "--id", "7", "-k", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["neighbours"]
    assert [each["id"] for each in found] == table["object_id"].to_numpy()[like].tolist()
    np.testing.assert_allclose([each["similarity"] for each in found], (values @ values[row])[like], atol=1e-5)


def test_lsdb_embeds_its_partitions(tmp_path, collections):
    """`Catalog.map_partitions` takes what `polycli.embed_partition` returns; columns are those of the catalogue."""
    import lsdb
    import pandas as pd

    import polycli
    from tests.xval.table_model import COLUMNS, table_model, values

    _, model = table_model(tmp_path)
    places = stores()["a"]
    frame = pd.DataFrame({"id": np.arange(200), "ra": places[0][:200], "dec": places[1][:200], **values(200)})
    catalogue = lsdb.from_dataframe(frame, ra_column="ra", dec_column="dec")
    embed = polycli.embed_partition("xval", model, columns=COLUMNS, keep=["id", "ra", "dec"])
    found = catalogue.map_partitions(embed).compute()
    alone = embed(pa.table({name: frame[name] for name in frame.columns}))
    expected = dict(zip(alone["id"].to_pylist(), alone["record_embedding"].to_pylist(), strict=True))
    assert len(found) == 200
    assert str(found.dtypes["record_embedding"]) == "fixed_size_list<item: float>[16][pyarrow]"
    for name, vector in zip(found["id"], found["record_embedding"], strict=True):
        np.testing.assert_allclose(np.asarray(vector, np.float32), expected[name], atol=1e-5)
