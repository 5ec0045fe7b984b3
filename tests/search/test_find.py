"""`search` by every kind of query, what it writes, and what it refuses."""

import csv
import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from astropy.table import Table

from polycli.__main__ import run as command_line
from polycli.errors import UserError
from polycli.requests import SearchRequest
from polycli.search.find import run
from polycli.search.kernels import NumpyKernel, TorchKernel
from polycli.search.searcher import Searcher
from tests.search.made import COUNT, WIDTH, catalogue, vectors, write

IDS = catalogue()["object_id"].to_pylist()


@pytest.fixture
def ask(embeddings):
    """The document that a search answers with, in a single Parquet file unless another form is named."""

    def asked(form="sky.parquet", **query):
        return run(SearchRequest(embeddings=embeddings(form), json=True, **query))

    return asked


def unit(found):
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def nearest(query, kind_seed=1, without=(), k=10):
    """Ids by falling cosine with a query, by numpy."""
    cosine = unit(vectors(seed=kind_seed).astype(np.float64)) @ (query / np.linalg.norm(query))
    order = np.lexsort((np.arange(COUNT), -cosine.astype(np.float32)))
    return [IDS[row] for row in order if row not in without][:k]


def ids(document):
    return [neighbour["id"] for neighbour in document["neighbours"]]


def test_an_id_finds_what_is_like_it_but_not_itself(ask):
    document = ask(id=IDS[11])
    assert ids(document) == nearest(vectors()[11].astype(np.float64), without=[11])
    assert document["query"] == {"id": IDS[11], "row": 11}
    assert (document["vector"], document["in"], document["measure"]) == ("image", "image", "cosine similarity")
    assert (document["exact"], document["recall"], document["compared"]) == (True, None, COUNT)
    assert document["neighbours"][0].keys() == {"id", "row", "similarity", *catalogue().column_names} - {"object_id"}


@pytest.mark.parametrize(("vector", "among", "seeds"), [("image", "spectrum", (1, 2)), ("spectrum", "image", (2, 1))])
def test_an_image_finds_spectra_and_a_spectrum_images(ask, vector, among, seeds):
    document = ask(id=IDS[11], vector=vector, among=among)
    query = vectors(seed=seeds[0])[11].astype(np.float64)
    assert ids(document) == nearest(query, kind_seed=seeds[1], without=[11])


def test_a_position_finds_the_object_there(ask):
    place = catalogue().slice(150, 1).to_pylist()[0]
    document = ask(position=f"{place['ra']},{place['dec']}")
    assert document["query"]["id"] == IDS[150]
    assert document["query"]["separation_arcsec"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="no object lies within 10 arcsec of 3, 4"):
        ask(position="3,4")


@pytest.mark.parametrize(
    ("radius", "found"), [("0.1deg", True), ("6arcmin", True), ("360", True), ("4arcmin", False), ("240", False)]
)
def test_a_radius_has_units_as_cones_have(embeddings, capsys, radius, found):
    place = catalogue().slice(600, 1).to_pylist()[0]
    asked = ["search", str(embeddings("sky.parquet")), "--position", f"{place['ra']},{place['dec'] + 0.09}"]
    status = command_line([*asked, "--radius", radius, "--json"])
    said = capsys.readouterr()
    if found:
        query = json.loads(said.out)["query"]
        assert (status, query["id"]) == (0, IDS[600])
        assert query["separation_arcsec"] == pytest.approx(324, abs=1e-3)
    else:
        assert status == 2
        assert "no object lies within 240 arcsec" in said.err
        assert "--radius 1arcmin or 0.1deg" in said.err


def test_a_radius_that_is_none_is_refused_and_usage_has_no_word_that_nobody_writes(embeddings, capsys):
    for radius, said in (("wide", "is no angle"), ("-1", "a radius is not negative")):
        asked = ["search", str(embeddings("sky.parquet")), "--position", "1,2", f"--radius={radius}"]
        assert command_line(asked) == 2
        assert said in capsys.readouterr().err
    command_line(["search", "x.parquet", "--help"])
    assert capsys.readouterr().out.startswith("Usage: polycli search [OPTIONS]")


def test_examples_are_the_mean_direction_less_half_of_the_unwanted_one(ask, tmp_path):
    like, unlike = [5, 8, 9], [20, 21]
    directions = unit(vectors().astype(np.float64))
    query = directions[like].mean(axis=0) - directions[unlike].mean(axis=0) / 2
    expected = nearest(query, without=[*like, *unlike])
    document = ask(like=tuple(IDS[row] for row in like), unlike=tuple(IDS[row] for row in unlike))
    assert ids(document) == expected
    file = tmp_path / "marks.csv"
    marks = [(IDS[row], "good") for row in like] + [(IDS[row], "bad") for row in unlike]
    file.write_text("object_id,mark\n" + "".join(f"{name},{mark}\n" for name, mark in marks))
    assert ids(ask(examples=file)) == expected
    with pytest.raises(UserError, match="is both wanted and unwanted"):
        ask(like=(IDS[3],), unlike=(IDS[3],))
    file.write_text(f"object_id,mark\n{IDS[3]},perhaps\n")
    with pytest.raises(UserError, match="is marked 'perhaps', and good or bad was expected"):
        ask(examples=file)


def test_a_row_of_another_table_is_known_by_its_id_or_its_position(ask, tmp_path):
    positions = Table({"RA": catalogue()["ra"].to_numpy()[:5], "DEC": catalogue()["dec"].to_numpy()[:5]})
    positions.write(tmp_path / "positions.fits")
    assert ask(row=f"{tmp_path}/positions.fits:3")["query"]["id"] == IDS[3]
    Table({"name": ["x", "y"], "object_id": IDS[7:9]}).write(tmp_path / "ids.csv")
    assert ask(row=f"{tmp_path}/ids.csv:1")["query"]["id"] == IDS[8]
    Table({"name": ["x", "y"]}).write(tmp_path / "names.csv")
    with pytest.raises(UserError, match="row 1 has neither object_id nor a position"):
        ask(row=f"{tmp_path}/names.csv:1")
    with pytest.raises(UserError, match="has 2 rows, counted from 0, and no row 2"):
        ask(row=f"{tmp_path}/names.csv:2")


def test_an_id_in_a_csv_keeps_its_zeros(tmp_path):
    table = pa.table({"object_id": ["7", "007"], "ra": [1.0, 2.0], "dec": [0.0, 0.0]})
    path = write(tmp_path / "r.parquet", table, {"v": np.eye(2, dtype=np.float32)}, units_of=1)
    (tmp_path / "c.csv").write_text("OBJECT_ID,ra,dec\n007,1,0\n,1.0,0\n")
    for line, found in ((0, "007"), (1, "7")):
        document = run(SearchRequest(embeddings=path, row=f"{tmp_path / 'c.csv'}:{line}", json=True))
        assert document["query"]["id"] == found


def test_a_first_line_of_examples_that_may_be_one_with_a_slip_is_told(ask, tmp_path, capsys):
    examples = tmp_path / "marks.csv"
    examples.write_text(f"{IDS[5]},godo\n{IDS[8]},good\n")
    assert ask(examples=examples)["query"]["like"] == [IDS[8]]
    assert f"the first line, {IDS[5]},godo, is taken for the names of columns" in capsys.readouterr().err


def test_a_row_of_other_embeddings_is_known_by_its_vector_if_their_model_is_the_same(ask, tmp_path):
    query = np.random.default_rng(5).standard_normal((1, WIDTH)).astype(np.float32)
    other = write(tmp_path / "o.parquet", pa.table({"object_id": ["new"]}), {"image_embedding": query}, units_of=1)
    assert ids(ask(row=f"{other}:0")) == nearest(query[0].astype(np.float64))
    about = {"provenance": {"model_hash": "another"}}
    other = write(
        tmp_path / "p.parquet", pa.table({"object_id": ["new"]}), {"image_embedding": query}, units_of=1, **about
    )
    with pytest.raises(UserError, match=r"is of the model another, and .* of m, so their vectors cannot be compared"):
        ask(row=f"{other}:0")


@pytest.mark.parametrize("kind", [None, "spectrum", "spectrum_embedding"])
def test_a_row_of_embeddings_of_the_other_kind_is_looked_for_across(ask, tmp_path, kind):
    query = np.random.default_rng(6).standard_normal((1, WIDTH)).astype(np.float32)
    other = write(tmp_path / "s.parquet", pa.table({"object_id": ["new"]}), {"spectrum_embedding": query}, units_of=1)
    document = ask(row=f"{other}:0", vector=kind, among="image")

    assert ids(document) == nearest(query[0].astype(np.float64))
    assert (document["query"]["kind"], document["vector"], document["in"]) == ("spectrum", "spectrum", "image")
    with pytest.raises(UserError, match=r"s\.parquet: has no vectors 'image', only spectrum"):
        ask(row=f"{other}:0", vector="image")


def test_filters_hold_together(ask):
    document = ask(
        id=IDS[150], cone="0,0,1deg", box="359.9,0.001,-1,1", where="redshift < 0.5 or redshift is null", k=500
    )
    table = catalogue().to_pylist()
    inside = {
        row["object_id"]
        for row in table[100:200]
        if (row["ra"] >= 359.9 or row["ra"] <= 0.001) and not row["redshift"] >= 0.5
    }
    assert set(ids(document)) == inside - {IDS[150]}
    assert document["filters"] == {
        "cone": "0,0,1deg",
        "box": "359.9,0.001,-1,1",
        "where": "redshift < 0.5 or redshift is null",
    }


def test_every_format_holds_the_same_neighbours(ask, embeddings, tmp_path):
    expected = ids(ask(id=IDS[11]))
    paths = {suffix: tmp_path / f"n.{suffix}" for suffix in ("json", "csv", "parquet", "vot", "html")}
    for path in paths.values():
        ask(id=IDS[11], output=path)
    assert ids(json.loads(paths["json"].read_text())) == expected
    with paths["csv"].open(newline="") as file:
        assert [line["object_id"] for line in csv.DictReader(file)] == expected
    table = parquet.read_table(paths["parquet"])
    assert table["object_id"].to_pylist() == expected
    assert table.schema.field("redshift").type == pa.float64()
    votable = Table.read(paths["vot"], format="votable")
    assert list(votable["object_id"]) == expected
    assert list(votable["class"]) == [value or "" for value in table["class"].to_pylist()]
    unknown = [np.isnan(value) for value in table["redshift"].to_pylist()]
    assert np.isnan(np.ma.filled(votable["redshift"], np.nan)).tolist() == unknown
    page = paths["html"].read_text()
    assert all(f"<h2>{name}</h2>" in page for name in expected)
    assert "http" not in page, "nothing refers to anything outside"
    for path in paths.values():
        with pytest.raises(UserError, match="exists already"):
            ask(id=IDS[11], output=path)
        before = path.read_bytes()
        ask(id=IDS[11], output=path, force=True)
        assert path.suffix == ".vot" or path.read_bytes() == before
    (tmp_path / "notes.csv").write_text("mine\n")
    with pytest.raises(UserError, match="is not replaced"):
        ask(id=IDS[11], output=tmp_path / "notes.csv", force=True)


def test_columns_that_are_called_like_ours_are_kept(tmp_path):
    table = pa.table({"record_id": ["=1+1", "b"], "similarity": ["high", "low"], "row": [7, 8]})
    path = write(tmp_path / "r.parquet", table, {"record_embedding": np.eye(2, dtype=np.float32)}, units_of=1)
    output = tmp_path / "n.csv"
    document = run(SearchRequest(embeddings=path, id="b", json=True, output=output))
    (found,) = document["neighbours"]
    assert (found["row"], found["catalogue_row"], found["catalogue_similarity"]) == (0, 7, "high")
    assert output.read_text().splitlines()[1].startswith("'=1+1,0,")


def test_columns_of_every_kind_come_out(tmp_path, capsys):
    table = pa.table(
        {
            "record_id": ["a", "b"],
            "seen": pa.array([0, 1], pa.timestamp("s")),
            "raw": [b"\x00", None],
            "kind": pa.array(["x", None]).dictionary_encode(),
            "good": [None, True],
            "count": pa.array([None, 3], pa.int8()),
        }
    )
    path = write(tmp_path / "r.parquet", table, {"v": np.eye(2, dtype=np.float16)}, units_of=1)
    for suffix in ("json", "csv", "parquet", "vot", "html"):
        run(SearchRequest(embeddings=path, id="b", output=tmp_path / f"n.{suffix}"))
    document = json.loads((tmp_path / "n.json").read_text())
    assert document["neighbours"][0] | {"similarity": 0} == {
        "id": "a",
        "row": 0,
        "similarity": 0,
        "seen": "1970-01-01 00:00:00",
        "raw": "b'\\x00'",
        "kind": "x",
        "good": None,
        "count": None,
    }
    found = Table.read(tmp_path / "n.vot", format="votable")
    assert list(found["kind"]) == ["x"]
    assert found["count"].mask.tolist() == [True]
    capsys.readouterr()
    assert command_line(["search", str(path), "--id", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neighbours"][0]["seen"] == "1970-01-01 00:00:01"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "there is nothing to look for"),
        ({"id": "x", "position": "1,2"}, "--id and --position are 2 things to look for"),
        ({"id": "nobody"}, "no object_id is 'nobody'"),
        ({"id": IDS[0], "vector": "radio"}, "no vectors 'radio', only image, spectrum"),
        ({"id": IDS[0], "where": "redshfit < 1"}, "no column 'redshfit'"),
        ({"id": IDS[0], "where": "z_spec < 1"}, "no column 'z_spec' .*did you mean redshift\\?"),
        ({"id": IDS[0], "where": "Z < 1"}, "no column 'Z' .*did you mean redshift\\?"),
        ({"cone": "1,2,3"}, "nothing to look for.*--position with --radius"),
        ({"id": IDS[0], "where": "redshift <"}, "character 11"),
        ({"id": IDS[0], "cone": "1,2"}, "expected RA,DEC,RADIUS"),
        ({"id": IDS[0], "cone": "1,91,3"}, "declination 91 is not between"),
        ({"id": IDS[0], "cone": "1,2,3parsec"}, "'3parsec' is no angle"),
        ({"id": IDS[0], "box": "1,2,3"}, "expected RA1,RA2,DEC1,DEC2"),
        ({"position": "1,2,3"}, "expected RA,DEC"),
        ({"row": "catalogue.csv"}, "expected FILE:N"),
        ({"row": "catalogue.csv:²"}, "expected FILE:N"),
        ({"unlike": (IDS[0],)}, "nothing to look for"),
        ({"id": IDS[0], "unlike": (IDS[1],)}, "--unlike goes with --like alone, and --id is given"),
        ({"id": IDS[0], "where": "1"}, "1 is a number, and a condition is expected"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(ask, query, said):
    with pytest.raises(UserError, match=said):
        ask(**query)


@pytest.mark.parametrize(("condition", "count"), [("true", 5), ("1 > 2", 0), ("null", 0), ("not (null = 1)", 0)])
def test_a_condition_without_columns_holds_for_every_row_or_for_none(ask, condition, count):
    assert len(ids(ask(id=IDS[0], where=condition, k=5))) == count


@pytest.mark.parametrize("kernel", [NumpyKernel(), TorchKernel(2, 1)], ids=["numpy", "torch"])
def test_vectors_that_are_not_finite_are_no_neighbours_and_cause_no_warning(tmp_path, monkeypatch, kernel):
    monkeypatch.setattr("polycli.search.scan.choose_kernel", lambda *_: kernel)
    vectors = np.array([[1, 0], [np.nan, 0], [np.inf, 0], [-np.inf, np.inf], [0, 0], [0, 1]], np.float32)
    path = write(tmp_path / "r.parquet", pa.table({"record_id": list("abcdef")}), {"v": vectors}, units_of=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = run(SearchRequest(embeddings=path, id="a", json=True))
    assert [(each["id"], each["similarity"]) for each in document["neighbours"]] == [("e", 0), ("f", 0)]


def test_positions_that_are_missing_are_said(tmp_path):
    path = write(
        tmp_path / "r.parquet", pa.table({"record_id": ["a", "b"]}), {"v": np.eye(2, dtype=np.float32)}, units_of=1
    )
    for query in ({"position": "1,2"}, {"id": "a", "cone": "1,2,3"}, {"id": "a", "box": "1,2,3,4"}):
        with pytest.raises(UserError, match="rows have no positions on the sky"):
            run(SearchRequest(embeddings=path, json=True, **query))


def test_positions_that_are_all_unknown_are_said(tmp_path):
    places = {name: np.full(2, np.nan) for name in ("ra", "dec")}
    table = pa.table({"record_id": ["a", "b"], **places})
    path = write(tmp_path / "r.parquet", table, {"v": np.eye(2, dtype=np.float32)}, units_of=1)
    with pytest.raises(UserError, match="no row has a position: all of ra and dec are unknown"):
        run(SearchRequest(embeddings=path, json=True, position="1,2"))


def test_a_file_needs_the_checkpoint_that_made_the_embeddings(ask, tmp_path):
    with pytest.raises(UserError, match="--checkpoint is missing"):
        ask(file=tmp_path / "coadd.fits")


def test_what_is_about_a_file_is_not_passed_over_where_there_is_none(ask, tmp_path):
    with pytest.raises(UserError, match="--checkpoint is about a file that is looked for, and none is given"):
        ask(id=IDS[11], checkpoint=tmp_path / "nowhere")
    with pytest.raises(UserError, match="--object is about a file"):
        ask(id=IDS[11], object="1")


def test_the_terminal_shows_a_table_and_how_it_was_found(embeddings, capsys):
    run(SearchRequest(embeddings=embeddings("sky.hats"), id=IDS[11], k=3))
    shown = capsys.readouterr()
    assert "cosine similarity of image, compared with all (700 rows)" in shown.err
    lines = shown.out.splitlines()
    assert lines[0].split()[:2] == ["id", "similarity"]
    assert "healpix" not in lines[0]
    assert [line.split()[0] for line in lines[2:]] == nearest(vectors()[11].astype(np.float64), without=[11], k=3)
    assert Searcher.open(embeddings("sky.hats")).rows == COUNT
