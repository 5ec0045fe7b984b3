"""Files that are dropped: bounded, known by their first bytes, written nowhere but into a temporary folder."""

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from polycli.errors import SourceError, UserError
from polycli.page.app import create_app
from polycli.page.library import Library
from polycli.page.uploads import Uploads, shown_name
from polycli.search.searcher import Searcher
from tests.page.conftest import ADDRESS, LARGEST, MadeUpReader
from tests.search.made import vectors


def dropped(client, name, content):
    return client.post("/api/upload", files={"file": (name, content)})


def sentence(answer, status):
    assert answer.status_code == status
    return answer.json()["error"]["message"]


def test_a_file_is_embedded_and_its_neighbours_are_found(client, library):
    upload = dropped(client, "galaxy.fits", b"SIMPLE  =                    T 33").json()
    assert (upload["name"], upload["kinds"], upload["object"]) == ("galaxy.fits", ["spectrum"], "4711")
    answer = client.post("/api/search", json={"upload": upload["upload"], "vector": "spectrum", "k": 3}).json()
    expected = library.searcher.nearest(vectors(seed=2)[33], "spectrum_embedding", 3)
    assert [each["row"] for each in answer["neighbours"]] == [each.row for each in expected.neighbours]
    assert answer["neighbours"][0]["row"] == 33
    wrong = client.post("/api/search", json={"upload": upload["upload"], "vector": "image"})
    assert "has no image, only spectrum" in sentence(wrong, 400)


def test_what_was_dropped_is_shown(client):
    upload = dropped(client, "galaxy.fits", b"SIMPLE  =                    T 33").json()
    assert (upload["image"], upload["curve"]) == (True, True)
    address = f"/api/upload/{upload['upload']}"
    answer = client.get(f"{address}/image", params={"size": 16})
    assert answer.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    assert (pixels == 33).all()
    assert client.get(f"{address}/curve").json()["y"] == [1.0, None, 33.0]
    found = client.post("/api/search", json={"upload": upload["upload"], "vector": "spectrum"}).json()
    assert (found["query"]["image"], found["query"]["curve"]) == (True, True)
    assert "no longer known" in sentence(client.get("/api/upload/other/image"), 400)
    assert "size is 'x'" in sentence(client.get(f"{address}/image", params={"size": "x"}), 400)


def test_what_has_no_pictures_has_none_to_show(survey):
    class Blind(MadeUpReader):
        def object_of(self, path, wanted=None):
            return replace(super().object_of(path), image=None, curve=None)

    searcher = Searcher.open(survey)
    library = Library(searcher, uploads=Uploads(Blind(searcher)))
    client = TestClient(create_app(library), base_url=ADDRESS)
    upload = dropped(client, "galaxy.fits", b"SIMPLE  = 3").json()
    assert (upload["image"], upload["curve"]) == (False, False)
    for name in ("image", "curve"):
        answer = client.get(f"/api/upload/{upload['upload']}/{name}")
        assert f"galaxy.fits has no {name} to show" in sentence(answer, 404)


def test_a_file_lies_in_a_temporary_folder_under_a_name_of_ours_and_is_gone(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reader = MadeUpReader(Searcher.open(survey))
    uploads = Uploads(reader)
    uploads.add("../../../outside.fits", b"SIMPLE  = 3")
    with pytest.raises(SourceError, match=r"outside\.fits: holds 2 objects"):
        uploads.add("/etc/outside.fits", b"SIMPLE  = x")
    assert [path.name for path in reader.seen] == ["file.fits", "file.fits"]
    assert all(path.is_relative_to(tmp_path) for path in reader.seen)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("galaxy.exe", b"MZ", "of another type"),
        ("galaxy", b"SIMPLE  =", "of another type"),
        ("galaxy.fits", b"\x7fELF", "does not begin as a .fits file does"),
        ("galaxy.fits.gz", b"SIMPLE  =", "does not begin"),
        ("table.csv", b"a,b\n\0", "does not begin"),
        ("galaxy.fits", b"", "does not begin"),
        ("model.pt", b"PK\x03\x04", "of another type"),
    ],
)
def test_files_of_other_types_are_refused(client, name, content, words):
    assert words in sentence(dropped(client, name, content), 400)


def test_a_file_that_is_too_large_is_refused(client):
    content = b"SIMPLE  = " + b"1" * (LARGEST + 70_000)
    assert "larger than" in sentence(dropped(client, "large.fits", content), 413)


def test_what_holds_no_file_is_refused(client):
    assert "multipart" in sentence(client.post("/api/upload", content=b"x", headers={"content-type": "image/png"}), 415)
    assert "no file" in sentence(client.post("/api/upload", files={"other": ("a.fits", b"SIMPLE  =")}), 400)
    two = [("file", ("a.fits", b"SIMPLE  = 1")), ("file", ("b.fits", b"SIMPLE  = 2"))]
    sentence(client.post("/api/upload", files=two), 400)
    broken = client.post("/api/upload", content=b"nothing", headers={"content-type": "multipart/form-data"})
    sentence(broken, 400)


def test_the_latest_files_alone_are_remembered(survey):
    uploads = Uploads(MadeUpReader(Searcher.open(survey)))
    tokens = [uploads.add("a.fits", b"SIMPLE  = 1")[0] for _ in range(40)]
    assert len(set(tokens)) == 40
    assert uploads.get(tokens[-1]).name == "a.fits"
    with pytest.raises(UserError, match="no longer known"):
        uploads.get(tokens[0])


@pytest.mark.parametrize("name", ["a\x1b[31m.fits", "x" * 500 + ".fits", "C:\\a\\b.fits", "..", ""])
def test_names_are_shown_short_and_clean(name):
    shown = shown_name(name)
    assert 0 < len(shown) <= 80
    assert "\x1b" not in shown
    assert "/" not in shown
    assert "\\" not in Path(shown).name.replace("\\x1b", "")
