"""Runs of `--baseline` beside a model: their rows are of the same objects, and what cannot be compared is refused."""

import numpy as np
import pytest
from pyarrow import parquet

from polycli.astroclip import eval as evaluation
from polycli.astroclip import open_objects, predict
from polycli.astroclip.recipe.model import ImageSection, PropertySection, SpectrumSection
from polycli.astroclip.scoring import report as report_module
from polycli.errors import StoreError, UserError
from polycli.requests import EvalRequest, PredictRequest

QUICK = ("bootstrap_samples=20", "neighbours=5", "properties=[redshift, age]", "labels=[]", "audit.run=false")


def head(*modalities, **said):
    said = {"regression": ("redshift",), "source": "backbone"} | said
    return PropertySection(modalities=modalities, **said)


@pytest.fixture(scope="module")
def by_image(make_model):
    image = ImageSection(name="convnext", size=48, embed_dim=16, depth=4)
    return make_model("by_image", image=image, spectrum=None, heads=None, properties=head("image"))


@pytest.fixture(scope="module")
def by_spectrum(make_model):
    spectrum = SpectrumSection(name="conv_attention", embed_dim=16)
    return make_model("by_spectrum", image=None, spectrum=spectrum, heads=None, properties=head("spectrum"))


def evaluate(model, store, output, *baselines, overrides=(), **options):
    request = EvalRequest(
        checkpoint=model, data=(store,), output=output, overrides=(*QUICK, *overrides), baselines=baselines, **options
    )
    return evaluation.run(request)


def test_rows_of_baselines_are_those_of_predict_and_stand_in_the_table_of_the_model(
    tmp_path, tiny_model, by_image, by_spectrum, mock_store, monkeypatch, capsys
):
    monkeypatch.delenv("COLUMNS", raising=False)  # Narrow terminals break tables into pieces.
    for drawn in ("_galleries", "_maps", "_against_truth", "_reconstructions"):  # Figures take most of the time.
        monkeypatch.setattr(report_module, drawn, lambda *_, **__: [])
    document = evaluate(tiny_model, mock_store, tmp_path / "e", by_image, by_spectrum)
    shown = capsys.readouterr().out

    found, store = document["datasets"]["mock"]["baselines"], open_objects(mock_store)
    truth = store.target("redshift", store.rows("test"))
    assert len(found) == 2
    for (label, scores), file, kind in zip(found.items(), (by_image, by_spectrum), ("image", "spectrum"), strict=True):
        catalogue = tmp_path / f"{kind}.parquet"
        predict.run(PredictRequest(checkpoint=file, data=(mock_store,), output=catalogue, split="test"))
        answers = parquet.read_table(catalogue)["redshift"].to_numpy().astype(np.float64)
        expected = 1 - np.square(answers - truth).mean() / truth.var()
        assert scores["properties"]["redshift"]["r2"] == pytest.approx(expected, rel=1e-4)
        assert scores["redshift"]["bias"] == pytest.approx(((answers - truth) / (1 + truth)).mean(), rel=1e-4)
        assert scores["modalities"] == [kind]
        assert document["baselines"][label]["checkpoint"] == str(file)
        report = (tmp_path / "e" / "report.html").read_text()
        for page in (shown, report):
            table = page[page.rindex("mock: R2 of properties") : page.rindex("mock: redshift as predict")]
            assert table.count(f"baseline {label} ({kind})") == 2  # of R2, and of errors of the redshift
        assert str(file) in report
    assert "redshift as predict makes it without a head" in report
    assert "image and spectrum side by side" in report


def test_without_a_baseline_one_line_says_how_to_get_its_rows(tmp_path, tiny_model, by_image, mock_store, capsys):
    document = evaluate(tiny_model, mock_store, tmp_path / "e", overrides=("report=false",))
    said = capsys.readouterr().err
    assert said.count("--baseline RUN") == 1
    assert "--recipe astroclip_supervised_image or astroclip_supervised_spectrum" in said
    assert "baselines" not in document
    assert "baselines" not in document["datasets"]["mock"]
    evaluate(by_image, mock_store, tmp_path / "b", overrides=("report=false",))
    assert "--baseline RUN" not in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    tmp_path, tiny_model, image_model, head_model, make_model, mock_store
):
    store = open_objects(mock_store)
    rows = [store.hashes()[row] for row in store.rows("test")[:1]]
    seen = {"other": {"store_hash": "0", "rows": rows}}
    wrong = {
        "trained on 1 of the": make_model("seen", seen, heads=None, properties=head("image")),
        "model learnt it in km": make_model(
            "units", said={"units": {"age": "km"}}, heads=None, properties=head("image", regression=("redshift", "age"))
        ),
        "it predicts logm, and of": make_model("logm", heads=None, properties=head("image", regression=("logm",))),
    }
    for sentence, file in wrong.items():
        with pytest.raises(StoreError, match=f"baseline .*{sentence}"):
            evaluate(tiny_model, mock_store, tmp_path / "e", file)
    with pytest.raises(UserError, match="it predicts no columns to compare"):
        evaluate(tiny_model, mock_store, tmp_path / "e", image_model)
    with pytest.raises(UserError, match="takes part twice"):
        evaluate(head_model, mock_store, tmp_path / "e", head_model)
    assert not (tmp_path / "e").exists()
