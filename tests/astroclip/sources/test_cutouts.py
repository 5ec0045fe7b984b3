"""FITS cutouts, as the Legacy Surveys' viewer gives them: bands, positions and scales from their headers."""

import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip import open_objects
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.cutouts import CutoutSource
from polycli.errors import SourceError
from polycli.workflow.sources import find_source

RECIPE = PrepareRecipe(family="astroclip", verb="prepare")


def cutout(path, *, bands="grz", size=24, ra=150.1, dec=2.2, scale=0.262, seed=0, **header):
    """A file in the viewer's layout; returns its image (band, y, x)."""
    image = np.random.default_rng(seed).normal(0, 1, (len(bands), size, size + 2)).astype(np.float32)
    about = {
        "BANDS": bands,
        **{f"BAND{number}": band for number, band in enumerate(bands)},
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": (size + 2) / 2 + 0.5,
        "CRPIX2": size / 2 + 0.5,
        "CD1_1": -scale / 3600,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": scale / 3600,
        **header,
    }
    unit = fits.PrimaryHDU(image)
    for name, value in about.items():
        if value is not None:
            unit.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    unit.writeto(path)
    return image


def opened(*paths):
    return CutoutSource().open(paths, RECIPE, None)


def test_a_folder_of_cutouts_becomes_a_store(tmp_path, prepare):
    images = {name: cutout(tmp_path / "in" / f"{name}.fits", seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    prepare("fits", tmp_path / "store.zarr", inputs=[tmp_path / "in"])
    store = open_objects(tmp_path / "store.zarr")
    assert store.id_texts() == ["a", "b", "c"]
    assert store.bands == ("g", "r", "z")
    assert store.about.image.size == (24, 26)
    assert store.about.image.pixel_scale_arcsec == 0.262
    for place, name in enumerate(images):
        np.testing.assert_array_equal(store.read_images([place])[0], images[name])
    np.testing.assert_allclose(store.column("ra"), 150.1, atol=1e-9)
    np.testing.assert_allclose(store.column("dec"), 2.2, atol=1e-9)


def test_files_are_known_by_their_image_and_its_bands(tmp_path, survey_files):
    cutout(tmp_path / "a.fits")
    fits.PrimaryHDU(np.zeros((3, 4, 4), np.float32)).writeto(tmp_path / "nameless.fits")
    survey_files.coadd(tmp_path / "coadd.fits", ids=[1])
    source = CutoutSource()
    assert source.accepts(tmp_path / "a.fits")
    assert not source.accepts(tmp_path / "nameless.fits")
    assert not source.accepts(tmp_path / "coadd.fits")
    assert find_source("astroclip", [tmp_path / "a.fits"]) == "fits"
    assert find_source("astroclip", [tmp_path / "coadd.fits"]) == "desi"
    with pytest.raises(SourceError, match="header names its bands in BANDS"):
        opened(tmp_path / "nameless.fits")


def test_a_cutout_without_a_place_has_the_surveys_scale(tmp_path):
    cutout(tmp_path / "a.fits", CTYPE1=None)
    listing = opened(tmp_path / "a.fits")
    assert np.isnan(listing.ra).all()
    assert listing.image.pixel_scale_arcsec == 0.262


@pytest.mark.parametrize(
    ("other", "words"),
    [({"size": 30}, "size in pixels"), ({"bands": "rz"}, "bands"), ({"scale": 0.5}, "pixel scale in arcsec 0.5")],
)
def test_cutouts_of_different_kinds_are_not_mixed(tmp_path, other, words):
    cutout(tmp_path / "a.fits")
    cutout(tmp_path / "b.fits", **other)
    with pytest.raises(SourceError, match=words) as refused:
        opened(tmp_path / "a.fits", tmp_path / "b.fits")
    assert refused.value.hint.endswith("prepare them into different stores")


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nanomaggy", 1),
        ("nanomaggies", 1),
        ("nmgy/pix", 1),
        ("maggy", 1e9),
        ("uJy", 1 / 3.631),
        ("Jy / pixel", 1e6 / 3.631),
    ],
)
def test_pixels_of_another_unit_become_nanomaggies(tmp_path, unit, factor):
    image = cutout(tmp_path / "a.fits", BUNIT=unit)
    listing = opened(tmp_path / "a.fits")
    found = listing.reader.read(listing.file, listing.row).image[0]
    np.testing.assert_allclose(found, image * factor, rtol=1e-4 if "Jy" in unit else 1e-6)
    if factor == 1:
        np.testing.assert_array_equal(found, image)


def with_units(*settings):
    arrays = dict(setting.split("=") for setting in settings)
    return RECIPE.model_copy(update={"arrays": RECIPE.arrays.model_validate(arrays)})


def test_a_unit_that_is_guessed_is_said_and_one_that_the_recipe_declares_counts(tmp_path, capsys):
    image = cutout(tmp_path / "a.fits")
    named = cutout(tmp_path / "b.fits", BUNIT="nanomaggy", seed=1)
    listing = opened(tmp_path / "a.fits", tmp_path / "b.fits")
    said = capsys.readouterr().err
    assert "a.fits and 0 of 1 others (no BUNIT): nothing names the unit of the pixels; taken are nanomaggies" in said
    assert "which is a guess; arrays.pixel_unit or arrays.zero_point declare it" in said
    np.testing.assert_array_equal(listing.reader.read(listing.file, listing.row).image, [image, named])

    # A jansky is 3631 of those whose magnitude is 0, and a nanomaggy is a pixel value of 1 at 22.5.
    for declared, factor in (("pixel_unit=jansky", 1e9 / 3631), ("zero_point=25", 0.1)):
        recipe = with_units(declared)
        listing = CutoutSource().open([tmp_path / "a.fits", tmp_path / "b.fits"], recipe, None)
        found = listing.reader.narrowed([0, 1]).read(listing.file, listing.row).image
        np.testing.assert_allclose(found[0], image * factor, rtol=1e-4)
        np.testing.assert_array_equal(found[1], named)
        assert declared.split("=")[0] in capsys.readouterr().err
    opened(tmp_path / "b.fits")
    assert "nothing names the unit" not in capsys.readouterr().err


@pytest.mark.parametrize(("factor", "words"), [(1e-9, "the brightest pixel"), (1e6, "the brightest pixel")])
def test_pixels_without_a_unit_that_cannot_be_nanomaggies_are_refused(tmp_path, factor, words):
    for name in ("a", "b"):
        cutout(tmp_path / f"{name}.fits")
        with fits.open(tmp_path / f"{name}.fits", mode="update") as file:
            file[0].data *= np.float32(factor)
    with pytest.raises(SourceError, match=rf"a\.fits and 1 of 1 others: {words}") as refused:
        opened(tmp_path / "a.fits", tmp_path / "b.fits")
    assert "arrays.pixel_unit" in refused.value.hint
    declared = CutoutSource().open([tmp_path / "a.fits"], with_units("zero_point=22.5"), None)
    assert declared.reader.unsaid == 1


@pytest.mark.parametrize("unit", ["adu", "electron/s", "MJy/sr", "mag", "DN"])
def test_pixels_that_are_no_flux_by_their_unit_are_refused(tmp_path, unit):
    cutout(tmp_path / "a.fits", BUNIT=unit)
    with pytest.raises(SourceError, match=rf"a\.fits: pixels are in {unit} \(BUNIT\), a flux such as nanomaggy"):
        opened(tmp_path / "a.fits")


def test_bands_that_the_image_has_not_are_refused(tmp_path):
    cutout(tmp_path / "a.fits", BANDS="griz")
    with pytest.raises(SourceError, match="names the bands griz, and the image has 3 planes"):
        opened(tmp_path / "a.fits")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in "xy":
        cutout(tmp_path / folder / "a.fits")
    cutout(tmp_path / "b.fits")
    assert opened(tmp_path).ids.tolist() == ["b", "x/a.fits", "y/a.fits"]


def test_cutouts_of_several_sizes_are_cropped_to_a_stated_one_and_that_is_said(tmp_path, prepare, capsys):
    images = {
        name: cutout(tmp_path / "in" / f"{name}.fits", seed=seed, size=size)
        for seed, (name, size) in enumerate({"a": 24, "b": 20, "c": 24}.items())
    }
    prepare("fits", tmp_path / "s.zarr", "images.crop=16", inputs=[tmp_path / "in"])
    store = open_objects(tmp_path / "s.zarr")

    assert store.about.image.size == (16, 16)
    assert "cutouts of 2 sizes (1 of 20 x 22, 2 of 24 x 26) are cropped to 16 x 16" in capsys.readouterr().err
    np.testing.assert_array_equal(store.read_images([1])[0], images["b"][:, 2:18, 3:19])
    np.testing.assert_array_equal(store.read_images([2])[0], images["c"][:, 4:20, 5:21])
    with pytest.raises(
        SourceError, match=r"size in pixels .* \(set images\.crop to no more than the smallest \(20\), or"
    ):
        opened(tmp_path / "in")
    with pytest.raises(SourceError, match=r"b\.fits: cutouts are 20 x 22 pixels, and images\.crop is 21"):
        prepare("fits", tmp_path / "t.zarr", "images.crop=21", inputs=[tmp_path / "in"])
