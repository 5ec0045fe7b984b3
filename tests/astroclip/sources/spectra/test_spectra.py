"""FITS files with one spectrum each, in the layouts of several instruments, read beside astropy."""

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.spectra.source import SpectraSource
from polycli.astroclip.sources.spectra.units import to_angstrom, to_flux_density
from polycli.errors import SourceError, StoreError
from polycli.workflow.sources import find_source

PIXELS = 60
UNIT = "erg / (s cm2 Angstrom)"


def recipe(**spectra):
    grid = spectra.pop("resample", {})
    return PrepareRecipe(family="astroclip", verb="prepare", spectra=spectra, resample=grid)


def opened(path, **spectra):
    listing = SpectraSource().open([path], recipe(**spectra), None)
    return listing, listing.reader.read(listing.file, listing.row)


def values(seed=0, scale=1e-17):
    draw = np.random.default_rng(seed)
    return draw.normal(5, 1, PIXELS) * scale, draw.uniform(0.2, 1, PIXELS) * scale


def image(path, flux, *, error=None, ivar=None, **header):
    """A primary image with an axis of wavelengths, as IRAF leaves it, and extensions beside it."""
    hdus = [fits.PrimaryHDU(np.asarray(flux, np.float32))]
    for name, value in header.items():
        hdus[0].header[name.replace("__", "-")] = value
    for name, beside in (("ERROR", error), ("IVAR", ivar)):
        if beside is not None:
            hdus.append(fits.ImageHDU(np.asarray(beside, np.float64), name=name))
    fits.HDUList(hdus).writeto(path)
    return path


def test_an_image_with_a_linear_axis(tmp_path):
    flux, error = values(scale=1)
    about = {"CRVAL1": 4000.0, "CRPIX1": 3.0, "CD1_1": 1.5, "CTYPE1": "LINEAR", "BUNIT": "1e-17 erg/cm2/s/A"}
    path = image(tmp_path / "ngc.fits", flux, error=error, RA="10:20:30", DEC="-05:06:07.2", Z=0.25, **about)
    listing, payload = opened(path)

    np.testing.assert_allclose(listing.wavelength, 4000 + 1.5 * (np.arange(PIXELS) - 2), rtol=1e-12)
    np.testing.assert_allclose(payload.spectrum[0], flux, rtol=1e-6)
    np.testing.assert_allclose(payload.ivar[0], error**-2, rtol=1e-5)
    assert listing.ids.tolist() == ["ngc"]
    assert (listing.ra[0], listing.dec[0], listing.redshift[0]) == pytest.approx((155.125, -5.102, 0.25))
    assert (listing.spectrum.ivar, listing.spectrum.medium) == ("measured", "vacuum")


@pytest.mark.parametrize(
    ("ra", "dec"),
    [("10h20m30s", "-05d06m07.2s"), ("10 20 30", "-05 06 07.2"), ("155.125", " -5.102"), (155.125, "-05:06:07.2")],
)
def test_positions_and_redshifts_that_are_texts_in_the_header_are_not_lost(tmp_path, ra, dec):
    about = {"CRVAL1": 4000.0, "CDELT1": 1.5, "CTYPE1": "WAVE", "CUNIT1": "Angstrom", "BUNIT": UNIT}
    path = image(tmp_path / "a.fits", values()[0], RA=ra, DEC=dec, Z="0.25", **about)
    listing, _ = opened(path)
    assert (listing.ra[0], listing.dec[0], listing.redshift[0]) == pytest.approx((155.125, -5.102, 0.25))


def test_a_logarithmic_axis_of_iraf(tmp_path):
    flux, error = values(scale=1)
    path = image(tmp_path / "a.fits", flux, ivar=error**-2, CRVAL1=3.6, CDELT1=1e-3, DC__FLAG=1)
    listing, payload = opened(path, flux_unit=1e-16)

    np.testing.assert_allclose(listing.wavelength, 10 ** (3.6 + 1e-3 * np.arange(PIXELS)), rtol=1e-12)
    np.testing.assert_allclose(payload.spectrum[0], flux * 10, rtol=1e-6)
    np.testing.assert_allclose(payload.ivar[0], error**-2 / 100, rtol=1e-6)


@pytest.mark.parametrize(("kind", "medium"), [("WAVE-LOG", "vacuum"), ("AWAV-LOG", "air"), ("AWAV", "air")])
def test_axes_of_the_fits_standard_are_what_astropy_makes_of_them(tmp_path, kind, medium):
    flux, _ = values(scale=1)
    about = {"CTYPE1": kind, "CUNIT1": "m", "CRVAL1": 4e-7, "CDELT1": 2e-10, "CRPIX1": 5.0, "BUNIT": UNIT}
    path = image(tmp_path / "a.fits", flux, **about)
    listing, _ = opened(path)

    expected = WCS(fits.getheader(path)).all_pix2world(np.arange(PIXELS), 0)[0] * 1e10
    np.testing.assert_allclose(listing.wavelength, expected, rtol=1e-10)
    assert listing.spectrum.medium == medium
    assert listing.spectrum.ivar == "unknown"


def test_a_table_with_a_row_for_each_pixel(tmp_path):
    flux, error = values()
    table = QTable(
        {
            "WAVELENGTH": (400 + 0.2 * np.arange(PIXELS)) * units.nm,
            "FLUX": flux * units.Unit("erg s-1 cm-2 AA-1"),
            "ERROR": error * units.Unit("erg s-1 cm-2 AA-1"),
            "QUALITY": (np.arange(PIXELS) == 7).astype(np.int16),
        }
    )
    table.write(tmp_path / "a.fits")
    listing, payload = opened(tmp_path / "a.fits")

    np.testing.assert_allclose(listing.wavelength, 4000 + 2 * np.arange(PIXELS), rtol=1e-12)
    np.testing.assert_allclose(payload.spectrum[0], flux * 1e17, rtol=1e-6)
    np.testing.assert_allclose(payload.ivar[0], (error * 1e17) ** -2, rtol=1e-5)
    assert np.flatnonzero(payload.mask[0]).tolist() == [7]


def test_a_table_with_one_row_of_vectors_whose_wavelengths_fall(tmp_path):
    flux, error = values(scale=1)
    wavelength = 7000 - 2.0 * np.arange(PIXELS)
    form = f"{PIXELS}D"
    columns = [
        fits.Column("WAVE", form, unit="angstrom", array=wavelength[None]),
        fits.Column("FLUX", form, unit="10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)", array=flux[None]),
        fits.Column("IVAR", form, array=error[None] ** -2),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "a.fits")
    listing, payload = opened(tmp_path / "a.fits")

    np.testing.assert_allclose(listing.wavelength, wavelength[::-1], rtol=1e-12)
    np.testing.assert_allclose(payload.spectrum[0], flux[::-1], rtol=1e-6)
    np.testing.assert_allclose(payload.ivar[0], error[::-1] ** -2, rtol=1e-5)


def test_a_folder_of_other_lengths_becomes_a_store_on_the_grid_of_the_recipe(tmp_path, prepare):
    about = {"BUNIT": "1e-17 erg/cm2/s/A", "OBJECT": "x"}
    for number, step in enumerate((1.0, 1.5, 2.0)):
        flux = np.full(80 + number, 3.0 + number)
        image(tmp_path / f"s{number}.fits", flux, error=np.full(flux.size, 0.5), CRVAL1=4000.0, CDELT1=step, **about)
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "picture.fits")
    with pytest.raises(SourceError, match="objects have different wavelengths, 4000 to 4162 A in all"):
        opened(tmp_path)
    grid = ("resample.first=4010", "resample.last=4070", "resample.step=3")
    prepare("spectra", tmp_path / "s.zarr", *grid, inputs=[tmp_path])

    store = open_objects(tmp_path / "s.zarr")
    found = store.read_spectra(np.arange(3))
    assert store.id_texts() == ["s0", "s1", "s2"]
    np.testing.assert_allclose(found.flux, np.repeat([[3.0], [4.0], [5.0]], 21, axis=1), rtol=1e-6)
    # Pixels of 3 A from 4008.5 on take so many Angstrom of each pixel before them, all of variance 0.25.
    taken = ([1, 1, 1], [1.25, 1.5, 0.25], [0.5, 2, 0.5])
    expected = [np.sum(widths) ** 2 / np.sum(np.square(widths)) / 0.25 for widths in taken]
    np.testing.assert_allclose(found.ivar[:, 0], expected, rtol=1e-6)


def unlike(folder):
    """Three spectra of other lengths and steps, the shortest with a step of 2 A."""
    folder.mkdir()
    about = {"BUNIT": "1e-17 erg/cm2/s/A"}
    written = {}
    for name, first, step, pixels in (("a", 4000.0, 1.0, 101), ("b", 3990.0, 2.0, 51), ("c", 4005.0, 0.8, 120)):
        flux = np.random.default_rng(pixels).normal(5, 1, pixels).astype(np.float32)
        image(folder / f"{name}.fits", flux, error=np.full(pixels, 0.5), CRVAL1=first, CDELT1=step, **about)
        written[name] = (first + step * np.arange(pixels), flux)
    return written


def test_spectra_keep_their_own_wavelengths_where_that_is_asked_for(tmp_path, prepare):
    written = unlike(tmp_path / "in")
    with pytest.raises(SourceError, match="different wavelengths") as refusal:
        opened(tmp_path / "in")
    assert "resample.own=true" in refusal.value.hint
    prepare("spectra", tmp_path / "s.zarr", "resample.own=true", inputs=[tmp_path / "in"])

    store = open_objects(tmp_path / "s.zarr")
    about = store.about.spectrum
    assert (about.pixels, about.first, about.last, about.step, about.own) == (
        120,
        3990.0,
        pytest.approx(4100.2),
        None,
        True,
    )
    for row, name in enumerate(store.id_texts()):
        grid, flux = written[name]
        found = store.read_spectra([row])
        # Alone, a spectrum is as long as it is.
        np.testing.assert_allclose(found.wavelength, grid[None], rtol=1e-12)
        np.testing.assert_array_equal(found.flux, flux[None])
        np.testing.assert_allclose(found.ivar, 4.0)
        assert not found.mask.any()
        assert store.wavelength_ranges()[row] == pytest.approx([grid[0], grid[-1]])
    every = store.read_spectra(range(3))
    assert every.flux.shape == (3, 120)
    for row, name in enumerate(store.id_texts()):
        pixels = len(written[name][0])
        assert every.mask[row, pixels:].all()
        assert not every.wavelength[row, pixels:].any()
    with pytest.raises(StoreError, match="each spectrum has wavelengths of its own"):
        store.wavelength  # noqa: B018


def test_padding_is_no_part_of_what_a_spectrum_is_known_again_by_or_judged_by(tmp_path, prepare):
    unlike(tmp_path / "in")
    prepare("spectra", tmp_path / "all.zarr", "resample.own=true", inputs=[tmp_path / "in"])
    two = [tmp_path / "in" / f"{name}.fits" for name in "ab"]
    prepare("spectra", tmp_path / "two.zarr", "resample.own=true", inputs=two)

    stores = [open_objects(tmp_path / f"{name}.zarr") for name in ("all", "two")]
    known = [dict(zip(store.id_texts(), store.hashes(), strict=True)) for store in stores]
    assert known[0]["a"] == known[1]["a"]
    assert known[0]["b"] == known[1]["b"]
    # Of 120 pixels b has 51, and the limit of masked ones is a half; no bit but those of no redshift and no position.
    assert open_objects(tmp_path / "all.zarr").column("quality").tolist() == [1 | 32] * 3


def test_a_spectrum_that_reaches_less_than_half_of_the_grid_is_kept_out_with_the_share(tmp_path, prepare):
    about = {"BUNIT": "1e-17 erg/cm2/s/A", "CRVAL1": 4000.0, "CDELT1": 1.0}
    for name, pixels in (("whole", 101), ("most", 61), ("part", 41)):
        image(tmp_path / f"{name}.fits", np.linspace(3, 4, pixels), error=np.full(pixels, 0.5), **about)
    grid = ("resample.first=4000", "resample.last=4100", "resample.step=2")
    prepare("spectra", tmp_path / "s.zarr", *grid, inputs=[tmp_path])

    store = open_objects(tmp_path / "s.zarr")
    assert store.id_texts() == ["most", "whole"]
    (left_out,) = store.manifest.rejected
    # 20 of 51 pixels of 2 A are covered by more than half.
    assert (left_out.id, left_out.reason) == ("part", "masked: 59% of the pixels, 50% is the limit")


def test_the_recipe_names_what_files_call_otherwise(tmp_path):
    flux, error = values(scale=1)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("lam_um", "D", array=0.5 + 1e-4 * np.arange(PIXELS)),
            fits.Column("f", "D", array=flux),
            fits.Column("e", "D", array=error),
        ]
    )
    table.header["TARGET"] = "M31 "
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    names = {"flux": "f", "error": "e", "wavelength": "lam_um", "wavelength_unit": "micrometre", "object_id": "target"}
    listing, payload = opened(tmp_path / "a.fits", flux_unit=1e-17, medium="air", **names)

    np.testing.assert_allclose(listing.wavelength, 5000 + np.arange(PIXELS), rtol=1e-12)
    np.testing.assert_allclose(payload.ivar[0], error**-2, rtol=1e-5)
    assert (listing.ids.tolist(), listing.spectrum.medium) == (["M31"], "air")


@pytest.mark.parametrize(
    ("header", "spectra", "message"),
    [
        ({"CRVAL1": 4000.0, "CDELT1": 1.0}, {}, "the unit of primary is not said"),
        ({"CRVAL1": 4000.0, "CDELT1": 1.0, "BUNIT": "Jy"}, {}, "the unit of primary is Jy, one of erg/s/cm2/A"),
        ({"CRVAL1": 3.58, "CDELT1": 1e-4}, {"flux_unit": 1.0}, "CRVAL1 is 3.58, a logarithm of wavelengths or micro"),
        ({"CRVAL1": 400.0, "CDELT1": 0.1}, {"flux_unit": 1.0}, "wavelengths are 400 to 405.9.*nanometre"),
        ({"CRVAL1": 4000.0, "CDELT1": 0.0}, {"flux_unit": 1.0}, "do not rise or fall from pixel to pixel"),
        (
            {"CRVAL1": 4000.0, "CDELT1": 1.0, "CTYPE1": "AWAV"},
            {"flux_unit": 1.0, "medium": "vacuum"},
            "spectra.medium is vacuum, and the header says air",
        ),
        ({"CRVAL1": 1.0, "CDELT1": 1.0, "CUNIT1": "pixel"}, {"flux_unit": 1.0}, "the unit of the wavelengths is pixel"),
        ({"CRVAL1": 4000.0, "CDELT1": 1.0}, {"flux_unit": 1.0, "mask": "BAD"}, "has no BAD"),
        ({"CRVAL1": 4000.0, "CDELT1": 1.0}, {"flux_unit": 1.0, "object_id": "OBJ"}, "the header has no OBJ"),
        ({}, {"flux_unit": 1.0}, "has no wavelengths: neither CRVAL1 with CDELT1"),
    ],
)
def test_what_a_header_does_not_say_is_asked_for_by_key(tmp_path, header, spectra, message):
    path = image(tmp_path / "a.fits", values(scale=1)[0], **header)

    with pytest.raises(SourceError, match=message):
        opened(path, **spectra)


def _table(path, **columns):
    """A row for each pixel; each column is its values and unit."""
    QTable({name: units.Quantity(array, unit) if unit else array for name, (array, unit) in columns.items()}).write(
        path
    )
    return path


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("sigma", 0.5, "1e-17 erg / (s cm2 Angstrom)"),
        ("sigma", 0.5e-17, "erg / (s cm2 Angstrom)"),
        ("ivar", 4.0, "1e34 Angstrom2 s2 cm4 / erg2"),
        ("variance", 0.25, "1e-34 erg2 / (s2 cm4 Angstrom2)"),
        ("ivar", 4e32, "W / (m2 um)"),
        ("sigma", 0.5e-16, ""),
    ],
)
def test_noise_is_in_the_unit_that_its_own_column_states(tmp_path, name, value, unit):
    # 1 W/m2/um is 1e7 erg/s in 1e4 cm2 and 1e4 A: 0.1 erg/s/cm2/A.
    wave, flux = np.linspace(400, 700, PIXELS), np.linspace(1, 2, PIXELS) * 1e-16
    noise = np.full(PIXELS, value)
    path = _table(tmp_path / "a.fits", wave=(wave, "nm"), flux=(flux, "W / (m2 um)"), **{name: (noise, unit)})
    _, payload = opened(path)
    np.testing.assert_allclose(payload.spectrum[0], np.linspace(1, 2, PIXELS), rtol=1e-6)
    np.testing.assert_allclose(payload.ivar[0], 4.0, rtol=1e-5)


def test_noise_in_a_unit_of_something_else_is_refused(tmp_path):
    wave, flux = np.linspace(4000, 7000, PIXELS), np.ones(PIXELS)
    path = _table(tmp_path / "a.fits", wave=(wave, "AA"), flux=(flux, UNIT), error=(flux, "Jy"))
    with pytest.raises(SourceError, match="the unit of error is Jy, that of flux to the power of 1 was expected"):
        opened(path)


def test_logarithms_that_the_header_calls_angstrom_are_refused(tmp_path):
    wave = np.log10(np.linspace(4000, 7000, PIXELS))
    path = _table(tmp_path / "a.fits", wave=(wave, "AA"), flux=(np.ones(PIXELS), UNIT))
    with pytest.raises(
        SourceError, match=r"wavelengths are up to 3\.85 Angstrom by their unit, Angstrom: are they log"
    ):
        opened(path)
    listing, _ = opened(path, wavelength_unit="log10_Angstrom")
    np.testing.assert_allclose(listing.wavelength[[0, -1]], [4000, 7000], atol=0.01)


def test_files_in_air_and_in_vacuum_or_with_errors_and_without_are_not_mixed(tmp_path):
    about = {"CRVAL1": 4000.0, "CDELT1": 1.0, "BUNIT": UNIT}
    image(tmp_path / "a.fits", values()[0], CTYPE1="WAVE", **about)
    air = image(tmp_path / "b.fits", values()[0], CTYPE1="AWAV", **about)
    with pytest.raises(SourceError, match=r"wavelengths are in air, those of .* in vacuum"):
        opened(tmp_path)
    air.unlink()
    image(tmp_path / "c.fits", values()[0], error=values()[1], CTYPE1="WAVE", **about)
    with pytest.raises(SourceError, match=r"has inverse variances or errors, .* has none"):
        opened(tmp_path)


def test_several_spectra_in_an_image_and_truncated_files_are_refused(tmp_path):
    several = image(tmp_path / "a.fits", np.ones((5, PIXELS)), CRVAL1=4000.0, CDELT1=1.0, BUNIT=UNIT)
    with pytest.raises(SourceError, match=r"the image primary is \(5, 60\), one spectrum was expected"):
        opened(several)
    whole = image(tmp_path / "b.fits", np.ones(2000), CRVAL1=4000.0, CDELT1=1.0, BUNIT=UNIT)
    whole.write_bytes(whole.read_bytes()[:4000])
    with pytest.raises(SourceError, match="the FITS file is truncated or damaged"):
        opened(whole)


def test_files_are_known_by_what_is_in_them(tmp_path, survey_files):
    image(tmp_path / "a.fits", values()[0], CRVAL1=4000.0, CDELT1=1.0, BUNIT=UNIT)
    survey_files.coadd(tmp_path / "coadd.fits", ids=[1])

    assert find_source("astroclip", [tmp_path / "a.fits"]) == "spectra"
    assert find_source("astroclip", [tmp_path / "coadd.fits"]) == "desi"


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("10**(-16)erg.cm**(-2).s**(-1).angstrom**(-1)", 1e-16),
        ("1E-17 erg/cm^2/s/Ang", 1e-17),
        ("10-17 erg cm-2 s-1 A-1", 1e-17),
        ("erg/s/cm2/A", 1.0),
        ("W m-2 um-1", 1e-1),
        ("ergs/cm2/s/AA", 1.0),
        ("Jy", None),
        ("counts", None),
    ],
)
def test_flux_densities_are_known_however_they_are_written(text, factor):
    assert to_flux_density(text) == (factor if factor is None else pytest.approx(factor, rel=1e-12))


@pytest.mark.parametrize(("text", "factor"), [("Angstroms", 1), ("A", 1), ("nm", 10), ("um", 1e4), ("ANGSTROM", 1)])
def test_wavelengths_are_known_however_their_unit_is_written(text, factor):
    assert to_angstrom(text) == pytest.approx(factor, rel=1e-12)
