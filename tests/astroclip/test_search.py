"""`search` in embeddings of objects: files that are in no store find their object, and retrieval is what eval says."""

import json

import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip import embed, open_objects
from polycli.astroclip import eval as evaluation
from polycli.errors import CheckpointError, UserError
from polycli.requests import EmbedRequest, EvalRequest, SearchRequest
from polycli.search.find import run
from polycli.search.searcher import Searcher


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory, tiny_model, mock_store):
    path = tmp_path_factory.mktemp("search") / "mock.hats"
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(mock_store,), output=path))
    return path


@pytest.fixture(scope="module")
def coadd(tmp_path_factory, survey_files, mock_store):
    """A coadd of two spectra of the store under other ids, as DESI writes it."""
    store = open_objects(mock_store)
    flux, ivar, _ = store.read_spectra([4, 9])
    path = tmp_path_factory.mktemp("coadds") / "coadd.fits"
    survey_files.coadd(path, ids=[1, 2])
    with fits.open(path) as file:
        for camera, (first, pixels) in survey_files.cameras.items():
            start = round((first - store.wavelength[0]) / 0.8)
            file[f"{camera}_FLUX"].data = flux[:, start : start + pixels]
            file[f"{camera}_IVAR"].data = np.maximum(ivar[:, start : start + pixels], 1e-3)
        file.writeto(path, overwrite=True)
    return path


def test_a_spectrum_in_a_coadd_that_is_in_no_store_finds_its_galaxy(embeddings, tiny_model, mock_store, coadd):
    ids = open_objects(mock_store).ids([4, 9]).tolist()
    for name, expected in zip("12", ids, strict=True):
        wanted = SearchRequest(
            embeddings=embeddings, file=coadd, vector="spectrum", object=name, checkpoint=tiny_model, k=3, json=True
        )
        document = run(wanted)
        assert document["neighbours"][0]["id"] == expected
        assert document["neighbours"][0]["similarity"] > 0.99
        assert document["query"] == {"file": str(coadd), "object": name, "kind": "spectrum"}


def test_a_spectrum_is_compared_with_images_where_that_is_asked_for(embeddings, tiny_model, mock_store, coadd):
    searcher = Searcher.open(embeddings)
    known = searcher.vectors(range(searcher.rows), "image_embedding").astype(np.float64)
    query = searcher.vectors([searcher.row_of(open_objects(mock_store).ids([4])[0])], "spectrum_embedding")[0]
    cosine = known @ query / np.linalg.norm(known, axis=1)
    found = run(
        SearchRequest(embeddings=embeddings, file=coadd, object="1", among="image", checkpoint=tiny_model, json=True)
    )
    assert (found["vector"], found["in"]) == ("spectrum", "image")
    assert found["neighbours"][0]["row"] == cosine.argmax()


def test_a_file_of_several_objects_asks_which(embeddings, tiny_model, coadd):
    with pytest.raises(UserError, match="holds 2 objects, and one is looked for: 1, 2") as refusal:
        run(SearchRequest(embeddings=embeddings, file=coadd, checkpoint=tiny_model, json=True))
    assert refusal.value.hint == "--object 1"
    with pytest.raises(UserError, match="holds no object '3', but 1, 2"):
        run(SearchRequest(embeddings=embeddings, file=coadd, object="3", checkpoint=tiny_model, json=True))
    with pytest.raises(UserError, match="has no image, only spectrum"):
        run(
            SearchRequest(
                embeddings=embeddings, file=coadd, vector="image", object="1", checkpoint=tiny_model, json=True
            )
        )


def test_an_image_in_an_npz_file_finds_its_galaxy(embeddings, tiny_model, mock_store, tmp_path):
    store = open_objects(mock_store)
    np.savez(tmp_path / "one.npz", image=store.read_images([7]), object_id=[1])
    wanted = SearchRequest(
        embeddings=embeddings, file=tmp_path / "one.npz", vector="image", checkpoint=tiny_model, json=True
    )
    assert run(wanted)["neighbours"][0]["id"] == store.ids([7])[0]


def test_a_fits_cutout_finds_its_galaxy(embeddings, tiny_model, mock_store, tmp_path):
    store = open_objects(mock_store)
    cutout = fits.PrimaryHDU(store.read_images([7])[0])
    cutout.header["BANDS"] = "".join(store.bands)
    cutout.writeto(tmp_path / "galaxy.fits")
    wanted = SearchRequest(
        embeddings=embeddings, file=tmp_path / "galaxy.fits", vector="image", checkpoint=tiny_model, json=True
    )
    found = run(wanted)
    assert found["neighbours"][0]["id"] == store.ids([7])[0]
    assert found["neighbours"][0]["similarity"] > 0.999


def test_a_checkpoint_of_another_model_is_refused(embeddings, spectrum_model, coadd):
    with pytest.raises(CheckpointError, match="is another model than that of"):
        run(SearchRequest(embeddings=embeddings, file=coadd, object="1", checkpoint=spectrum_model, json=True))


def test_a_gallery_shows_the_image_and_the_spectrum_of_every_neighbour(embeddings, mock_store, tmp_path):
    output = tmp_path / "gallery.html"
    name = str(open_objects(mock_store).ids([3])[0])
    document = run(SearchRequest(embeddings=embeddings, id=name, k=4, output=output, data=(mock_store,), json=True))
    page = output.read_text()
    assert page.count("data:image/png;base64,") == 4
    assert page.count("<svg") == 4
    assert all(f"<h2>{found['id']}</h2>" in page for found in document["neighbours"])
    with pytest.raises(UserError, match="--data has the pictures of a gallery, and none is asked for"):
        run(SearchRequest(embeddings=embeddings, id=name, data=(mock_store,), json=True))


def test_retrieval_by_search_is_what_eval_says(tmp_path, prepare, tiny_model):
    store, output, split = tmp_path / "s.zarr", tmp_path / "e.parquet", "test"
    prepare("mock", store, "mock.objects=60", "mock.size=48", "split.test=0.6")
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(store,), output=output, split=split))
    evaluation.run(
        EvalRequest(
            checkpoint=tiny_model,
            data=(store,),
            split=split,
            output=tmp_path / "scores",
            overrides=("report=false", "bootstrap_samples=10"),
        )
    )
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["datasets"]["s"]["retrieval"]
    searcher = Searcher.open(output)
    rows = np.arange(searcher.rows)
    for one, other in (("image", "spectrum"), ("spectrum", "image")):
        queries = searcher.vectors(rows, searcher.vector_column(one))
        found = searcher.nearest_of_many(queries, searcher.vector_column(other), 10).rows
        recall = float((found == rows[:, None]).any(axis=1).mean())
        assert 0 < recall < 1
        assert recall == scores[f"{one}_to_{other}"]["recall_at"]["10"]["recall"]
