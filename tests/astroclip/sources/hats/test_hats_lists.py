"""Images and spectra as lists of numbers in HATS: units and media that the recipe names, and those that cannot be."""

import numpy as np
import pyarrow as pa
import pytest

from polycli.astroclip.sources.hats.source import HatsSource
from polycli.errors import SourceError

COUNT = 24


def _read(listing):
    return listing.reader.read(listing.file, listing.row)


def _lists(hats, wavelength, *, scale=1.0):
    """A table of spectra as lists with standard deviations; returns their fluxes too."""
    ra, dec = hats.objects(COUNT)
    flux = np.random.default_rng(0).normal(3, 1, (COUNT, wavelength.size))
    columns = {
        "spectrum": pa.array([(row * scale).tolist() for row in flux]),
        "error": pa.array([np.full(wavelength.size, 0.5 * scale).tolist()] * COUNT),
        "wavelength": pa.array([wavelength.tolist()] * COUNT),
        "object_id": pa.array(np.arange(COUNT)),
        "ra": pa.array(ra),
        "dec": pa.array(dec),
    }
    return flux, pa.table(columns)


def test_lists_are_in_the_units_and_the_medium_that_the_recipe_names(tmp_path, hats):
    grid = np.linspace(4000, 7000, 31)
    for unit, given in (("nanometre", grid / 10), ("log10_Angstrom", np.log10(grid))):
        flux, table = _lists(hats, given, scale=1e-17)
        hats.write(tmp_path / unit, table)
        arrays = {"wavelength_unit": unit, "medium": "air", "flux_unit": 1.0}
        listing = HatsSource().open([tmp_path / unit], hats.recipe(arrays=arrays), None)
        payload = _read(listing)
        np.testing.assert_allclose(listing.wavelength, grid, rtol=1e-9)
        np.testing.assert_allclose(payload.spectrum, flux[listing.ids], rtol=1e-6)
        np.testing.assert_allclose(payload.ivar, 4.0, rtol=1e-6)
        assert (listing.spectrum.medium, listing.spectrum.ivar) == ("air", "measured")


@pytest.mark.parametrize(
    ("grid", "scale", "message"),
    [
        (np.linspace(400, 700, 31), 1.0, "in Angstrom is not visible light: are they in nanometres"),
        (np.linspace(3.6, 3.9, 31), 1.0, "are they logarithms of Angstrom"),
        (np.linspace(4000, 7000, 31), 1e-17, "which no galaxy has in 1e-17"),
    ],
)
def test_lists_that_cannot_be_in_the_units_of_a_store_are_refused(tmp_path, hats, grid, scale, message):
    hats.write(tmp_path, _lists(hats, grid, scale=scale)[1])
    with pytest.raises(SourceError, match=message):
        HatsSource().open([tmp_path], hats.recipe(), None)


def test_images_in_lists_that_cannot_be_nanomaggies_are_refused(tmp_path, hats):
    ra, dec = hats.objects(COUNT)
    pixels = hats.nested(np.full((COUNT, 3, 6, 6), 3e7), pa.float64())
    hats.write(tmp_path, pa.table({"image": pixels, "object_id": np.arange(COUNT), "ra": ra, "dec": dec}))
    with pytest.raises(SourceError, match=r"the brightest pixel of an image is 3e\+07 in the median"):
        HatsSource().open([tmp_path], hats.recipe(), None)
    listing = HatsSource().open([tmp_path], hats.recipe(arrays={"pixel_unit": "nanojansky"}), None)
    np.testing.assert_allclose(_read(listing).image, 3e7 / 3631, rtol=1e-3)
