"""From files to a store: pairs, catalogues, what is rejected, parts, and repeated lines."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip.data.description import QUALITY_BITS
from polycli.astroclip.data.store import open_objects
from polycli.errors import SourceError, StoreError, UserError
from polycli.inspection import inspect_path
from polycli.store.manifest import read_manifest

ARCSEC = 1 / 3600


def _content(store):
    """Every file of a store."""
    return {path.relative_to(store): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def test_the_mock_becomes_a_store_that_says_what_it_holds(mock_store):
    store = open_objects(mock_store)
    about = store.about

    assert about.image.bands == ("g", "r", "z")
    assert (about.image.size, about.image.pixel_scale_arcsec, about.image.unit) == ((64, 64), 0.262, "nanomaggy")
    assert (about.spectrum.pixels, about.spectrum.first, about.spectrum.step) == (7781, 3600.0, 0.8)
    assert (about.spectrum.flux_unit, about.spectrum.medium, about.spectrum.frame) == (
        "1e-17 erg/s/cm2/A",
        "vacuum",
        "observed",
    )
    assert {"logm", "ssfr", "age", "metallicity", "b_over_t", "axis_ratio", "morphology"} <= set(store.columns)
    assert store.unit("logm") == "log10(Msun)"
    assert (store.target("redshift") > 0).all()


def test_statistics_are_of_the_training_rows_alone(mock_store):
    store = open_objects(mock_store)
    train = store.rows("train")
    images = store.read_images(train).astype(np.float64)
    spectra = store.read_spectra(train)
    flux = spectra.flux.astype(np.float64)[~spectra.mask]

    for place, band in enumerate(store.bands):
        found = store.manifest.statistics["image"][band]
        assert found["mean"] == pytest.approx(images[:, place].mean(), rel=1e-9)
        assert found["std"] == pytest.approx(images[:, place].std(), rel=1e-9)
        assert found["max"] == images[:, place].max()
    found = store.manifest.statistics["spectrum"]["flux"]
    assert (found["count"], found["mean"]) == (flux.size, pytest.approx(flux.mean(), rel=1e-9))
    assert store.manifest.statistics["columns"]["redshift"]["mean"] == pytest.approx(
        store.target("redshift", train).mean()
    )


@pytest.mark.parametrize("parts", [1, 3])
def test_parts_workers_and_one_command_give_the_same_bytes(tmp_path, prepare, parts, monkeypatch):
    monkeypatch.setattr("polycli.astroclip.data.staging.BLOCK", 8)
    monkeypatch.setattr("polycli.astroclip.data.publishing.BLOCK", 8)
    line = ("mock.objects=20", "mock.size=32")
    prepare("mock", tmp_path / "one" / "s.zarr", *line)
    output = tmp_path / "parts" / "s.zarr"
    for part in reversed(range(parts)):
        prepare("mock", output, *line, part=(part, parts))
    assert not output.exists()
    prepare("mock", output, *line, finalize=True)

    assert _content(output) == _content(tmp_path / "one" / "s.zarr")


def test_a_part_that_is_missing_is_named_and_can_be_repeated(tmp_path, prepare, monkeypatch):
    monkeypatch.setattr("polycli.astroclip.data.staging.BLOCK", 8)
    monkeypatch.setattr("polycli.astroclip.data.publishing.BLOCK", 8)
    line = ("mock.objects=20", "mock.size=32")
    for part in (0, 2, 2):
        prepare("mock", tmp_path / "s.zarr", *line, part=(part, 3))
    with pytest.raises(StoreError, match="part 1/3 did not finish"):
        prepare("mock", tmp_path / "s.zarr", *line, finalize=True)
    prepare("mock", tmp_path / "s.zarr", *line, part=(1, 3))

    assert prepare("mock", tmp_path / "s.zarr", *line, finalize=True)["stores"][0]["objects"] == 20


def test_a_limit_takes_the_first_objects_and_two_workers_change_nothing(tmp_path, prepare):
    prepare("mock", tmp_path / "two.zarr", "mock.objects=140", "mock.size=32", limit=132, workers=2)
    prepare("mock", tmp_path / "few.zarr", "mock.objects=6", "mock.size=32")
    two, few = open_objects(tmp_path / "two.zarr"), open_objects(tmp_path / "few.zarr")

    assert len(two) == 132
    assert np.array_equal(two.ids([0, 5]), few.ids([0, 5]))
    assert np.array_equal(two.read_images([0, 5]), few.read_images([0, 5]))


def test_the_same_line_again_finds_its_store_and_another_one_is_refused(tmp_path, prepare):
    first = prepare("mock", tmp_path / "s.zarr", "mock.objects=4", "mock.size=32")["stores"][0]
    again = prepare("mock", tmp_path / "s.zarr", "mock.objects=4", "mock.size=32")["stores"][0]

    assert (first["new"], again["new"]) == (True, False)
    assert first["store_hash"] == again["store_hash"]
    with pytest.raises(StoreError, match="already exists, prepared from other input or with other options"):
        prepare("mock", tmp_path / "s.zarr", "mock.objects=5", "mock.size=32")


def test_a_dry_run_writes_nothing_and_says_what_there_would_be(tmp_path, prepare, capsys):
    document = prepare("mock", tmp_path / "out" / "s.zarr", "mock.objects=1000", dry_run=True)

    assert document["objects"] == 1000
    assert document["bytes"] > 1000 * (3 * 152 * 152 * 4 + 7781 * 9)
    assert "1,000" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def _pair_files(tmp_path, survey_files):
    """Five cutouts and four spectra, of which three are within an arcsecond; two across right ascension 0."""
    ra, dec = np.array([0.0, 359.99995, 20.0, 30.0, 40.0]), np.array([0.0, 10.0, 89.9999, 5.0, -5.0])
    images = survey_files.legacysurvey(tmp_path / "images/a.h5", count=5, ra=ra, dec=dec)
    ids = survey_files.desi_ids(4, start=500)
    survey_files.coadd(
        tmp_path / "spectra/coadd-x.fits",
        ids=ids,
        ra=np.array([200.0, 40.0 + 0.5 * ARCSEC, 0.0 - 0.3 * ARCSEC, 0.00005]),
        dec=np.array([89.9997, -5.0, 0.0, 10.0]),
    )
    return images, ids


def test_cutouts_and_spectra_pair_on_the_sky(tmp_path, prepare, survey_files):
    images, ids = _pair_files(tmp_path, survey_files)
    inputs = [tmp_path / "images", tmp_path / "spectra"]
    done = prepare("legacysurvey+desi", tmp_path / "s.zarr", inputs=inputs)["stores"][0]
    store = open_objects(tmp_path / "s.zarr")
    pairing = store.about.pairing

    assert done["pairs"] == 3
    assert store.ids().tolist() == ids[[1, 2, 3]].tolist()
    assert np.array_equal(store.read_images(range(3)), images[[4, 0, 1]])
    assert store.read_spectra(range(3)).flux.shape == (3, 7781)
    assert (pairing.images_left, pairing.spectra_left, pairing.radius_arcsec) == (2, 1, 1.0)
    assert store.column("image_id").tolist() == survey_files.desi_ids(5)[[4, 0, 1]].tolist()
    assert {"flux_r", "FLUX_R", "ebv"} <= set(store.columns)


def test_cutouts_and_spectra_pair_by_id(tmp_path, prepare, survey_files):
    images = survey_files.legacysurvey(tmp_path / "a.h5", count=4)
    ids = survey_files.desi_ids(6)[[2, 5, 0]]
    survey_files.coadd(tmp_path / "coadd-x.fits", ids=ids)
    prepare(
        "desi+legacysurvey", tmp_path / "s.zarr", "pair.by=id", inputs=[tmp_path / "a.h5", tmp_path / "coadd-x.fits"]
    )
    store = open_objects(tmp_path / "s.zarr")

    assert store.ids().tolist() == ids[[0, 2]].tolist()
    assert np.array_equal(store.read_images([0, 1]), images[[2, 0]])
    assert "image_id" not in store.columns


def test_of_a_source_with_both_halves_a_pair_takes_the_images_and_the_other_source_the_spectra(
    tmp_path, prepare, survey_files
):
    (group,) = survey_files.joint(tmp_path / "joint.h5", groups=(3,))
    arrays = survey_files.coadd(tmp_path / "coadd-x.fits", ids=group["targetids"][[2, 0]])
    inputs = [tmp_path / "joint.h5", tmp_path / "coadd-x.fits"]
    prepare("astroclip+desi", tmp_path / "s.zarr", "pair.by=id", inputs=inputs)
    store = open_objects(tmp_path / "s.zarr")

    assert store.about.spectrum.ivar == "measured"
    assert np.array_equal(store.read_images([0, 1]), group["images"][[2, 0]].transpose(0, 3, 2, 1))
    # Before the first overlap of two cameras, pixels are as they are in the file.
    np.testing.assert_allclose(store.read_spectra([0, 1]).flux[:, :2000], arrays["B_FLUX"][:, :2000], rtol=1e-6)


def test_an_empty_pairing_is_refused_and_nothing_is_written(tmp_path, prepare, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5", count=2)
    survey_files.coadd(tmp_path / "b.fits", ids=survey_files.desi_ids(2), ra=np.array([100.0, 101.0]))

    with pytest.raises(SourceError, match="nothing pairs: no two positions are within 1 arcsec of 2 images"):
        prepare("legacysurvey+desi", tmp_path / "s.zarr", inputs=[tmp_path / "a.h5", tmp_path / "b.fits"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.fits"]


def test_two_sources_of_the_same_kind_do_not_pair(tmp_path, prepare, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5", count=2)
    np.savez(tmp_path / "b.npz", image=np.ones((2, 3, 12, 12)), object_id=[1, 2])

    with pytest.raises(SourceError, match="legacysurvey and arrays both hold images alone"):
        prepare("legacysurvey+arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.h5", tmp_path / "b.npz"])


def _arrays(path, **changes):
    generator = np.random.default_rng(0)
    arrays = {
        "image": generator.standard_normal((6, 3, 8, 8)).astype(np.float32),
        "spectrum": (generator.standard_normal((6, 40)) + 4).astype(np.float32),
        "ivar": np.ones((6, 40), np.float32),
        "wavelength": 4000.0 + 2 * np.arange(40),
        "object_id": 39633297352951412 + np.arange(6),
        **changes,
    }
    np.savez(path, **arrays)
    return arrays


def test_bad_rows_are_kept_out_and_listed_with_reason_and_id(tmp_path, prepare):
    arrays = _arrays(tmp_path / "a.npz")
    arrays["image"][0, 1] = 0
    arrays["spectrum"][1, 5] = np.nan
    arrays["ivar"][2] = 0
    arrays["ivar"][3, :30] = 0
    arrays["image"][4, 2, 3, 3] = np.inf
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(StoreError):
        open_objects(tmp_path / "s.zarr")
    prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    manifest = read_manifest(tmp_path / "s.zarr")

    assert open_objects(tmp_path / "s.zarr").ids().tolist() == [39633297352951417]
    assert [(left.id, left.reason.split(":")[0], left.source) for left in manifest.rejected] == [
        ("39633297352951412", "missing band", "a.npz"),
        ("39633297352951413", "non-finite value", "a.npz"),
        ("39633297352951414", "no valid pixel", "a.npz"),
        ("39633297352951415", "masked", "a.npz"),
        ("39633297352951416", "non-finite value", "a.npz"),
    ]


def test_when_every_row_is_bad_nothing_is_left_behind(tmp_path, prepare):
    _arrays(tmp_path / "a.npz", ivar=np.zeros((6, 40), np.float32))

    with pytest.raises(SourceError, match="all 6 objects were rejected: no valid pixel"):
        prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_of_nothing_but_sky_fibres_is_refused_with_the_reason(tmp_path, prepare, survey_files):
    survey_files.coadd(tmp_path / "coadd.fits", ids=[-5, -6], objtype=["SKY", "SKY"])

    with pytest.raises(SourceError, match="no object is left: not a target: OBJTYPE is SKY"):
        prepare("desi", tmp_path / "s.zarr", inputs=[tmp_path / "coadd.fits"])


def test_repeated_ids_and_repeated_content_are_kept_once_and_listed(tmp_path, prepare):
    arrays = _arrays(tmp_path / "a.npz")
    arrays["object_id"][4] = arrays["object_id"][1]
    arrays["image"][5], arrays["spectrum"][5] = arrays["image"][0], arrays["spectrum"][0]
    np.savez(tmp_path / "a.npz", **arrays)
    prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    rejected = read_manifest(tmp_path / "s.zarr").rejected

    assert len(open_objects(tmp_path / "s.zarr")) == 4
    assert [(left.id, left.reason) for left in rejected] == [
        ("39633297352951413", "duplicated id: first in a.npz, row 1"),
        ("39633297352951417", "duplicate of a.npz 39633297352951412: equal content"),
    ]


def test_an_impossible_position_is_refused_and_an_impossible_redshift_is_unknown(tmp_path, prepare, capsys):
    _arrays(tmp_path / "a.npz", ra=np.full(6, 10.0), dec=np.array([0, 0, -999.0, 0, 120.0, np.nan]))
    with pytest.raises(SourceError, match=r"a\.npz: dec is -999 for 39633297352951414 and out of range for 1 others"):
        prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

    _arrays(tmp_path / "a.npz", redshift=np.array([0.1, -99.0, np.nan, -0.001, -1.0, np.inf]))
    prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    assert "2 redshifts are -1 or less, such as -99 of 39633297352951413: taken for unknown" in capsys.readouterr().err
    store = open_objects(tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.column("redshift"), [0.1, np.nan, np.nan, -0.001, np.nan, np.nan])
    flagged = (store.column("quality") & QUALITY_BITS["no_redshift"]) > 0
    assert flagged.tolist() == [False, True, True, False, True, True]


def test_a_redshift_from_a_catalogue_is_good_where_redrock_has_none_or_doubts(tmp_path, prepare, survey_files):
    ids = survey_files.desi_ids(3)
    survey_files.coadd(tmp_path / "coadd-x.fits", ids=ids)
    survey_files.redrock(tmp_path / "redrock-x.fits", ids=ids[:2], redshift=[0.1, 0.2], warning=[0, 4])
    (tmp_path / "z.csv").write_text(f"TARGETID,Z\n{ids[2]},0.3\n")
    catalogues = json.dumps([{"path": str(tmp_path / "z.csv"), "redshift": "Z"}])
    options = ("select.good_redshifts=true", f"catalogues={catalogues}")
    prepare("desi", tmp_path / "s.zarr", *options, inputs=[tmp_path / "coadd-x.fits"])
    store = open_objects(tmp_path / "s.zarr")

    assert dict(zip(store.ids().tolist(), store.column("redshift").tolist(), strict=True)) == {ids[0]: 0.1, ids[2]: 0.3}
    assert not (store.column("quality") & QUALITY_BITS["no_good_redshift"]).any()


def test_a_mark_for_an_unknown_redshift_takes_no_known_one_away(tmp_path, prepare, survey_files, capsys):
    (group,) = survey_files.joint(tmp_path / "joint.h5", groups=(3,))
    ids, known = group["targetids"], group["redshifts"]
    survey_files.coadd(tmp_path / "coadd-x.fits", ids=ids)
    survey_files.redrock(tmp_path / "redrock-x.fits", ids=ids, redshift=[-99.0, 0.5, 0.25])
    (tmp_path / "z.csv").write_text(f"TARGETID,Z\n{ids[1]},-1\n{ids[2]},0.75\n")
    catalogues = json.dumps([{"path": str(tmp_path / "z.csv"), "redshift": "Z"}])
    inputs = [tmp_path / "joint.h5", tmp_path / "coadd-x.fits"]
    prepare("astroclip+desi", tmp_path / "s.zarr", "pair.by=id", f"catalogues={catalogues}", inputs=inputs)
    store = open_objects(tmp_path / "s.zarr")

    assert store.ids().tolist() == ids.tolist()
    np.testing.assert_array_equal(store.column("redshift"), [known[0], 0.5, 0.75])
    assert not (store.column("quality") & QUALITY_BITS["no_good_redshift"]).any()
    said = capsys.readouterr().err
    assert f"1 redshifts are -1 or less, such as -99 of {ids[0]}: taken for unknown" in said
    assert f"z.csv: 1 redshifts are -1 or less, such as -1 of {ids[1]}: taken for unknown" in said


def test_a_recipe_may_ask_for_good_redshifts_alone(tmp_path, prepare, survey_files):
    ids = survey_files.desi_ids(4)
    survey_files.coadd(tmp_path / "coadd-x.fits", ids=ids)
    survey_files.redrock(tmp_path / "redrock-x.fits", ids=ids[:3], redshift=[0.1, np.nan, 0.3], warning=[0, 0, 4])
    prepare("desi", tmp_path / "all.zarr", inputs=[tmp_path])
    prepare("desi", tmp_path / "good.zarr", "select.good_redshifts=true", inputs=[tmp_path / "coadd-x.fits"])
    everything = open_objects(tmp_path / "all.zarr")

    assert [int(value) for value in everything.column("quality")] == [0, 1, 2, 1]
    assert open_objects(tmp_path / "good.zarr").ids().tolist() == [ids[0]]
    assert [left.reason.split(":")[0] for left in read_manifest(tmp_path / "good.zarr").rejected] == [
        "no redshift",
        "no good redshift",
        "no redshift",
    ]


def test_bands_are_chosen_by_name_and_a_band_that_is_not_there_is_refused(tmp_path, prepare):
    arrays = _arrays(tmp_path / "a.npz")
    prepare("arrays", tmp_path / "s.zarr", "select.bands=[z,g]", inputs=[tmp_path / "a.npz"])
    store = open_objects(tmp_path / "s.zarr")

    assert store.bands == ("z", "g")
    assert np.array_equal(store.read_images(range(6)), arrays["image"][:, [2, 0]])
    with pytest.raises(SourceError, match="there is no band i: the images have g, r, z"):
        prepare("arrays", tmp_path / "t.zarr", "select.bands=[i]", inputs=[tmp_path / "a.npz"])


def test_a_hundred_pixels_of_three_tenths_are_three_hundred_of_one_tenth(tmp_path, prepare):
    """They were 299: 0.3 / 0.1 is 2.9999999999999996 in floating point."""
    images = np.random.default_rng(0).normal(0, 0.1, (4, 1, 100, 10)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=images, object_id=np.arange(4))
    line = ("arrays.bands=[r]", "arrays.pixel_scale_arcsec=0.3", "resample.pixel_scale_arcsec=0.1")
    prepare("arrays", tmp_path / "s.zarr", *line, inputs=[tmp_path / "a.npz"])
    store = open_objects(tmp_path / "s.zarr")

    assert store.about.image.size == (300, 30)
    np.testing.assert_allclose(
        store.read_images([0])[0, 0].reshape(100, 3, 10, 3).sum(axis=(1, 3)), images[0, 0], atol=1e-5
    )


def test_cutouts_that_all_have_a_margin_name_the_keys_that_keep_them(tmp_path, prepare):
    images = np.full((3, 1, 12, 12), 0.5, np.float32)
    images[..., :2] = np.nan
    np.savez(tmp_path / "a.npz", image=images, object_id=np.arange(3))
    with pytest.raises(SourceError, match="all 3 objects were rejected: non-finite value: 24 pixels") as refusal:
        prepare("arrays", tmp_path / "s.zarr", "arrays.bands=[r]", inputs=[tmp_path / "a.npz"])
    assert "--set images.fill=0" in refusal.value.hint


def test_what_the_recipe_says_is_resampled_and_carried(tmp_path, prepare):
    arrays = _arrays(tmp_path / "a.npz")
    line = ("resample.first=4002", "resample.last=4070", "resample.step=4", "resample.pixel_scale_arcsec=0.524")
    prepare("arrays", tmp_path / "s.zarr", *line, inputs=[tmp_path / "a.npz"])
    store = open_objects(tmp_path / "s.zarr")

    assert (store.about.image.pixel_scale_arcsec, store.about.image.size) == (0.524, (4, 4))
    np.testing.assert_allclose(
        store.read_images([2])[0], arrays["image"][2].reshape(3, 4, 2, 4, 2).sum(axis=(2, 4)), atol=1e-5
    )
    assert store.wavelength.tolist() == [4002.0 + 4 * place for place in range(18)]
    with pytest.raises(SourceError, match="the wavelengths do not overlap"):
        prepare(
            "arrays",
            tmp_path / "t.zarr",
            *("resample.first=9000", "resample.last=9100", "resample.step=4"),
            inputs=[tmp_path / "a.npz"],
        )


def test_a_catalogue_of_the_recipe_becomes_properties(tmp_path, prepare):
    arrays = _arrays(tmp_path / "a.npz")
    rows = [f"{number},{value}" for number, value in zip(arrays["object_id"][:4], (10.5, 11, 9.5, 10), strict=True)]
    (tmp_path / "masses.csv").write_text("\n".join(["object_id,LOGM", *rows]))
    catalogues = json.dumps([{"path": str(tmp_path / "masses.csv"), "columns": ["LOGM"]}])
    prepare("arrays", tmp_path / "s.zarr", f"catalogues={catalogues}", inputs=[tmp_path / "a.npz"])
    store = open_objects(tmp_path / "s.zarr")

    np.testing.assert_array_equal(store.target("LOGM"), [10.5, 11, 9.5, 10, np.nan, np.nan])
    assert "masses.csv" in [source.name for source in store.manifest.sources]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("weather", "--source weather: astroclip has no such source"),
        ("desi+desi", "0 inputs, two were expected"),
        ("desi+sdss+mmu", "one source was expected, or two with + between them"),
        ("desi+", "--source : astroclip has no such source"),
    ],
)
def test_sources_that_are_not_there_are_refused(tmp_path, prepare, source, sentence):
    with pytest.raises(UserError, match=sentence.replace("+", r"\+")):
        prepare(source, tmp_path / "s.zarr")


def test_the_real_coadds_become_a_store(tmp_path, prepare, shared):
    """Two tiles of DESI's early data release: one spectrum each can be kept, one of them with a redshift."""
    data = shared / "data/desi"
    prepare("desi", tmp_path / "s.zarr", inputs=[data])
    store = open_objects(tmp_path / "s.zarr", verify="full")
    manifest = store.manifest
    with fits.open(data / "redrock-4-80613-thru20210324.fits") as file:
        target, redshift = (int(file["REDSHIFTS"].data["TARGETID"][0]), float(file["REDSHIFTS"].data["Z"][0]))

    assert store.about.spectrum.pixels == 7781
    assert store.ids().tolist() == [target, 39633300968442591]
    np.testing.assert_array_equal(store.target("redshift"), [redshift, np.nan])
    assert {left.id: left.reason.split(":")[0] for left in manifest.rejected} == {
        "39633297352951412": "bad fibre",
        "-1695072": "not a target",
        "-1695064": "not a target",
        "-1695073": "not a target",
    }
    flux = store.read_spectra([0]).flux[0]
    with fits.open(data / "coadd-4-80613-thru20210324.fits") as file:
        # Outside the overlaps a spectrum is that of one camera.
        np.testing.assert_array_equal(flux[:2700], file["B_FLUX"].data[0, :2700])
        np.testing.assert_array_equal(flux[2751:4900], file["R_FLUX"].data[0, 51:2200])
        np.testing.assert_array_equal(flux[5026:], file["Z_FLUX"].data[0, 126:])
    shutil.rmtree(tmp_path / "s.zarr")


def test_what_was_filled_and_what_is_partly_blank_is_counted_by_name(tmp_path, prepare, capsys):
    images = np.random.default_rng(0).normal(1, 0.1, (5, 1, 12, 12)).astype(np.float32)
    images[1, :, :, :1] = np.nan  # 12 of 144 pixels, 8 %: filled, and not notable.
    images[2, :, :, :3] = np.nan  # 25 %: filled and notable.
    images[3, 0, 4:9, 4:9] = 0  # 17 % that were 0 before.
    images[4, 0, 5, 5] = np.nan  # A hole: rejected, and flagged no more.
    np.savez(tmp_path / "a.npz", image=images, object_id=np.arange(5))
    asked = ("arrays.bands=[r]", "images.fill=0")
    prepare("arrays", tmp_path / "s.zarr", *asked, inputs=[tmp_path / "a.npz"])
    said = " ".join(capsys.readouterr().err.split())

    assert "4 objects" in said
    assert "1 rejected" in said
    assert "s: 2 cutouts filled by images.fill; flagged in the column quality: image_partly_blank 2" in said
    flagged = open_objects(tmp_path / "s.zarr").manifest.flagged
    assert [(entry.source, entry.id, entry.reason.split(":")[0]) for entry in flagged] == [
        ("a.npz", "1", "images.fill"),
        ("a.npz", "2", "images.fill"),
        ("a.npz", "2", "image_partly_blank"),
        ("a.npz", "3", "image_partly_blank"),
    ]
    assert open_objects(tmp_path / "s.zarr").manifest.about["doubts"] == {"image_partly_blank": 2, "images.fill": 2}
    assert flagged[0].reason == "images.fill: 12 pixels of the margins"
    shown = " ".join(" ".join(inspect_path(tmp_path / "s.zarr").lines).split())
    assert "1 rejected, 4 flagged" in shown
    assert "quality no_redshift (1) of 4, image_partly_blank (16) of 2, no_position (32) of 4, of 4 objects" in shown
