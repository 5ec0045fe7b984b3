"""Exact search finds what sorting all cosines finds, in every form of embeddings and under filters."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from polycli.errors import StoreError, UserError
from polycli.search import kernels
from polycli.search import scan as scanning
from polycli.search.filters import AllOf, Box, CertainRows, Cone, Where
from polycli.search.searcher import Searcher
from polycli.store.embeddings.units import UnitPlace
from tests.search.made import COUNT, FORMS, WIDTH, catalogue, vectors, write


def sorted_cosines(found, query, chosen=None):
    """Rows by falling cosine in float64, equal ones (in float32) by their index."""
    wide = found.astype(np.float64)
    cosine = wide @ query.astype(np.float64) / np.linalg.norm(wide, axis=1) / np.linalg.norm(query.astype(np.float64))
    cosine = cosine.astype(np.float32)
    rows = np.arange(len(found)) if chosen is None else np.flatnonzero(chosen)
    order = np.lexsort((rows, -cosine[rows].astype(np.float64)))
    return rows[order], cosine[rows][order]


def rows_in_order(searcher):
    """Everything in the order of the searcher's rows."""
    everything = list(range(searcher.rows))
    table = searcher.table(everything)
    return table, searcher.vectors(everything, "image_embedding")


@pytest.mark.parametrize("form", FORMS)
def test_the_nearest_are_those_that_sorting_all_cosines_gives(embeddings, form, monkeypatch):
    searcher = Searcher.open(embeddings(form))
    assert searcher.rows == COUNT
    assert dict(searcher.kinds) == {"image": "image_embedding", "spectrum": "spectrum_embedding"}
    table, known = rows_in_order(searcher)
    assert sorted(table["object_id"].to_pylist()) == sorted(catalogue()["object_id"].to_pylist())
    place = {name: number for number, name in enumerate(catalogue()["object_id"].to_pylist())}
    assert np.array_equal(known, vectors()[[place[name] for name in table["object_id"].to_pylist()]])
    for row in (0, 3, COUNT - 1):
        expected, cosine = sorted_cosines(known, known[row])
        answer = searcher.nearest(known[row], "image_embedding", 40)
        assert [neighbour.row for neighbour in answer.neighbours] == expected[:40].tolist()
        assert np.allclose([neighbour.similarity for neighbour in answer.neighbours], cosine[:40], atol=1e-6)
        assert [neighbour.id for neighbour in answer.neighbours] == table["object_id"].take(expected[:40]).to_pylist()
        assert answer.exact
        assert answer.recall is None
        assert answer.compared == COUNT


@pytest.mark.parametrize("block", [7, 64])
@pytest.mark.parametrize("kernel", ["numpy", "torch"])
def test_the_answer_depends_neither_on_the_cut_into_blocks_nor_on_the_library(embeddings, block, kernel, monkeypatch):
    searcher = Searcher.open(embeddings("sky"))
    _, known = rows_in_order(searcher)
    column = "image_embedding"
    expected = searcher.nearest_of_many(known[:30], column, 25)
    monkeypatch.setattr(kernels, "_BLOCK_VALUES", 16 * WIDTH)
    chosen = kernels.NumpyKernel() if kernel == "numpy" else kernels.TorchKernel(WIDTH, 30)
    monkeypatch.setattr(scanning, "_READ_BYTES", 2 * WIDTH * block)
    monkeypatch.setattr(scanning, "choose_kernel", lambda *_: chosen)
    found = searcher.nearest_of_many(known[:30], column, 25)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.similarity, expected.similarity)


@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("said", [True, False])
def test_a_rough_look_in_half_precision_changes_no_answer(tmp_path, monkeypatch, spread, said):
    import torch  # noqa: F401  # Without it, nothing is compared in half precision.

    draw = np.random.default_rng(3)
    # All alike, nearly alike so that half precision can tell few apart, and not alike.
    made = draw.standard_normal(WIDTH) + spread * draw.standard_normal((5000, WIDTH))
    made = made / np.linalg.norm(made, axis=1, keepdims=True) * (1 if said else draw.uniform(0.5, 20, (5000, 1)))
    table = pa.table({"object_id": np.arange(5000)})
    path = write(tmp_path / "e", table, {"v": made.astype(np.float16)}, options={"normalise": said})
    searcher = Searcher.open(path)
    known = searcher.vectors(range(5000), "v")
    monkeypatch.setattr(scanning, "_ROUGH_BYTES", 2 * WIDTH * 900)
    for row in (0, 17, 4999):
        # The second search knows the lengths, if the manifest does not say them.
        for _ in range(2):
            answer = searcher.nearest(known[row], "v", 20)
            expected, cosine = sorted_cosines(known, known[row])
            assert [neighbour.row for neighbour in answer.neighbours] == expected[:20].tolist()
            assert np.allclose([neighbour.similarity for neighbour in answer.neighbours], cosine[:20], atol=1e-6)
    assert ("v" in searcher.stored.lengths) == (not said)
    assert kernels.rough_kernel(searcher.stored, "v", known[:1]) is not None


@pytest.mark.parametrize("width", [3, 24, 512])
def test_similarities_in_half_precision_are_less_wrong_than_is_said(width):
    import torch

    draw = np.random.default_rng(width)
    vectors = (draw.standard_normal((4000, width)) * draw.uniform(0.02, 900, (4000, 1))).astype(np.float16)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    query = draw.standard_normal(width)
    query /= np.linalg.norm(query)
    rough = kernels.RoughKernel(torch.from_numpy(query).half(), lengths.astype(np.float32))
    expected = vectors.astype(np.float64) @ query / lengths
    assert np.abs(rough(0, vectors) - expected).max() < kernels.ROUGH_TOLERANCE * 2 / 3


def test_equal_vectors_come_in_the_order_of_their_rows(embeddings):
    searcher = Searcher.open(embeddings("sky.parquet"))
    known = vectors()
    answer = searcher.nearest(known[3], "image_embedding", 15)
    assert [neighbour.row for neighbour in answer.neighbours] == [3, *range(COUNT // 2, COUNT // 2 + 14)]


def test_a_row_that_is_left_out_is_not_found_and_another_takes_its_place(embeddings):
    searcher = Searcher.open(embeddings("sky.parquet"))
    known = vectors()
    expected, _ = sorted_cosines(known, known[9])
    answer = searcher.nearest(known[9], "image_embedding", 5, without=[9, int(expected[2])])
    assert [neighbour.row for neighbour in answer.neighbours] == [expected[1], *expected[3:7]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (0.0, 0.0, 0.003),
        (359.9995, 0.001, 5.0),
        (12.0, 90.0, 0.01),
        (200.0, -89.99, 3.0),
        (77.0, 20.0, 60.0),
        (10.0, 5.0, 179.0),
    ],
)
def test_a_cone_lets_through_what_astropy_says_lies_inside(embeddings, form, ra, dec, radius):
    searcher = Searcher.open(embeddings(form))
    table, known = rows_in_order(searcher)
    there = SkyCoord(table["ra"].to_numpy() * units.deg, table["dec"].to_numpy() * units.deg)
    inside = there.separation(SkyCoord(ra * units.deg, dec * units.deg)).deg <= radius
    assert inside.any()
    expected, _ = sorted_cosines(known, known[5], inside)
    answer = searcher.nearest(known[5], "image_embedding", COUNT, allowed=searcher.cone(ra, dec, radius))
    assert [neighbour.row for neighbour in answer.neighbours] == expected.tolist()
    assert answer.compared == inside.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cone_passes_over_no_object_without_a_look_at_it(dtype):
    """Objects too far in declination or right ascension are ruled out by plain comparisons, others by the distance."""
    draw = np.random.default_rng(0)
    for ra, dec, radius in zip(
        draw.uniform(-20, 380, 60), draw.uniform(-90, 90, 60), 10 ** draw.uniform(-4, 2.2, 60), strict=True
    ):
        cone = Cone(ra, dec, min(radius, 180))
        # Around its edge, in all directions, and all over the sky.
        edge = SkyCoord(ra * units.deg, dec * units.deg).directional_offset_by(
            draw.uniform(0, 360, 400) * units.deg, cone.radius * draw.uniform(0.9, 1.1, 400) * units.deg
        )
        where = {
            "ra": np.r_[edge.ra.deg, draw.uniform(-360, 720, 400), np.nan].astype(dtype),
            "dec": np.r_[edge.dec.deg, np.degrees(np.arcsin(draw.uniform(-1, 1, 400))), 0].astype(dtype),
        }
        table = pa.table(where)
        assert np.array_equal(cone.mask(None, table), cone.separation(table) <= cone.radius)


def test_a_small_cone_reads_few_partitions_of_hats(embeddings):
    searcher = Searcher.open(embeddings("sky.hats"))
    cone = Cone(77.0, 20.0, 0.5)
    touched = sum(map(cone.touches, searcher.stored.partitions))
    assert touched < len(searcher.stored.partitions) / 4


@pytest.mark.parametrize(
    ("ra", "dec"), [((350.0, 10.0), (-1.0, 1.0)), ((10.0, 350.0), (-90.0, 0.0)), ((0.0, 360.0), (80.0, 90.0))]
)
def test_a_box_may_go_through_right_ascension_zero(embeddings, ra, dec):
    searcher = Searcher.open(embeddings("sky.parquet"))
    where = catalogue()["ra"].to_numpy(), catalogue()["dec"].to_numpy()
    between = (where[0] >= ra[0]) & (where[0] <= ra[1]) if ra[0] <= ra[1] else (where[0] >= ra[0]) | (where[0] <= ra[1])
    inside = between & (where[1] >= dec[0]) & (where[1] <= dec[1])
    answer = searcher.nearest(vectors()[0], "image_embedding", COUNT, allowed=Box(ra, dec))
    assert {neighbour.row for neighbour in answer.neighbours} == set(np.flatnonzero(inside).tolist())


def test_several_filters_let_through_what_all_let_through(embeddings):
    searcher = Searcher.open(embeddings("sky.parquet"))
    filters = AllOf((CertainRows.of([699, 120, 130, 5]), Cone(0, 0, 1)))
    answer = searcher.nearest(vectors()[0], "image_embedding", 9, allowed=filters)
    assert {neighbour.row for neighbour in answer.neighbours} == {120, 130}


@pytest.mark.parametrize("form", FORMS)
def test_a_condition_lets_through_what_fulfils_it(embeddings, form):
    searcher = Searcher.open(embeddings(form))
    table, known = rows_in_order(searcher)
    redshift = table["redshift"].to_numpy()
    chosen = (redshift < 0.3) & (np.array(table["class"].to_pylist()) == "spiral")
    expected, _ = sorted_cosines(known, known[5], chosen)
    found = searcher.nearest(known[5], "image_embedding", 50, allowed=Where.of("redshift < 0.3 and class = 'spiral'"))
    assert [neighbour.row for neighbour in found.neighbours] == expected[:50].tolist()
    with pytest.raises(UserError, match="no column 'redshfit': did you mean redshift"):
        searcher.nearest(known[5], "image_embedding", allowed=Where.of("redshfit < 0.3"))


def test_the_nearest_position_is_the_one_that_astropy_finds(embeddings):
    searcher = Searcher.open(embeddings("sky.hats"))
    table, _ = rows_in_order(searcher)
    there = SkyCoord(table["ra"].to_numpy() * units.deg, table["dec"].to_numpy() * units.deg)
    for ra, dec in ((0.001, 0.0005), (180.0, 89.9), (301.0, -45.0)):
        apart = there.separation(SkyCoord(ra * units.deg, dec * units.deg)).deg
        row, separation = searcher.row_at(ra, dec)
        assert row == apart.argmin()
        assert separation == pytest.approx(apart.min(), abs=1e-9)
    with pytest.raises(
        UserError, match=r"no object lies within 1 arcsec of 301, -45; the nearest is .* arcsec away|no object"
    ):
        searcher.row_at(301.0, -45.0, 1 / 3600)


def test_an_absent_id_names_those_that_look_like_it(embeddings):
    searcher = Searcher.open(embeddings("sky.parquet"))
    assert searcher.table([searcher.row_of("J00123")], ["object_id"])["object_id"].to_pylist() == ["J00123"]
    with pytest.raises(UserError, match=r"no object_id is 'J0012x'; the nearest are J0012\d, J0012\d, J0012\d"):
        searcher.row_of("J0012x")


def test_an_id_of_several_rows_is_refused_with_their_numbers(tmp_path):
    table = pa.table({"trajectory": ["a", "b", "a"]})
    searcher = Searcher.open(write(tmp_path / "w.parquet", table, {"pooled_embedding": np.eye(3, dtype=np.float32)}))
    with pytest.raises(UserError, match="trajectory 'a' has 2 rows: 0, 2") as refusal:
        searcher.row_of("a")
    assert refusal.value.hint.endswith("w.parquet:0")


def test_vectors_of_another_width_are_refused(embeddings):
    searcher = Searcher.open(embeddings("sky.parquet"))
    with pytest.raises(UserError, match="a vector of 5 numbers, and image_embedding has vectors of 24"):
        searcher.nearest(np.ones(5, np.float32), "image_embedding")
    with pytest.raises(UserError, match="zero or not finite"):
        searcher.nearest(np.zeros(WIDTH, np.float32), "image_embedding")


def test_a_vector_that_is_not_finite_is_similar_to_nothing(tmp_path):
    known = np.eye(4, dtype=np.float32)
    known[1] = np.nan
    table = pa.table({"record_id": ["a", "b", "c", "d"]})
    searcher = Searcher.open(write(tmp_path / "r.parquet", table, {"record_embedding": known}, units_of=1))
    answer = searcher.nearest(np.array([0, 0, 1, 0.5], np.float32), "record_embedding")
    assert [neighbour.id for neighbour in answer.neighbours] == ["c", "d", "a"]


def test_a_catalogue_in_hats_that_others_wrote_is_searched(tmp_path):
    folder = tmp_path / "others"
    for number, ids in ((0, [5, 6]), (3, [7, 8])):
        file = folder / f"dataset/Norder=0/Dir=0/Npix={number}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        emb = pa.array([[float(i), 1.0] for i in ids], pa.list_(pa.float32()))
        parquet.write_table(pa.table({"source_id": ids, "ra": [1.0, 2.0], "dec": [0.0, 0.0], "emb": emb}), file)
    (folder / "partition_info.csv").write_text("Norder,Npix\n0,0\n0,3\n")
    (folder / "hats.properties").write_text("obs_collection=others\ndataproduct_type=object\n")
    searcher = Searcher.open(folder)
    answer = searcher.nearest(np.array([0.0, 1.0], np.float32), "emb", 2)
    assert [neighbour.id for neighbour in answer.neighbours] == [5, 6]


def test_what_is_not_there_or_no_embeddings_is_refused(tmp_path, embeddings):
    with pytest.raises(UserError, match="does not exist") as refusal:
        Searcher.open(embeddings("sky.parquet").with_name("sku.parquet"))
    assert refusal.value.hint.endswith("sky.parquet?")
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="no embeddings"):
        Searcher.open(tmp_path / "x")


def test_embeddings_that_are_not_published_yet_say_so(tmp_path):
    place = UnitPlace(tmp_path / "sky.hats")
    (place.work / "units").mkdir(parents=True)
    with pytest.raises(UserError, match="are not published yet") as refusal:
        Searcher.open(tmp_path / "sky.hats")
    assert refusal.value.hint.startswith(f"polycli status {tmp_path}/sky.hats")


def test_a_file_that_is_cut_is_refused(tmp_path):
    table = pa.table({"record_id": [str(number) for number in range(500)]})
    target = write(tmp_path / "r", table, {"record_embedding": np.ones((500, 40), np.float32)}, units_of=2)
    searcher = Searcher.open(target)
    part = target / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:3000])
    with pytest.raises(StoreError, match=r"part-00001.parquet: cannot be read"):
        searcher.nearest(np.ones(40, np.float32), "record_embedding")


def test_a_zarr_column_that_is_called_like_the_marks_of_another_one_marks_nothing(tmp_path):
    table = pa.table(
        {"record_id": ["a", "b", "c"], "n": [7, None, 9], "n_null": [True, False, False], "a/b": [None, 1, 2]}
    )
    path = write(tmp_path / "r.zarr", table, {"v": np.eye(3, dtype=np.float32)}, units_of=1)
    searcher = Searcher.open(path)
    assert searcher.table(range(3)).to_pydict() == table.to_pydict()
    assert set(searcher.columns) == set(table.column_names)


@pytest.mark.parametrize("form", ["r", "r.hats"])
def test_embeddings_that_lost_or_gained_rows_are_refused(tmp_path, form):
    path = write(tmp_path / form, catalogue(300), {"v": vectors(300)})
    document = json.loads((path / "_MANIFEST.json").read_text())
    (path / "_MANIFEST.json").write_text(json.dumps({**document, "rows": 301}))
    with pytest.raises(StoreError, match="has 300 rows, and its manifest says 301: files are missing or added"):
        Searcher.open(path)
    if form == "r":
        (path / "part-00001.parquet").unlink()
        with pytest.raises(StoreError, match="has 200 rows"):
            Searcher.open(path)


@pytest.mark.parametrize("form", ["r", "r.parquet", "r.zarr"])
def test_a_text_that_is_unknown_is_no_empty_one_in_any_form(tmp_path, form):
    table = pa.table({"record_id": ["a", "b", "c"], "kind": pa.array(["x", None, ""]).dictionary_encode()})
    path = write(tmp_path / form, table, {"v": np.ones((3, 2), np.float32)}, units_of=1)
    searcher = Searcher.open(path)
    for condition, expected in (("kind is null", [1]), ("kind != 'x'", [2]), ("kind = ''", [2])):
        found = searcher.nearest(np.ones(2, np.float32), "v", allowed=Where.of(condition))
        assert [each.row for each in found.neighbours] == expected
