"""`search` in embeddings of objects: files that are in no store find their object, and retrieval is what eval says."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from polycli.__main__ import run as command_line
from polycli.astroclip import embed, open_objects, pretrain
from polycli.astroclip import eval as evaluation
from polycli.astroclip.data.pictures import ObjectPictures
from polycli.astroclip.recipe.model import ImageSection, SpectrumSection
from polycli.errors import CheckpointError, SourceError, UserError
from polycli.requests import EmbedRequest, EvalRequest, SearchRequest, TrainRequest
from polycli.search.encode import FileEncoder
from polycli.search.find import run
from polycli.search.searcher import Searcher
from polycli.store.embeddings.opened import open_embeddings
from polycli.store.reader import open_store


@pytest.fixture(scope="module")
def sees_noise(make_model):
    """A model whose spectrum encoder sees inverse variances."""
    return make_model("sees-noise", spectrum=SpectrumSection(embed_dim=12, depth=1, num_heads=2, inputs=["ivar"]))


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory, tiny_model, mock_store):
    path = tmp_path_factory.mktemp("search") / "mock.hats"
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(mock_store,), output=path))
    return path


@pytest.fixture(scope="module")
def coadd(tmp_path_factory, survey_files, mock_store):
    """A coadd of two spectra of the store under other ids, as DESI writes it."""
    path = tmp_path_factory.mktemp("coadds") / "coadd.fits"
    written_as_desi_does(survey_files, path, open_objects(mock_store), [4, 9])
    return path


def written_as_desi_does(survey_files, path, store, rows):
    """Write spectra of a store into a coadd, under ids from 1; cameras that overlap share the inverse variance."""
    flux, ivar, _ = store.read_spectra(rows)
    survey_files.coadd(path, ids=range(1, len(rows) + 1))
    begin = {name: round((first - store.wavelength[0]) / 0.8) for name, (first, _) in survey_files.cameras.items()}
    pieces = {name: slice(begin[name], begin[name] + pixels) for name, (_, pixels) in survey_files.cameras.items()}
    cameras = np.zeros(len(store.wavelength), np.float32)
    for piece in pieces.values():
        cameras[piece] += 1
    with fits.open(path) as file:
        for camera, piece in pieces.items():
            file[f"{camera}_FLUX"].data = flux[:, piece]
            file[f"{camera}_IVAR"].data = (ivar / cameras)[:, piece]
        file.writeto(path, overwrite=True)


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


RECIPE = """
family: astroclip
verb: pretrain
stage: align
model: {heads: {embed_dim: 16, num_heads: 2, image_tokens: all, image_residual: true}}
align: {freeze: []}
augmentation: {flip: 0.0, rotation: none, crop: centre, blur: [0.0], noise: [0.0]}
data: {validation_objects: 4, workers: 1}
optim: {learning_rate: 1.0e-3}
train: {steps: 100, global_batch_size: 16, micro_batch_size: 16, seed: 5, validate_every: 100, checkpoint_every: 100}
"""


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, make_model, mock_store):
    """The run of an alignment that has learnt the training objects of the store by heart, and their embeddings."""
    folder = tmp_path_factory.mktemp("aligned")
    (folder / "align.yaml").write_text(RECIPE, encoding="utf-8")
    image = ImageSection(size=48, embed_dim=24, depth=1, num_heads=2, layer_scale=0.5)
    spectrum = SpectrumSection(embed_dim=24, depth=1, num_heads=2, section_length=160, section_step=120)
    begin = {
        "image": make_model("of-images", image=image, spectrum=None, heads=None),
        "spectrum": make_model("of-spectra", image=None, spectrum=spectrum, heads=None),
    }
    pretrain.run(
        TrainRequest(
            recipe=str(folder / "align.yaml"),
            data=(mock_store,),
            output=folder / "run",
            overrides=tuple(f"init.{name}={path}" for name, path in begin.items()),
        )
    )
    path = folder / "galaxies.parquet"
    embed.run(EmbedRequest(checkpoint=folder / "run", data=(mock_store,), output=path, split="train"))
    return folder / "run", path


def test_a_trained_model_finds_the_image_of_a_spectrum_by_one_line(aligned, mock_store, survey_files, tmp_path, capfd):
    """Of objects that it was trained on, from a coadd under other ids: chance is one of sixteen."""
    run_path, galaxies = aligned
    store = open_objects(mock_store)
    known = open_embeddings(galaxies).partitions[0].read(["object_id"])["object_id"].to_pylist()
    places = [store.ids(np.arange(24)).tolist().index(name) for name in known]
    written_as_desi_does(survey_files, tmp_path / "coadd.fits", store, places)
    line = ["search", galaxies, "--spectrum", tmp_path / "coadd.fits", "--in", "image", "--checkpoint", run_path]
    capfd.readouterr()
    assert command_line([*map(str, line), "--object", "3", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["neighbours"][0]["id"] == known[2]
    searcher = Searcher.open(galaxies)
    queries = np.stack(
        [each.vectors["spectrum"] for each in FileEncoder(searcher, run_path).objects(tmp_path / "coadd.fits")]
    )
    found = searcher.nearest_of_many(queries, "image_embedding", 10).rows
    assert found[2].tolist() == [each["row"] for each in document["neighbours"]]
    assert np.mean(found[:, 0] == np.arange(16)) > 0.8


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
    shown = FileEncoder(Searcher.open(embeddings), tiny_model, with_pictures=True).object_of(tmp_path / "galaxy.fits")
    assert np.array_equal(shown.image, ObjectPictures(open_store(mock_store, family="astroclip")).image(7))
    assert shown.curve is None


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


def test_retrieval_by_search_is_what_eval_says(tmp_path, prepare, sees_noise, survey_files):
    """Of vectors of the store, and of the same spectra in a coadd that is in no store."""
    store, output, split = tmp_path / "s.zarr", tmp_path / "e.parquet", "test"
    prepare("mock", store, "mock.objects=60", "mock.size=48", "split.test=0.6")
    embed.run(EmbedRequest(checkpoint=sees_noise, data=(store,), output=output, split=split))
    evaluation.run(
        EvalRequest(
            checkpoint=sees_noise,
            data=(store,),
            split=split,
            output=tmp_path / "scores",
            overrides=("report=false", "bootstrap_samples=10"),
        )
    )
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["datasets"]["s"]["retrieval"]
    searcher, objects = Searcher.open(output), open_objects(store)
    rows = np.arange(searcher.rows)
    places = [objects.ids(np.arange(60)).tolist().index(name) for name in searcher.ids(rows)]
    written_as_desi_does(survey_files, tmp_path / "coadd.fits", objects, places)
    of_file = FileEncoder(searcher, sees_noise).objects(tmp_path / "coadd.fits")
    vectors = {kind: searcher.vectors(rows, searcher.vector_column(kind)) for kind in ("image", "spectrum")}
    vectors["file"] = np.stack([each.vectors["spectrum"] for each in of_file])
    # Means over cameras are rounded.
    np.testing.assert_allclose(vectors["file"], vectors["spectrum"], atol=1e-5 * np.abs(vectors["spectrum"]).max())
    for one, other in (("image", "spectrum"), ("spectrum", "image"), ("file", "image")):
        found = searcher.nearest_of_many(vectors[one], searcher.vector_column(other), 10).rows
        recall = float((found == rows[:, None]).any(axis=1).mean())
        assert 0 < recall < 1
        said = scores["image_to_spectrum" if one == "image" else "spectrum_to_image"]
        assert recall == said["recall_at"]["10"]["recall"]


def test_a_file_that_needs_a_setting_is_refused_with_the_way_around_it(tmp_path, embeddings, tiny_model):
    """`search` takes no settings of `prepare`, so a hint to `--set` one would lead nowhere."""
    wave = np.linspace(3600, 9824, 7781)
    table = Table({"WAVE": wave, "FLUX": np.ones(wave.size), "IVAR": np.ones(wave.size)})
    table.write(tmp_path / "none.fits")
    searcher = Searcher.open(embeddings)

    with pytest.raises(SourceError, match="the unit of flux is not said") as caught:
        FileEncoder(searcher, tiny_model).object_of(tmp_path / "none.fits")
    assert "--set spectra.flux_unit=1e-17, with polycli prepare astroclip --input" in str(caught.value.hint)
    assert "--row QUERY:0" in str(caught.value.hint)


def test_a_file_is_embedded_as_its_store_is(tmp_path, embeddings, prepare, tiny_model, coadd):
    store, output = tmp_path / "s.zarr", tmp_path / "e.parquet"
    prepare("desi", store, inputs=[coadd])
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(store,), output=output))
    prepared = Searcher.open(output)
    of_file = {
        int(each.id): each.vectors["spectrum"]
        for each in FileEncoder(Searcher.open(embeddings), tiny_model).objects(coadd)
    }
    assert sorted(of_file) == [1, 2]
    for row, name in enumerate(prepared.ids(range(2))):
        assert np.array_equal(of_file[name], prepared.vectors([row], "spectrum_embedding")[0])
