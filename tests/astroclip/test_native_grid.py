"""Stores of unlike wavelengths in one training (`model.spectrum.grid: native`), and every verb on what it leaves."""

import json

import numpy as np
import pytest
import torch
from astropy.io import fits

from polycli.astroclip import embed, finetune, open_objects, predict, pretrain
from polycli.astroclip import eval as evaluation
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.reconstruction import score_reconstruction
from polycli.errors import StoreError
from polycli.inspection import inspect_path
from polycli.report.bootstrap import Bootstrap
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest, TrainRequest
from polycli.store.embeddings.opened import open_embeddings

REST = """
data: {validation_objects: 4, workers: 1}
optim: {learning_rate: 3.0e-3}
train: {steps: 2, global_batch_size: 8, micro_batch_size: 4, seed: 5, validate_every: 2, checkpoint_every: 2}
"""
SPECTRUM = """
family: astroclip
verb: pretrain
stage: spectrum
model:
  spectrum: {embed_dim: 16, depth: 1, num_heads: 2, section_length: 80, section_step: 60, grid: native}
masking: {chunk_length: 6}
"""
ALIGN = """
family: astroclip
verb: pretrain
stage: align
model:
  image: {size: 48, embed_dim: 16, depth: 1, num_heads: 2}
  heads: {embed_dim: 8, num_heads: 2}
"""
FINETUNE = """
family: astroclip
verb: finetune
calibrate: never
model: {properties: {modalities: [spectrum], regression: [redshift], hidden: [8]}}
"""


@pytest.fixture(scope="module")
def coarse(tmp_path_factory, prepare):
    """Sixteen other galaxies of the mock, from 3700 to 9502 A in steps of 1.2 A."""
    path = tmp_path_factory.mktemp("coarse") / "coarse.zarr"
    grid = ("resample.first=3700", "resample.last=9502", "resample.step=1.2")
    prepare("mock", path, "mock.objects=16", "mock.size=64", "mock.seed=9", "split.test=0.5", *grid)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory, mock_store, coarse):
    """Runs of the stages spectrum and align, and of a finetuning, each on both stores."""
    folder = tmp_path_factory.mktemp("native")
    for name, text in (("spectrum", SPECTRUM), ("align", ALIGN), ("finetune", FINETUNE)):
        (folder / f"{name}.yaml").write_text(text + REST, encoding="utf-8")

    def wanted(name, *overrides, **options):
        recipe, output = str(folder / f"{name}.yaml"), folder / name
        return TrainRequest(recipe=recipe, data=(mock_store, coarse), output=output, overrides=overrides, **options)

    pretrain.run(wanted("spectrum"))
    pretrain.run(wanted("align", f"init.spectrum={folder / 'spectrum'}"))
    finetune.run(wanted("finetune", checkpoint=folder / "align"))
    return folder


def vectors_of(checkpoint, store, output, *overrides):
    embed.run(EmbedRequest(checkpoint=checkpoint, data=(store,), output=output, overrides=overrides))
    column = open_embeddings(output).partitions[0].read(["spectrum_embedding"])["spectrum_embedding"]
    return np.stack(column.to_pylist())


def test_the_model_says_over_which_wavelengths_it_was_trained(runs):
    for name in ("spectrum", "align", "finetune"):
        described = json.loads(next((runs / name / "checkpoints").glob("*/model.json")).read_text(encoding="utf-8"))
        spectrum = described["data"]["spectrum"]
        assert (spectrum["first"], spectrum["last"], spectrum["step"]) == (3600.0, pytest.approx(9824.0), None)
        assert spectrum["pixels"] == 7781
        assert described["model"]["spectrum"]["grid"] == "native"


def test_embed_gives_what_the_network_gives_of_each_store_by_itself(runs, coarse, mock_store, tmp_path):
    """In training shorter spectra are padded; in embed each store is read as it is."""
    model = load_checkpoint(runs / "align", quiet=True).model
    for store in (coarse, mock_store):
        objects = open_objects(store)
        found = vectors_of(runs / "align", store, tmp_path / f"{store.stem}.parquet", "normalise=false")
        flux, ivar, mask = (torch.from_numpy(part[:3]) for part in objects.read_spectra(range(len(objects))))
        grid = torch.from_numpy(objects.wavelength).float().expand(3, -1)
        with torch.no_grad():
            expected = model.embed_spectrum(flux, ivar, mask.bool(), grid).numpy()
        np.testing.assert_allclose(found[:3], expected, rtol=1e-4, atol=1e-5)


def test_eval_scores_hidden_stretches_and_retrieval_on_a_grid_of_its_own(runs, coarse, tmp_path):
    quick = ("bootstrap_samples=20", "report=false", "properties=[redshift]", "labels=[]", "neighbours=3")
    for name in ("spectrum", "align"):
        request = EvalRequest(checkpoint=runs / name, data=(coarse,), output=tmp_path / name, overrides=quick)
        scores = evaluation.run(request)["datasets"]["coarse"]
        error = scores["reconstruction"]["error"]
        assert np.isfinite(error["model"])
        assert error["model"] > error["noise"] * 0.5
    assert scores["retrieval"]


def test_predict_reads_a_grid_of_its_own(runs, coarse, tmp_path):
    output = tmp_path / "predicted.csv"
    predict.run(PredictRequest(checkpoint=runs / "finetune", data=(coarse,), output=output))
    lines = output.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 17
    assert "redshift" in lines[0]


def test_a_spectrum_grid_that_overlaps_the_models_by_less_than_half_is_refused(runs, prepare, tmp_path):
    grid = ("resample.first=3600", "resample.last=6500", "resample.step=2")
    prepare("mock", tmp_path / "blue.zarr", "mock.objects=4", "mock.size=64", *grid)

    with pytest.raises(StoreError, match=r"3600 to 6500 A overlap by 47% with .* 3600 to 9824 A; half was expected"):
        vectors_of(runs / "align", tmp_path / "blue.zarr", tmp_path / "blue.parquet")


@pytest.fixture(scope="module")
def own(tmp_path_factory, mock_store, prepare):
    """Spectra of the mock in files of their own, on three grids, and one that is a third as long."""
    folder, objects = tmp_path_factory.mktemp("own"), open_objects(mock_store)
    found, grid = objects.read_spectra(range(4)), objects.wavelength
    for row, part in enumerate((slice(None), slice(0, None, 2), slice(300, -900, 3), slice(0, 2600))):
        columns = [
            fits.Column(name, "E" if name != "WAVELENGTH" else "D", array=values[part], unit=unit)
            for name, values, unit in (
                ("WAVELENGTH", grid, "Angstrom"),
                ("FLUX", found.flux[row], "1e-17 erg/s/cm2/Angstrom"),
                ("IVAR", np.maximum(found.ivar[row], 1e-3), ""),
            )
        ]
        table = fits.BinTableHDU.from_columns(columns)
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / f"s{row}.fits")
    return folder


def test_spectra_with_wavelengths_of_their_own_are_encoded_as_if_each_were_alone(runs, own, prepare, tmp_path):
    whole = [own / f"s{row}.fits" for row in range(3)]
    prepare("spectra", tmp_path / "own.zarr", "resample.own=true", inputs=whole)
    store = open_objects(tmp_path / "own.zarr")
    assert store.about.spectrum.own
    said = " ".join(inspect_path(tmp_path / "own.zarr").lines)
    assert "at most 7781 pixels, 3600 to 9824 Angstrom [1e-17 erg/s/cm2/A], each on wavelengths of its own" in said
    found = vectors_of(runs / "align", tmp_path / "own.zarr", tmp_path / "own.parquet", "normalise=false")

    model = load_checkpoint(runs / "align", quiet=True).model
    for row in range(3):
        alone = store.read_spectra([row])
        flux, ivar, mask = map(torch.from_numpy, alone)
        with torch.no_grad():
            expected = model.embed_spectrum(flux, ivar, mask.bool(), torch.from_numpy(alone.wavelength).float())
        np.testing.assert_allclose(found[row], expected[0].numpy(), rtol=1e-4, atol=1e-5)
    pretrain.run(
        TrainRequest(recipe=str(runs / "spectrum.yaml"), data=(tmp_path / "own.zarr",), output=tmp_path / "run")
    )


def test_the_share_that_is_hidden_is_of_the_tokens_that_a_spectrum_has(runs, own, prepare, tmp_path):
    """Padding behind shorter spectra counted as seen, so that the share depended on the batch."""
    prepare("spectra", tmp_path / "own.zarr", "resample.own=true", inputs=[own / f"s{row}.fits" for row in range(3)])
    loaded, store = load_checkpoint(runs / "spectrum", quiet=True), open_objects(tmp_path / "own.zarr")
    found = [
        score_reconstruction(
            Encoder(loaded.model, store, precision="float32", batch_size=count),
            np.arange(3),
            MaskingSection(chunk_length=6),
            Bootstrap(20, seed=1),
        )[0]
        for count in (1, 3)
    ]
    assert found[0].hidden == pytest.approx(found[1].hidden)
    assert found[0].error == pytest.approx(found[1].error, rel=1e-5)


def test_one_spectrum_with_too_little_in_common_is_named(runs, own, prepare, tmp_path):
    prepare("spectra", tmp_path / "own.zarr", "resample.own=true", inputs=[own])
    with pytest.raises(StoreError, match=r"the spectrum of s3, 3600 to 5679.2 A, overlaps by less than half"):
        vectors_of(runs / "align", tmp_path / "own.zarr", tmp_path / "own.parquet")


def test_an_encoder_that_knows_one_grid_refuses_wavelengths_of_their_own(runs, own, prepare, tmp_path, spectrum_model):
    prepare("spectra", tmp_path / "own.zarr", "resample.own=true", inputs=[own])
    with pytest.raises(StoreError, match="wavelengths of their own, and one grid was expected"):
        vectors_of(spectrum_model, tmp_path / "own.zarr", tmp_path / "own.parquet")
    request = TrainRequest(
        recipe=str(runs / "spectrum.yaml"),
        data=(tmp_path / "own.zarr",),
        output=tmp_path / "run",
        overrides=("model.spectrum.grid=trained",),
    )
    with pytest.raises(StoreError, match="wavelengths of their own, and this encoder knows one grid"):
        pretrain.run(request)


def test_two_grids_are_refused_in_a_training_that_knows_one(runs, mock_store, coarse, tmp_path):
    request = TrainRequest(
        recipe=str(runs / "spectrum.yaml"),
        data=(mock_store, coarse),
        output=tmp_path / "run",
        overrides=("model.spectrum.grid=trained",),
    )
    with pytest.raises(StoreError, match="spectra with pixels") as refusal:
        pretrain.run(request)
    assert "model.spectrum.grid=native" in refusal.value.hint
