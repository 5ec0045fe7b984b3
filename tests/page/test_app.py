"""What the page's server answers at each of its addresses, and how it refuses what cannot be."""

import csv
import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from starlette.testclient import TestClient

from polycli import __main__ as entry
from polycli.page.app import create_app
from polycli.page.assets import load_assets
from polycli.page.library import Library
from polycli.page.serve import ServeRequest, open_library
from polycli.search.filters import Cone, Where
from polycli.search.searcher import Searcher
from tests.search.made import COUNT, catalogue, vectors, write


def found(client, **wanted):
    answer = client.post("/api/search", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status, *words):
    """One sentence in JSON, which says these words."""
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    message = answer.json()["error"]["message"]
    assert "\n" not in message
    assert "Traceback" not in message
    for word in words:
        assert word in f"{message} {answer.json()['error']['hint']}"
    return answer.json()["error"]


def test_the_page_loads_nothing_but_its_own_files(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = [part.partition('"')[0] for part in page.text.split("/static/")[1:]]
    assert {"page.css", "main.js", "icon.svg"} <= set(names)
    for name in (*names, *load_assets()):
        assert client.get(f"/static/{name}").status_code == 200
    for text in (page.text, *(asset.content.decode() for asset in load_assets().values())):
        # Links that a user may follow are no loads; the names of XML's vocabularies are no addresses.
        loads = text.replace("https://www.legacysurvey.org/viewer", "").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in loads
        assert "https:" not in loads
        assert "//cdn" not in loads
    assert "onclick=" not in page.text
    assert "style=" not in page.text
    assert "<script>" not in page.text


def test_files_of_the_page_are_sent_again_only_where_they_changed(client):
    first = client.get("/static/main.js")
    again = client.get("/static/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_about_says_what_there_is(client):
    about = client.get("/api/about").json()
    assert about["rows"] == COUNT
    assert list(about["kinds"]) == ["image", "spectrum"]
    kinds = {column["name"]: column["kind"] for column in about["columns"]}
    assert kinds["redshift"] == "number"
    assert kinds["class"] == "text"
    assert about["map"] == {"points": COUNT, "method": "pca", "kind": "image"}
    assert about["uploads"]["largest"] == 50_000
    ids = catalogue()["object_id"].to_pylist()
    assert len(about["examples"]) == 4
    assert all(each["id"] == ids[each["row"]] for each in about["examples"])


def test_neighbours_of_an_id_are_those_of_the_engine(client, library):
    row = 123
    name = library.searcher.ids([row])[0]
    expected = library.searcher.nearest(vectors()[row], "image_embedding", 7, without=[row])
    answer = found(client, id=name, k=7)
    assert [each["row"] for each in answer["neighbours"]] == [each.row for each in expected.neighbours]
    assert answer["neighbours"][0]["similarity"] == pytest.approx(expected.neighbours[0].similarity, abs=1e-6)
    assert answer["query"]["id"] == name
    assert answer["query"]["row"] == row
    assert (answer["vector"], answer["in"], answer["exact"]) == ("image", "image", True)
    assert row not in [each["row"] for each in answer["neighbours"]]


def test_an_image_is_looked_for_among_spectra(client, library):
    expected = library.searcher.nearest(vectors()[5], "spectrum_embedding", 4, without=[5])
    answer = found(client, row=5, vector="image", k=4, **{"in": "spectrum"})
    assert [each["row"] for each in answer["neighbours"]] == [each.row for each in expected.neighbours]
    assert (answer["vector"], answer["in"]) == ("image", "spectrum")


def test_a_position_finds_its_object_and_says_how_far_it_is(client):
    table = catalogue().to_pylist()
    ra, dec = table[300]["ra"], table[300]["dec"]
    answer = found(client, position=[ra, dec + 2 / 3600], k=3)
    assert answer["query"]["id"] == table[300]["object_id"]
    assert answer["query"]["separation_arcsec"] == pytest.approx(2, abs=1e-3)


def test_conditions_cones_and_marked_rows_filter_together(client, library):
    table = catalogue()
    among = list(range(0, COUNT, 3))
    cone = {"ra": 40.0, "dec": 10.0, "arcsec": 60 * 3600}
    answer = found(client, row=0, k=500, where="redshift < 0.5 and class == 'spiral'", cone=cone, among=among)
    assert answer["neighbours"]
    inside = Cone(40, 10, 60).separation(table) <= 60
    passes = Where.of("redshift < 0.5 and class == 'spiral'").condition.rows(
        {name: table[name].combine_chunks() for name in ("redshift", "class")}
    )
    expected = set(np.flatnonzero(inside & np.asarray(passes)).tolist()) & set(among) - {0}
    assert {each["row"] for each in answer["neighbours"]} == expected


def test_marked_rows_move_the_query_and_are_not_found_themselves(client, library):
    def unit(rows):
        some = vectors()[rows].astype(float)
        return some / np.linalg.norm(some, axis=1, keepdims=True)

    good, bad = [10, 11], [20]
    answer = found(client, row=3, good=good, bad=bad, k=5)
    # Rocchio: the mean of what is wanted, less half of what is not.
    query = unit([3, *good]).mean(axis=0) - 0.5 * unit(bad).mean(axis=0)
    expected = library.searcher.nearest(query.astype(np.float32), "image_embedding", 5, without=[3, *good, *bad])
    assert [each["row"] for each in answer["neighbours"]] == [each.row for each in expected.neighbours]
    assert (answer["query"]["good"], answer["query"]["bad"]) == (2, 1)
    alone = found(client, good=good, k=5)
    assert "id" not in alone["query"]
    assert not {*good} & {each["row"] for each in alone["neighbours"]}


def test_rows_have_all_columns_and_unknown_values_are_null(client):
    table = catalogue().to_pylist()
    rows = client.post("/api/rows", json={"rows": [7, 1]}).json()["rows"]
    assert [each["id"] for each in rows] == [table[7]["object_id"], table[1]["object_id"]]
    assert rows[0]["columns"]["redshift"] is None
    assert rows[1]["columns"]["redshift"] == table[1]["redshift"]
    # Pixels at order 29 may have more digits than JavaScript's numbers.
    assert str(rows[1]["columns"]["healpix29"]) == str(table[1]["healpix29"])


def test_images_are_small_pngs(client, library):
    row = next(row for row in range(COUNT) if library.searcher.ids([row])[0] == "J00005")
    answer = client.get(f"/api/image/{row}?size=4")
    picture = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "image/png"
    assert picture.size == (3, 4)
    assert picture.getpixel((0, 0)) == (5, 5, 5)


def test_curves_are_shortened_and_a_row_without_one_is_null(client, library):
    ids = library.searcher.ids(range(COUNT))
    with_curve, without = ids.index("J00002"), ids.index("J00000")
    curves = client.get(f"/api/curves?rows={with_curve},{without}").json()
    assert curves[str(without)] is None
    curve = curves[str(with_curve)]
    assert len(curve["x"]) <= 400
    # Means of three, as 1,000 points become at most 400.
    assert curve["x"][:2] == [1.0, 4.0]
    assert curve["y"][:2] == [2.0, 8.0]


def test_the_map_is_binary_and_coloured_by_numbers(client, library):
    points = np.frombuffer(client.get("/api/map").content, "<f4").reshape(-1, 2)
    assert np.array_equal(points, library.projection.points)
    redshift = np.frombuffer(client.get("/api/map/redshift").content, "<f4")
    np.testing.assert_allclose(redshift, catalogue()["redshift"].to_numpy(), rtol=1e-6)
    refused(client.get("/api/map/class"), 400, "class", "numbers were expected")


def test_a_list_is_exported_with_all_columns_and_marks(client):
    rows = [{"row": 4, "similarity": 0.5, "mark": "good"}, {"row": 2}]
    answer = client.post("/api/export", json={"format": "csv", "rows": rows})
    assert answer.headers["content-disposition"] == 'attachment; filename="survey-neighbours.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    table = catalogue().to_pylist()
    assert [line["object_id"] for line in lines] == [table[4]["object_id"], table[2]["object_id"]]
    assert lines[0]["mark"] == "good"
    assert float(lines[0]["similarity"]) == 0.5
    assert lines[0]["healpix29"] == str(table[4]["healpix29"])
    document = json.loads(client.post("/api/export", json={"format": "json", "rows": rows}).text)
    assert document[1]["object_id"] == table[2]["object_id"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"id": "J0000"}, ["'J0000'", "the nearest are", "J0000"]),
        ({"row": COUNT}, [f"no row {COUNT}"]),
        ({"row": -1}, ["row"]),
        ({"id": "a", "row": 1}, ["id and row"]),
        ({}, ["nothing to look for"]),
        ({"bad": [1]}, ["wanted"]),
        ({"row": 1, "vector": "sound"}, ["sound", "image, spectrum"]),
        ({"row": 1, "where": "redshif < 1"}, ["redshif", "redshift"]),
        ({"row": 1, "where": "redshift <"}, ["character 11"]),
        ({"row": 1, "where": "__import__('os').system('x')"}, []),
        ({"row": 1, "cone": {"ra": 1, "dec": 91, "arcsec": 1}}, ["dec"]),
        ({"row": 1, "k": 10**9}, ["k"]),
        ({"row": 1, "colour": "red"}, ["colour"]),
        ({"upload": "nobody"}, ["no longer known"]),
        ({"row": 1, "among": [10**30]}, []),
    ],
)
def test_a_search_that_cannot_be_is_answered_with_one_sentence(client, wanted, words):
    refused(client.post("/api/search", json=wanted), 400, *words)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b'{"row": NaN}', b"[" * 10_000])
def test_what_is_no_request_is_answered_with_one_sentence(client, body):
    refused(client.post("/api/search", content=body, headers={"content-type": "application/json"}), 400)


def test_other_addresses_methods_and_types_are_refused(client):
    refused(client.get("/api/nothing"), 404, "/api/nothing")
    refused(client.get("/api/search"), 405, "GET")
    refused(client.post("/api/search", content="row=1", headers={"content-type": "text/plain"}), 415)
    refused(client.get("/api/image/99999"), 400, "no row 99999")
    refused(client.get("/api/curves?rows=a"), 400, "'a'")
    refused(client.get("/api/image/1?size=100000"), 400, "size")


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fpyproject.toml",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/..\\..\\x",
        "/../../../../etc/passwd",
        "/api/map/..%2f..%2fx",
    ],
)
def test_no_path_leads_out_of_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert b"root:" not in answer.content
    assert b"[project]" not in answer.content


def test_embeddings_without_pictures_map_and_checkpoint_are_searched_too(survey):
    client = TestClient(
        create_app(Library(Searcher.open(survey))), base_url="http://localhost", raise_server_exceptions=False
    )
    about = client.get("/api/about").json()
    assert (about["images"], about["curves"], about["map"], about["uploads"]) == (False, False, None, None)
    assert len(found(client, row=1)["neighbours"]) == 24
    refused(client.get("/api/image/1"), 404, "no image")
    refused(client.get("/api/map"), 404, "polycli search map")
    refused(client.post("/api/upload", files={"file": ("a.fits", b"SIMPLE  =")}), 404, "--checkpoint")


def test_windows_of_one_trajectory_are_asked_for_by_their_rows(tmp_path):
    table = pa.table({"trajectory": ["a", "a", "b"], "time": [0.0, 1.0, 0.0]})
    path = write(tmp_path / "windows.parquet", table, {"pooled_embedding": np.eye(3, dtype=np.float32)}, units_of=1)
    client = TestClient(create_app(Library(Searcher.open(path))), base_url="http://localhost")
    error = refused(client.post("/api/search", json={"id": "a"}), 400, "'a' has 2 rows: 0, 1")
    assert error["hint"] == "ask for one of them by its number: row N"
    assert found(client, row=1)["query"]["columns"]["time"] == 1.0


def test_an_index_answers_with_its_recall_and_filters_are_exact(survey, tmp_path):
    path = shutil.copy(survey, tmp_path / "survey.parquet")
    assert entry.run(["search", "build", str(path)]) == 0
    library = open_library(ServeRequest(embeddings=path, index=True))
    client = TestClient(create_app(library), base_url="http://localhost")
    answer = found(client, row=3)
    assert answer["exact"] is False
    assert 0.9 <= answer["recall"] <= 1
    assert found(client, row=3, where="redshift < 0.5")["exact"] is True


def test_a_failure_of_the_server_is_one_sentence_too(library, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("the disk\nis gone")

    monkeypatch.setattr("polycli.page.app._image", broken)
    client = TestClient(create_app(library), base_url="http://localhost", raise_server_exceptions=False)
    refused(client.get("/api/image/1"), 500, "RuntimeError: the disk")
