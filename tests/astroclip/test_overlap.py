"""Objects that encoders and heads were trained on are known again in stores of other modalities."""

import numpy as np
import pytest

from polycli.astroclip import eval as evaluation
from polycli.astroclip import open_objects, predict
from polycli.errors import StoreError
from polycli.requests import EvalRequest, PredictRequest
from polycli.store.manifest import read_manifest
from polycli.workflow.overlap import trained_entry


@pytest.fixture(scope="module")
def stores(tmp_path_factory, prepare, mock_store):
    """The same objects as images alone, spectra alone, and pairs; and the pairs in files without ids."""
    folder, mock = tmp_path_factory.mktemp("modalities"), open_objects(mock_store)
    rows = mock.rows()
    spectra = mock.read_spectra(rows)
    images = {"image": mock.read_images(rows)}
    measured = {"spectrum": spectra.flux, "ivar": spectra.ivar, "mask": spectra.mask, "wavelength": mock.wavelength}
    known = {"object_id": mock.ids(rows), "redshift": mock.column("redshift", rows)}
    found = {}
    for name, arrays in {
        "images": {**images, **known},
        "spectra": {**measured, **known},
        "pairs": {**images, **measured, **known},
        "fainter": {"image": images["image"] / 2, **measured, "spectrum": spectra.flux / 2, **known},
        "unnamed": {**images, **measured, "redshift": known["redshift"]},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
        found[name] = folder / f"{name}.zarr"
        prepare("arrays", found[name], inputs=[folder / f"{name}.npz"])
    return found


def entry(path, split="train"):
    store = open_objects(path)
    return trained_entry(store.store, store.rows(split))


def ids_in(path, split):
    store = open_objects(path)
    return set(store.id_texts(store.rows(split)))


def evaluate(model, data, output, **options):
    request = EvalRequest(
        checkpoint=model, data=(data,), output=output, overrides=("report=false",), json=True, **options
    )
    return evaluation.run(request)


def test_objects_whose_image_or_spectrum_trained_an_encoder_are_refused_in_a_store_of_pairs(
    tmp_path, make_model, stores
):
    """Of the test pairs those that were in the training split of either store, whatever split they have here."""
    trained = ids_in(stores["images"], "train") | ids_in(stores["spectra"], "train")
    expected = len(ids_in(stores["pairs"], "test") & trained)
    assert expected, "the splits of these stores must differ, or nothing is tested"
    model = make_model(
        "aligned", trained_on={"images (init.image)": entry(stores["images"]), "spectra": entry(stores["spectra"])}
    )
    with pytest.raises(StoreError, match=f"trained on {expected} of the .* objects to be scored"):
        evaluate(model, stores["pairs"], tmp_path / "out")
    allowed = evaluate(model, stores["pairs"], tmp_path / "out", allow_overlap=True)
    assert allowed["overlap"] == {"checked": True, "objects": expected, "allowed": True}


def test_pairs_that_trained_are_known_in_stores_of_one_modality(tmp_path, make_model, stores):
    model = make_model("of_pairs", heads=None, trained_on={"pairs": entry(stores["pairs"])})
    for kind in ("images", "spectra"):
        expected = len(ids_in(stores[kind], "test") & ids_in(stores["pairs"], "train"))
        with pytest.raises(StoreError, match=f"trained on {expected} of the"):
            evaluate(model, stores[kind], tmp_path / "out")


def test_the_same_id_with_other_content_is_said_and_ids_that_were_made_are_not_compared(
    tmp_path, make_model, stores, capsys
):
    model = make_model("of_others", trained_on={"fainter": entry(stores["fainter"])})
    scores = evaluate(model, stores["pairs"], tmp_path / "out")
    shared = len(ids_in(stores["pairs"], "test") & ids_in(stores["fainter"], "train"))
    assert scores["overlap"] == {"checked": True, "objects": 0, "same_id": shared, "allowed": False}
    assert "have an id that the training had with other content" in " ".join(capsys.readouterr().err.split())

    assert read_manifest(stores["pairs"]).row_ids_given is True
    assert read_manifest(stores["unnamed"]).row_ids_given is False
    assert entry(stores["unnamed"]).ids is None


def test_predict_says_which_objects_get_back_their_own_labels_from_a_store_of_another_modality(
    tmp_path, make_model, stores, capsys
):
    model = make_model("searching", heads=None, spectrum=None)
    predict.run(
        PredictRequest(
            checkpoint=model,
            data=(stores["images"],),
            output=tmp_path / "p.parquet",
            overrides=(f"reference=[{stores['pairs']}]", "neighbours=2"),
        )
    )
    expected = len(ids_in(stores["images"], None) & ids_in(stores["pairs"], "train"))
    assert f"{expected} of 24 objects are among the labelled ones" in " ".join(capsys.readouterr().err.split())
