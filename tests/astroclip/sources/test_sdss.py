"""Spectrum files of SDSS: letters of both cases, grids of other lengths, ids beyond 64 signed bits."""

import numpy as np
import pytest
import zarr
from astropy.io import fits

from polycli.astroclip.prepare import run
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.sdss import SdssSource
from polycli.errors import SourceError
from polycli.requests import PrepareRequest
from polycli.workflow.sources import find_source

RECIPE = PrepareRecipe(family="astroclip", verb="prepare")
#: plate 15000 << 50 and more: a number that int64 does not hold.
LARGE = "16888498602639360123"


def spectrum_file(
    path, *, first=35_500, pixels=40, capitals=False, number=" " * 4 + "299489677444933632", full=False, off=0.0, **row
):
    """A file in the layout of the data model; returns its flux, inverse variance and and_mask."""
    generator = np.random.default_rng(first + pixels)
    flux = generator.normal(5, 1, pixels).astype(np.float32)
    ivar = generator.uniform(0.5, 2, pixels).astype(np.float32)
    flags = np.zeros(pixels, np.int32)
    ivar[3], flags[5] = 0, 1 << 23
    loglam = ((first + np.arange(pixels)) * 1e-4 + off).astype(np.float32)
    names = ["flux", "loglam", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model"]
    values = [flux, loglam, ivar, flags, flags, flux, flux, flux]
    kinds = ["J" if name.endswith("mask") else "E" for name in names]
    columns = [
        fits.Column(name.upper() if capitals else name, kind, array=value)
        for name, kind, value in zip(names, kinds, values, strict=True)
    ]
    about = {
        "Z": 0.1,
        "Z_ERR": 1e-5,
        "ZWARNING": 0,
        "CLASS": "GALAXY",
        "PLUG_RA": 10.5,
        "PLUG_DEC": -1.25,
        "PLATE": 266,
    }
    about |= row
    described = [
        fits.Column(name, {str: "10A", int: "J", float: "D"}[type(value)], array=[value])
        for name, value in about.items()
        if value is not None
    ]
    if number is not None:
        described.append(fits.Column("SPECOBJID", "22A", array=[number]))
    units = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="COADD")]
    units.append(fits.BinTableHDU.from_columns(described, name="SPALL"))
    units += [fits.BinTableHDU.from_columns(columns, name="B1-00012345")] * full
    fits.HDUList(units).writeto(path)
    return flux, ivar, flags


def _listing(*inputs, limit=None):
    return SdssSource().open(list(inputs), RECIPE, limit)


def test_a_spectrum_keeps_flux_and_variance_and_masks_what_is_flagged(tmp_path):
    flux, ivar, flags = spectrum_file(tmp_path / "spec-0266-51602-0001.fits")
    listing = _listing(tmp_path)
    payload = listing.reader.read(listing.file, listing.row)

    np.testing.assert_array_equal(payload.spectrum[0], flux)
    np.testing.assert_array_equal(payload.mask[0], (flags != 0) | (ivar == 0))
    np.testing.assert_array_equal(payload.ivar[0], np.where(payload.mask[0], 0, ivar))
    np.testing.assert_allclose(listing.wavelength, 10 ** (3.55 + 1e-4 * np.arange(40)), rtol=1e-12)
    assert listing.ids.tolist() == ["299489677444933632"]
    assert (listing.ra[0], listing.dec[0], listing.redshift[0]) == (10.5, -1.25, 0.1)


@pytest.mark.parametrize("full", [False, True])
def test_capitals_and_small_letters_full_and_lite_are_the_same(tmp_path, full):
    spectrum_file(tmp_path / "a.fits")
    spectrum_file(tmp_path / "b.fits", capitals=True, full=full)
    small, capital = _listing(tmp_path / "a.fits"), _listing(tmp_path / "b.fits")

    one, other = (each.reader.read(each.file, each.row) for each in (small, capital))
    np.testing.assert_array_equal(one.spectrum, other.spectrum)
    np.testing.assert_array_equal(one.ivar, other.ivar)
    assert small.ids.tolist() == capital.ids.tolist()


def test_spectra_of_other_lengths_share_the_grid_that_any_covers(tmp_path):
    short, *_ = spectrum_file(tmp_path / "spec-1.fits", first=35_510, pixels=20, number="1")
    long, *_ = spectrum_file(tmp_path / "spec-2.fits", first=35_500, pixels=50, number=LARGE)
    listing = _listing(tmp_path)
    payload = listing.reader.read(np.array([1, 0], np.int32), np.zeros(2, np.int64))

    assert listing.wavelength.size == 50
    assert listing.ids.tolist() == ["1", LARGE]
    np.testing.assert_array_equal(payload.spectrum[0], long)
    np.testing.assert_array_equal(payload.spectrum[1, 10:30], short)
    assert payload.mask[1, :10].all()
    assert not payload.ivar[1, 30:].any()


def test_a_redshift_is_good_without_warning_and_of_a_galaxy(tmp_path):
    spectrum_file(tmp_path / "1.fits", number="1")
    spectrum_file(tmp_path / "2.fits", number="2", ZWARNING=4)
    spectrum_file(tmp_path / "3.fits", number="3", CLASS="QSO")
    listing = _listing(tmp_path)

    assert listing.good_redshift.tolist() == [True, False, False]
    assert {column.name: column.values.tolist() for column in listing.columns} == {
        "CLASS": ["GALAXY", "GALAXY", "QSO"],
        "ZWARNING": [0, 4, 0],
        "PLATE": [266] * 3,
        "Z_ERR": [1e-5] * 3,
    }


def test_a_file_without_an_id_of_its_own_is_named_after_itself(tmp_path, capsys):
    spectrum_file(tmp_path / "spec-015143-59205-4544940698.fits", number=None)

    assert _listing(tmp_path).ids.tolist() == ["015143-59205-4544940698"]
    assert "no SPECOBJID in 1 files" in capsys.readouterr().err


def test_wavelengths_off_the_lattice_are_refused(tmp_path):
    spectrum_file(tmp_path / "a.fits", off=4e-5)

    with pytest.raises(SourceError, match="not in steps of 1e-4"):
        _listing(tmp_path / "a.fits")


def test_wavelengths_that_are_no_logarithms_are_refused(tmp_path):
    spectrum_file(tmp_path / "a.fits", first=4 * 10_000 * 1000)

    with pytest.raises(SourceError, match="log10 of wavelengths in Angstrom was expected"):
        _listing(tmp_path / "a.fits")


def test_foreign_files_of_a_folder_are_left_out_and_named_ones_refused(tmp_path, capsys):
    spectrum_file(tmp_path / "a.fits")
    fits.PrimaryHDU(np.zeros((4, 4), np.float32)).writeto(tmp_path / "picture.fits")

    assert len(_listing(tmp_path)) == 1
    assert "left out" in capsys.readouterr().err
    with pytest.raises(SourceError, match="no table with flux, ivar and loglam"):
        _listing(tmp_path / "picture.fits")


def test_predict_finds_the_source_by_a_look(tmp_path):
    spectrum_file(tmp_path / "a.fits")

    assert find_source("astroclip", [tmp_path]) == "sdss"


def test_files_become_a_store_on_an_even_grid(tmp_path):
    """The mean flux density over a range of wavelengths is the same on both grids."""
    flux, ivar, flags = spectrum_file(tmp_path / "in.fits", pixels=400)
    run(
        PrepareRequest(
            source="sdss",
            inputs=(tmp_path / "in.fits",),
            output=tmp_path / "s.zarr",
            overrides=("resample.first=3560", "resample.last=3870", "resample.step=2"),
            workers=1,
        )
    )

    given, even = 10 ** (3.55 + 1e-4 * np.arange(400)), 3560 + 2.0 * np.arange(156)
    good, inside = (flags == 0) & (ivar > 0) & (given > 3580) & (given < 3850), (even > 3580) & (even < 3850)
    spectrum = zarr.open_array(tmp_path / "s.zarr" / "spectrum", mode="r")[0]
    assert spectrum[inside].mean() == pytest.approx(np.average(flux[good], weights=given[good]), rel=0.01)
