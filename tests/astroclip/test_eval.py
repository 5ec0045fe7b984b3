"""`polycli eval astroclip` on a tiny store and tiny untrained models."""

import base64
import dataclasses
import json
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib import image
from pyarrow import parquet
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from polycli.__main__ import run as command_line
from polycli.astroclip import embed, load_model, open_objects, predict
from polycli.astroclip import eval as evaluation
from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.unaligned import unaligned_encoders
from polycli.errors import CheckpointError, StoreError
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest

QUICK = ("bootstrap_samples=50", "neighbours=5", "properties=[redshift, axis_ratio]", "labels=[]")


def evaluate(model, store, output, *overrides, **options):
    request = EvalRequest(
        checkpoint=model, data=(store,), output=output, overrides=(*QUICK, *overrides), json=True, **options
    )
    return evaluation.run(request)


def test_scores_are_those_of_scikit_learn_on_the_embeddings_that_embed_writes(tmp_path, tiny_model, mock_store):
    scores = evaluate(tiny_model, mock_store, tmp_path / "out", "report=false")
    found = scores["datasets"]["mock"]
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(mock_store,), output=tmp_path / "e.zarr"))
    import zarr

    group = zarr.open_group(tmp_path / "e.zarr", mode="r")
    split, redshift = group["split"][:], group["redshift"][:]
    train, test = split == "train", split == "test"
    assert (found["objects"], found["reference_objects"]) == (test.sum(), train.sum())
    for kind in ("image", "spectrum"):
        vectors = group[f"{kind}_embedding"][:].astype(np.float64)
        scaler = StandardScaler().fit(vectors[train])
        regressor = KNeighborsRegressor(5, weights="distance").fit(scaler.transform(vectors[train]), redshift[train])
        expected = r2_score(redshift[test], regressor.predict(scaler.transform(vectors[test])))
        assert found["properties"]["redshift"][kind]["knn"]["r2"] == pytest.approx(expected, abs=1e-3)
        predicted = regressor.predict(scaler.transform(vectors[test]))
        bias = ((predicted - redshift[test]) / (1 + redshift[test])).mean()
        assert found["redshift"][kind]["knn"]["bias"] == pytest.approx(bias, abs=1e-4)
    image_, spectrum = group["image_embedding"][:][test], group["spectrum_embedding"][:][test]
    image_, spectrum = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (image_, spectrum))
    similarity = image_ @ spectrum.T
    rank = 1 + (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    assert found["retrieval"]["image_to_spectrum"]["median_rank"] == pytest.approx(np.median(rank))
    # Of a simulation, what the true properties would reach stands beside.
    assert found["retrieval"]["shared_truth"]["candidates"] == test.sum()
    assert found["retrieval"]["shared_truth"]["median_rank"] < (test.sum() + 1) / 2
    assert found["geometry"]["alignment"] == pytest.approx(((image_ - spectrum) ** 2).sum(axis=1).mean(), rel=1e-4)
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores


def test_encoders_before_their_alignment_stand_beside(tmp_path, tiny_model, image_model, mock_store):
    plain = evaluate(tiny_model, mock_store, tmp_path / "plain", "report=false")
    beside = evaluate(tiny_model, mock_store, tmp_path / "beside", "report=false", f"unaligned.image={image_model}")
    scores = beside["datasets"]["mock"]["properties"]["redshift"]
    assert "image_unaligned" not in plain["datasets"]["mock"]["properties"]["redshift"]
    alone = evaluate(image_model, mock_store, tmp_path / "alone", "report=false")
    # The backbone's features of an image model without a head are its vectors.
    assert scores["image_unaligned"]["knn"] == alone["datasets"]["mock"]["properties"]["redshift"]["image"]["knn"]
    assert "image_to_spectrum" not in alone["datasets"]["mock"]["retrieval"]


def test_the_encoders_that_a_run_began_from_are_found_by_its_recipe(tmp_path, tiny_model, image_model, capsys):
    recipe = {"init": {"image": str(image_model), "spectrum": str(tmp_path / "gone")}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    loaded = dataclasses.replace(load_checkpoint(tiny_model, quiet=True), run=tmp_path)
    found = unaligned_encoders(loaded, EvalSettings(family="astroclip", verb="eval"))
    assert {name: earlier.model_file for name, earlier in found.items()} == {"image": image_model}
    assert "gone: the run began from this spectrum encoder, which is not there" in capsys.readouterr().err


def test_weights_outside_their_run_say_which_encoders_are_not_compared(tiny_model, image_model, capsys):
    settings = EvalSettings(family="astroclip", verb="eval")
    assert unaligned_encoders(load_checkpoint(tiny_model, quiet=True), settings) == {}
    said = capsys.readouterr().err
    assert "stands outside a run" in said
    assert "--set unaligned.image=CHECKPOINT or --set unaligned.spectrum=CHECKPOINT" in said
    unaligned_encoders(load_checkpoint(image_model, quiet=True), settings)
    assert "unaligned" not in capsys.readouterr().err


def test_the_answers_of_a_finetuned_head_are_scored_on_the_test_objects(tmp_path, head_model, mock_store):
    found = evaluate(head_model, mock_store, tmp_path / "out", "report=false")["datasets"]["mock"]["head"]
    store, model = open_objects(mock_store), load_model(head_model)
    rows = store.rows("test")
    truth = store.column("redshift", rows)
    with torch.no_grad():
        rgb = model_input(torch.from_numpy(store.read_images(rows)), model.section.image.size)
        low, high = model.predict_properties(rgb=rgb)["redshift"].T.double().numpy()
    # Of the quantiles 0.1 and 0.9, equally far from the median, the first is taken.
    assert found["properties"]["redshift"]["r2"] == pytest.approx(r2_score(truth, low), rel=1e-5)
    assert found["properties"]["redshift"]["below"] == {"0.1": (truth < low).mean(), "0.9": (truth < high).mean()}
    assert found["redshift"]["bias"] == pytest.approx(((low - truth) / (1 + truth)).mean(), rel=1e-5)
    # The head knows none of the store's classes.
    assert found["labels"]["morphology"]["accuracy"] == 0


def test_an_aligned_model_shows_what_its_spectrum_encoder_made_of_hidden_stretches(
    tmp_path, tiny_model, spectrum_model, mock_store
):
    before = f"unaligned.spectrum={spectrum_model}"
    beside = evaluate(tiny_model, mock_store, tmp_path / "beside", before)["datasets"]["mock"]["reconstruction"]
    alone = evaluate(spectrum_model, mock_store, tmp_path / "alone", "report=false")["datasets"]["mock"]
    assert beside == {**alone["reconstruction"], "by": "the encoder before alignment"}
    assert (tmp_path / "beside" / "figures" / "mock.reconstructions.png").is_file()
    assert "what the encoder before alignment makes of" in (tmp_path / "beside" / "report.html").read_text()


def test_redshifts_are_scored_by_magnitude_in_scores_and_report(tmp_path, head_model, mock_store):
    scores = evaluate(head_model, mock_store, tmp_path / "out")["datasets"]["mock"]
    store = open_objects(mock_store)
    magnitude = np.sort(store.target("mag_r", store.rows("test")))
    for answer in (scores["head"]["redshift"], scores["redshift"]["image"]["knn"]):
        bins = answer["by_magnitude"]
        assert sum(part["objects"] for part in bins) == len(magnitude)
        assert bins[0]["magnitude"][0] == pytest.approx(magnitude[0])
        assert bins[-1]["magnitude"][1] == pytest.approx(magnitude[-1])
    report = (tmp_path / "out" / "report.html").read_text()
    table = re.search(r"mock: redshift by magnitude</h3>.*?</table>", report, re.DOTALL)[0]
    assert f"{magnitude[0]:.2f} to " in table
    assert "the model&#x27;s own head" in table


def _survey(path, prepare, flux, *, images):
    """Twenty-four objects with fluxes in g, r, z as columns."""
    generator = np.random.default_rng(0)
    arrays = {f"flux_{band}": flux[:, place] for place, band in enumerate("grz")}
    arrays |= {"redshift": generator.uniform(0, 0.5, 24), "wavelength": 3600 + 0.8 * np.arange(7781)}
    arrays["spectrum"] = generator.standard_normal((24, 7781)).astype(np.float32)
    if images:
        arrays["image"] = generator.standard_normal((24, 3, 48, 48)).astype(np.float32)
    np.savez(path.with_suffix(".npz"), **arrays)
    prepare("arrays", path, "split.test=0.3", inputs=[path.with_suffix(".npz")])
    return path


def test_photometry_is_of_one_kind_for_what_probes_learn_from_and_what_they_are_asked(
    tmp_path, prepare, tiny_model, capsys
):
    flux = np.random.default_rng(1).uniform(1, 5, (24, 3))
    whole = _survey(tmp_path / "whole.zarr", prepare, flux, images=False)
    train = open_objects(whole).rows("train")
    faint, lacking = flux.copy(), flux.copy()
    faint[train[0], 0], lacking[train, 0] = -0.1, np.nan

    def scores(name, flux, *, images):
        store = _survey(tmp_path / f"{name}.zarr", prepare, flux, images=images)
        found = evaluate(tiny_model, store, tmp_path / name, "report=false", "properties=[redshift]")["datasets"][name]
        return found["properties"]["redshift"]

    # A flux below the noise has a magnitude; one that is absent has none, and the catalogue is used for nobody.
    assert "photometry" in scores("faint", faint, images=False)
    assert "photometry" not in scores("lacking", lacking, images=False)
    assert f"{len(train)} of " in (said := capsys.readouterr().err)
    assert "objects lack a magnitude: photometry is left out" in said
    measured = scores("measured", lacking, images=True)["photometry"]
    assert "objects lack a magnitude: photometry is measured on the cutouts" in capsys.readouterr().err
    none = scores("none", np.full_like(flux, np.nan), images=True)["photometry"]
    assert measured == none


def test_a_spectrum_encoder_is_asked_for_what_was_hidden_through_the_command_line(
    tmp_path, spectrum_model, mock_store, capsys
):
    words = ["eval", "astroclip", "--checkpoint", str(spectrum_model), "--data", str(mock_store), "--json"]
    words += ["--output", str(tmp_path / "out"), "--set", "masking.chunks=4"]
    assert command_line([*words, *(word for setting in QUICK for word in ("--set", setting))]) == 0
    found = json.loads(capsys.readouterr().out)["datasets"]["mock"]
    assert found["modalities"] == ["spectrum"]
    assert list(found["retrieval"]) == ["spectrum_to_spectrum"]
    assert found["reconstruction"]["masking"] == {"chunks": 4, "chunk_length": 50, "weight": "none"}
    assert 0 < found["reconstruction"]["error"]["noise"] < found["reconstruction"]["error"]["line"]
    assert (tmp_path / "out" / "figures" / "mock.reconstructions.png").is_file()


def test_the_report_holds_every_figure_and_needs_nothing_else(tmp_path, tiny_model, mock_store, capsys):
    words = ["eval", "astroclip", "--checkpoint", str(tiny_model), "--data", str(mock_store)]
    words += ["--output", str(tmp_path / "out")]
    assert command_line([*words, *(word for setting in QUICK for word in ("--set", setting))]) == 0
    assert "mock: retrieval" in capsys.readouterr().out
    text = (tmp_path / "out" / "report.html").read_text()
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]*)"', text)
    files = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert len(pictures) == len(files)
    assert {"mock.redshift.png", "mock.image_to_spectrum.png", "mock.spectrum_to_image.png"} <= files
    for picture in pictures:
        assert image.imread(BytesIO(base64.b64decode(picture, validate=True))).shape[0] > 100
    assert not re.search(r"(src|href)=\"(?!data:|#)|url\(|@import|<script", text)


def test_vectors_that_do_not_vary_stand_in_scores_and_report(tmp_path, tiny_model, mock_store, monkeypatch, capsys):
    whole = Encoder.vectors
    monkeypatch.setattr(Encoder, "vectors", lambda *given, **more: 1 + 1e-6 * whole(*given, **more))
    scores = evaluate(tiny_model, mock_store, tmp_path / "e", "bootstrap_samples=2")
    (dataset,) = scores["datasets"].values()

    assert dataset["geometry"]["constant"] == ["image", "spectrum"]
    assert "the image vectors of" in capsys.readouterr().err
    assert "Beware: the spectrum vectors of" in (tmp_path / "e" / "report.html").read_text()


def test_objects_that_were_trained_on_are_refused(tmp_path, make_model, mock_store):
    store = open_objects(mock_store)
    rows = [store.hashes()[row] for row in store.rows("test")[:1]]
    model = make_model("seen", trained_on={"other": {"store_hash": "0", "rows": rows}})
    with pytest.raises(StoreError, match=f"trained on 1 of the .* such as {store.ids(store.rows('test')[:1])[0]}"):
        evaluate(model, mock_store, tmp_path / "out", "report=false")
    assert not (tmp_path / "out").exists()
    allowed = evaluate(model, mock_store, tmp_path / "out", "report=false", allow_overlap=True)
    assert allowed["overlap"] == {"checked": True, "objects": 1, "allowed": True}


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, tiny_model, spectrum_model, mock_store):
    with pytest.raises(StoreError, match="has no property 'logn'"):
        evaluate(tiny_model, mock_store, tmp_path / "out", "properties=[logn]")
    with pytest.raises(StoreError, match="column morphology is text"):
        evaluate(tiny_model, mock_store, tmp_path / "out", "properties=[morphology]")
    with pytest.raises(CheckpointError):
        evaluate(tmp_path / "none", mock_store, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"unaligned\.image: .* has no image encoder"):
        evaluate(tiny_model, mock_store, tmp_path / "out", f"unaligned.image={spectrum_model}")
    with pytest.raises(CheckpointError, match=r"unaligned\.image: .* has no image encoder for .* to be compared with"):
        evaluate(spectrum_model, mock_store, tmp_path / "out", f"unaligned.image={spectrum_model}")
    assert not (tmp_path / "out").exists()


def test_questions_beside_those_of_the_head_are_said_to_be_passed_over(make_model, mock_store, capsys):
    votes = {"questions": {"pair": {"answers": ["close_pair_yes", "close_pair_no"]}}}
    section = PropertySection.model_validate({"modalities": ["image"], "votes": votes})
    loaded = load_checkpoint(make_model("asked", properties=section), quiet=True)
    settings = EvalSettings(family="astroclip", verb="eval", morphology={"votes": {"tree": "mock"}})
    evaluation.ObjectEvaluation(loaded, settings, EvalRequest(checkpoint=loaded.model_file, data=(mock_store,)), {})
    assert "morphology.votes is passed over" in capsys.readouterr().err


def test_neighbour_counts_without_redshifts_are_said_to_score_nothing(
    tmp_path, image_model, mock_store, monkeypatch, capsys
):
    real = ObjectStore.target
    unknown = lambda self, name, rows=None: real(self, name, rows) * (np.nan if name == "redshift" else 1)  # noqa: E731
    monkeypatch.setattr(ObjectStore, "target", unknown)
    quick = ("neighbour_counts=[3]", "properties=[logm]", "audit.run=false", "report=false")
    found = evaluate(image_model, mock_store, tmp_path / "out", *quick)["datasets"]["mock"]
    assert "by_neighbours" not in found
    assert "mock: neighbour_counts scores redshifts, and fewer than two are known" in capsys.readouterr().err


@pytest.mark.parametrize("searched", ["image", "spectrum", "both"])
def test_neighbours_are_scored_as_predict_writes_them(tmp_path, tiny_model, mock_store, searched):
    quick = ("audit.run=false", "report=false", "properties=[redshift]")
    found = evaluate(tiny_model, mock_store, tmp_path / "out", *quick)["datasets"]["mock"]["neighbours"]
    assert set(found) == {"image", "spectrum", "both"}
    asked = (f"reference=[{mock_store}]", "neighbours=5", f"modality={searched}")
    catalogue = tmp_path / "p.parquet"
    predict.run(
        PredictRequest(checkpoint=tiny_model, data=(mock_store,), output=catalogue, overrides=asked, split="test")
    )
    predicted = parquet.read_table(catalogue)["redshift"].to_numpy()
    store = open_objects(mock_store)
    truth = store.target("redshift", store.rows("test"))
    error = (predicted - truth) / (1 + truth)
    spread = 1.4826 * np.median(np.abs(error - np.median(error)))
    assert found[searched]["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-4)
    assert found[searched]["sigma_nmad"] == pytest.approx(spread, rel=1e-4)


def test_redshifts_by_templates_and_by_other_numbers_of_neighbours_stand_beside(tmp_path, make_model, mock_store):
    from polycli.astroclip.recipe.model import SpectrumSection, TemplateSection

    section = SpectrumSection(
        embed_dim=12, depth=1, num_heads=2, section_length=256, section_step=192, stem="convolution",
        inputs=("ivar",), templates=TemplateSection(count=2),
    )  # fmt: skip
    model = make_model("templates", image=None, heads=None, spectrum=section)
    some = "neighbour_counts=[3, 5]"
    found = evaluate(model, mock_store, tmp_path / "out", some, "audit.run=false")["datasets"]["mock"]

    store = open_objects(mock_store)
    train, test = store.rows("train"), store.rows("test")
    encoder = Encoder(load_model(model), store, precision="float32", batch_size=8)
    shifts = {
        name: encoder.vectors("spectrum", rows, source="templates")[:, 0] for name, rows in (("a", train), ("b", test))
    }
    constant = np.median(shifts["a"] - np.log1p(store.target("redshift", train)))
    predicted = np.expm1(shifts["b"] - constant)
    assert found["templates"]["constant"] == pytest.approx(constant, abs=1e-6)
    assert found["templates"]["r2"] == pytest.approx(r2_score(store.target("redshift", test), predicted), rel=1e-4)
    beside = found["by_neighbours"]
    assert set(beside) == {"spectrum", "spectrum_templates", "spectrum_shift"}
    # Five neighbours by inverse distance are the protocol of all other scores here.
    for name, scores in beside.items():
        assert set(scores) == {"3", "5"}
        assert scores["5"]["distance"]["r2"] == pytest.approx(found["properties"]["redshift"][name]["knn"]["r2"])
    assert (tmp_path / "out" / "figures" / "mock.templates.png").is_file()
    report = (tmp_path / "out" / "report.html").read_text()
    assert "likeliest shift of the templates" in report
    assert "redshift by number and weights of neighbours" in report
