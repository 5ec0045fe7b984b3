"""`polycli predict astroclip` on a tiny store: by neighbours, by a head, to Parquet and FITS."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from astropy.io import fits
from astropy.table import Table

from polycli.__main__ import run as command_line
from polycli.astroclip import load_model, open_objects, predict
from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import PropertySection
from polycli.errors import PolycliError, StoreError, UserError
from polycli.inspection import inspect_path
from polycli.requests import PredictRequest


def request(model, store, output, *overrides, **options):
    return PredictRequest(checkpoint=model, data=(store,), output=output, overrides=overrides, **options)


def test_objects_without_a_value_of_their_own_do_not_count_as_getting_it_back(
    tmp_path, tiny_model, mock_store, capsys, monkeypatch
):
    real = ObjectStore.target

    def half_known(self, name, rows=None):
        values = real(self, name, rows)
        values[::2] = np.nan
        return values

    monkeypatch.setattr(ObjectStore, "target", half_known)
    rows = open_objects(mock_store).rows("train")
    predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", f"reference=[{mock_store}]", split="train"))
    said = f"{len(rows) // 2} of {len(rows)} objects are among the labelled ones"
    assert said in capsys.readouterr().err


def test_an_object_that_is_its_own_nearest_neighbour_gets_its_own_redshift(tmp_path, tiny_model, mock_store, capsys):
    reference = f"reference=[{mock_store}]"
    document = predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", reference, split="train"))
    table = parquet.read_table(tmp_path / "p.parquet")
    store = open_objects(mock_store)
    rows = store.rows("train")
    assert table["object_id"].to_pylist() == store.ids(rows).tolist()
    assert table.column_names == document_columns(document)
    np.testing.assert_allclose(table["redshift"].to_numpy(), store.column("redshift", rows), rtol=1e-3)
    low, middle, high = (table[f"redshift_q{name}"].to_numpy() for name in (16, 50, 84))
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert f"{len(rows)} of {len(rows)} objects are among the labelled ones" in capsys.readouterr().err
    predict.run(request(tiny_model, mock_store, tmp_path / "test.parquet", reference, split="test"))
    assert "among the labelled ones" not in capsys.readouterr().err


def test_columns_that_are_known_of_different_objects_have_neighbours_of_their_own(
    tmp_path, tiny_model, mock_store, monkeypatch
):
    real = ObjectStore.target

    def known_of_three(self, name, rows=None):
        values = real(self, name, rows)
        if name == "logm":
            values[3:] = np.nan
        return values

    monkeypatch.setattr(ObjectStore, "target", known_of_three)
    settings = (f"reference=[{mock_store}]", "neighbours=500")
    found, rows = {}, len(open_objects(mock_store).rows("train"))
    for names, counts in (("redshift", f"{rows}"), ("logm", "3"), ("redshift, logm", f"3 to {rows}")):
        path = tmp_path / f"{len(found)}.parquet"
        document = predict.run(request(tiny_model, mock_store, path, *settings, f"properties=[{names}]", split="test"))
        assert document["by"] == f"{counts} neighbours by image and spectrum in mock"
        found[names] = parquet.read_table(path)
    assert "similarity" not in found["redshift, logm"].column_names
    for name in ("redshift", "logm"):
        assert found["redshift, logm"][f"{name}_similarity"] == found[name]["similarity"]


def test_no_columns_at_all_are_refused(tmp_path, tiny_model, mock_store):
    with pytest.raises(UserError, match="at least 1 item"):
        predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", "properties=[]"))
    assert not list(tmp_path.iterdir())


def document_columns(document):
    return ["object_id", "ra", "dec", *document["columns"]]


def test_every_column_of_a_catalogue_has_a_name_of_its_own(tmp_path, tiny_model, mock_store):
    settings = (f"reference=[{mock_store}]", "properties=[ra, redshift]", "quantiles=[0.5]")
    predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", *settings, split="test"))
    assert parquet.read_table(tmp_path / "p.parquet").column_names == [
        *("object_id", "ra", "dec"),
        *("predicted_ra", "ra_q50", "similarity", "redshift", "redshift_q50"),
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".fits"])
def test_a_changed_byte_of_a_catalogue_is_found_wherever_it_is(tmp_path, head_model, mock_store, suffix):
    """Parquet and FITS read on over most of them: 30 of 40 were accepted."""
    path = tmp_path / f"p{suffix}"
    predict.run(request(head_model, mock_store, path, split="test"))
    assert "every file has the hash that was written with it" in " ".join(inspect_path(path, verify=True).lines)
    whole = path.read_bytes()
    # Not the first bytes, which say what the file is.
    for place in np.random.default_rng(0).integers(16, len(whole), size=40):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UserError):
            inspect_path(path, verify=True)


def test_fits_keeps_ids_bit_for_bit_through_the_command_line(tmp_path, tiny_model, mock_store, capsys):
    words = ["predict", "astroclip", "--checkpoint", str(tiny_model), "--data", str(mock_store), "--split", "test"]
    words += ["--output", str(tmp_path / "p.fits"), "--set", f"reference=[{mock_store}]", "--json"]
    assert command_line(words) == 0
    document = json.loads(capsys.readouterr().out)
    table = Table.read(tmp_path / "p.fits")
    store = open_objects(mock_store)
    assert table["object_id"].tolist() == store.ids(store.rows("test")).tolist()
    assert table.colnames == document_columns(document)
    assert table.meta["MODEL"] == document["model_hash"]


def units_of(path):
    """By column, as the file says them."""
    if path.suffix == ".parquet":
        schema = parquet.read_schema(path)
        return {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}
    with fits.open(path) as file:
        return {column.name: column.unit or "" for column in file[1].columns}


@pytest.mark.parametrize("suffix", [".parquet", ".fits"])
def test_columns_have_the_units_of_their_properties(tmp_path, tiny_model, make_model, mock_store, suffix):
    path = tmp_path / f"p{suffix}"
    settings = (f"reference=[{mock_store}]", "properties=[logm, redshift, dec]", "quantiles=[0.5]")
    document = predict.run(request(tiny_model, mock_store, path, *settings, split="test"))
    expected = {"ra": "deg", "dec": "deg", "logm": "log10(Msun)", "logm_q50": "log10(Msun)"}
    expected |= {"predicted_dec": "deg", "dec_q50": "deg"}
    assert {name: unit for name, unit in units_of(path).items() if unit} == expected
    assert document["units"] == {name: unit for name, unit in expected.items() if name not in ("ra", "dec")}

    section = PropertySection(modalities=("image",), regression=("logm", "age"), quantiles=(0.1, 0.9))
    head = make_model("units", said={"units": {"age": "Gyr"}}, properties=section)
    predict.run(request(head, mock_store, path, "overwrite=true", split="test"))
    found = {name: unit for name, unit in units_of(path).items() if unit}
    # What the model does not know has none.
    assert found == {"ra": "deg", "dec": "deg", "age_q10": "Gyr", "age_q90": "Gyr"}


def test_a_finetuned_model_predicts_by_its_head_with_its_quantiles_and_classes(tmp_path, head_model, mock_store):
    document = predict.run(request(head_model, mock_store, tmp_path / "p.parquet", "batch_size=5"))
    table = parquet.read_table(tmp_path / "p.parquet")
    assert document["columns"] == [
        "redshift_q10",
        "redshift_q90",
        "morphology",
        "morphology_p_round",
        "morphology_p_long",
    ]
    store, model = open_objects(mock_store), load_model(head_model)
    with torch.no_grad():
        rgb = model_input(torch.from_numpy(store.read_images(store.rows())), model.section.image.size)
        expected = model.predict_properties(rgb=rgb)
    np.testing.assert_allclose(table["redshift_q90"].to_numpy(), expected["redshift"][:, 1].numpy(), rtol=1e-4)
    np.testing.assert_allclose(table["morphology_p_long"].to_numpy(), expected["morphology"][:, 1].numpy(), rtol=1e-4)
    names = np.array(["round", "long"])[expected["morphology"].argmax(dim=1).numpy()]
    assert table["morphology"].to_pylist() == names.tolist()


def test_what_is_not_ascii_is_refused_for_fits_by_name_and_written_to_parquet(tmp_path, make_model, mock_store):
    section = PropertySection(modalities=("image",), classification={"morphology": ("spiral", "elliptique ou \u00e9")})
    model = make_model("accents", properties=section)
    with pytest.raises(UserError, match="column morphology_p_elliptique ou \u00e9 cannot be written to FITS"):
        predict.run(request(model, mock_store, tmp_path / "p.fits"))
    assert list(tmp_path.iterdir()) == []
    predict.run(request(model, mock_store, tmp_path / "p.parquet"))
    assert "morphology_p_elliptique ou \u00e9" in parquet.read_schema(tmp_path / "p.parquet").names


def test_stores_with_ids_of_text_and_of_numbers_make_no_catalogue(tmp_path, prepare, head_model, mock_store):
    images = np.random.default_rng(0).standard_normal((5, 3, 48, 48)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=images, object_id=[f"id {row}" for row in range(5)])
    prepare("arrays", tmp_path / "a.zarr", inputs=[tmp_path / "a.npz"])
    data = (mock_store, tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="column object_id is string, and int64 in"):
        predict.run(PredictRequest(checkpoint=head_model, data=data, output=tmp_path / "p.parquet"))
    assert not (tmp_path / "p.parquet").exists()


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, tiny_model, image_model, mock_store):
    reference = f"reference=[{mock_store}]"
    with pytest.raises(UserError, match="no property head, and there are no labelled objects"):
        predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet"))
    with pytest.raises(StoreError, match="has no property 'redshif'"):
        predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", reference, "properties=[redshif]"))
    with pytest.raises(StoreError, match="share image, spectrum was needed"):
        predict.run(request(image_model, mock_store, tmp_path / "p.parquet", reference, "modality=spectrum"))
    with pytest.raises(StoreError, match="no object is in the split test"):
        predict.run(request(tiny_model, mock_store, tmp_path / "p.parquet", reference, split="test", limit=0))
    with pytest.raises(UserError, match=r"\.parquet, \.fits or \.csv"):
        predict.run(request(tiny_model, mock_store, tmp_path / "p.txt", reference))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".parquet", ".fits"])
def test_overwrite_replaces_catalogues_of_predict_alone(tmp_path, head_model, mock_store, suffix):
    target = tmp_path / f"p{suffix}"
    predict.run(request(head_model, mock_store, target))
    first = target.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        predict.run(request(head_model, mock_store, target))
    predict.run(request(head_model, mock_store, target, "overwrite=true", split="test"))
    assert target.read_bytes() != first
    Table({"redshift": [0.1]}).write(target, overwrite=True)
    for content in (target.read_bytes(), b"", b"PAR1", first[:2000]):
        target.write_bytes(content)
        with pytest.raises(UserError, match="is not replaced, for it is not predictions that polycli wrote"):
            predict.run(request(head_model, mock_store, target, "overwrite=true"))
        assert target.read_bytes() == content
    with pytest.raises(UserError, match=r"the suffix says|is read by this command"):
        predict.run(request(head_model, mock_store, mock_store, "overwrite=true"))


@pytest.mark.parametrize("suffix", [".parquet", ".fits"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, head_model, mock_store, full_disk, suffix):
    said = f"p{suffix}: predictions cannot be written: File too large"
    with full_disk(500), pytest.raises(PolycliError, match=said):
        predict.run(request(head_model, mock_store, tmp_path / f"p{suffix}"))
    assert list(tmp_path.iterdir()) == []


def test_source_files_are_read_as_prepare_reads_them_and_nothing_of_it_is_left(
    tmp_path, head_model, mock_store, survey_files
):
    """Objects of a store, written out as arrays of one's own, get the same predictions as in the store."""
    store = open_objects(mock_store)
    rows = store.rows()
    spectra = store.read_spectra(rows)
    np.savez(
        tmp_path / "mine.npz",
        image=store.read_images(rows),
        wavelength=store.wavelength,
        object_id=store.ids(rows),
        spectrum=spectra.flux,
        ivar=spectra.ivar,
        mask=spectra.mask,
        **{name: store.column(name, rows) for name in ("ra", "dec", "redshift")},
    )
    predict.run(request(head_model, mock_store, tmp_path / "store.parquet"))
    document = predict.run(request(head_model, tmp_path / "mine.npz", tmp_path / "files.parquet"))
    assert document["objects"] == len(rows)
    of_store, of_files = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("store", "files"))
    assert of_files["object_id"].to_pylist() == of_store["object_id"].to_pylist()
    np.testing.assert_allclose(of_files["redshift_q90"].to_numpy(), of_store["redshift_q90"].to_numpy(), rtol=1e-5)
    survey_files.legacysurvey(tmp_path / "cutouts" / "a.h5", count=3, size=64)
    of_survey = predict.run(request(head_model, tmp_path / "cutouts", tmp_path / "survey.parquet", limit=2))
    assert of_survey["objects"] == 2
    names = {"mine.npz", "cutouts", "store.parquet", "files.parquet", "survey.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == names
    with pytest.raises(UserError, match=r"--split test: .*mine.npz is not a store"):
        predict.run(request(head_model, tmp_path / "mine.npz", tmp_path / "x.parquet", split="test"))
    with pytest.raises(UserError, match="neither a store nor anything that a source of astroclip reads"):
        predict.run(request(head_model, tmp_path / "store.parquet", tmp_path / "x.parquet"))
