"""The simulated survey: the same galaxies whoever makes them, physics that hangs together, and what can be learnt."""

import numpy as np
import pytest

from polycli.astroclip.data.description import PIXEL_SCALE
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.mock import MockSource, continuum, images, population, spectra
from polycli.errors import SourceError

H_ALPHA = 6564.6


def _listing(count: int, seed: int = 0):
    recipe = PrepareRecipe.model_validate(
        {"family": "astroclip", "verb": "prepare", "mock": {"objects": count, "seed": seed, "size": 64}}
    )
    return MockSource().open([], recipe, None)


@pytest.fixture(scope="module")
def galaxies():
    parts = [population.block_of_galaxies(0, block, 19.5) for block in range(6)]
    return {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("redshift", "mass", "ssfr", "flux", "quiescent", "axis_ratio", "age", "bulge_fraction")
    }


def test_a_galaxy_depends_on_its_number_and_the_seed_alone():
    whole = _listing(130)
    rows = np.array([129, 3, 64])
    together = whole.reader.read(np.zeros(3, np.int32), rows)
    alone = _listing(140).reader.read(np.zeros(1, np.int32), np.array([3]))

    assert np.array_equal(together.image[1], alone.image[0])
    assert np.array_equal(together.spectrum[1], alone.spectrum[0])
    assert together.columns[0].values[1] == alone.columns[0].values[0]
    other = _listing(130, seed=1).reader.read(np.zeros(1, np.int32), np.array([3]))
    assert not np.array_equal(other.image[0], alone.image[0])


def test_ids_are_distinct_above_2_to_the_53rd_and_differ_from_seed_to_seed():
    first, second = _listing(3000).ids, _listing(3000, seed=1).ids

    assert first.min() > 2**53
    assert len({*first.tolist(), *second.tolist()}) == 6000


def test_the_population_is_that_of_a_flux_limited_survey(galaxies):
    magnitude = 22.5 - 2.5 * np.log10(galaxies["flux"][:, 1])

    assert magnitude.max() < 19.5
    # As in research on such surveys: mean redshift about 0.2, mean log mass about 10.5, a third quiescent.
    assert 0.15 < galaxies["redshift"].mean() < 0.25
    assert 10.1 < galaxies["mass"].mean() < 10.9
    assert 0.15 < galaxies["quiescent"].mean() < 0.6
    assert galaxies["axis_ratio"].min() >= 0.2


def test_quiescent_galaxies_are_redder_and_farther_ones_redder_too(galaxies):
    colour = 2.5 * np.log10(galaxies["flux"][:, 1] / galaxies["flux"][:, 0])
    near = galaxies["redshift"] < 0.2

    assert colour[galaxies["quiescent"] & near].mean() > colour[~galaxies["quiescent"] & near].mean() + 0.2
    passive = galaxies["quiescent"]
    assert np.corrcoef(colour[passive], galaxies["redshift"][passive])[0, 1] > 0.6


def test_flux_in_a_band_of_a_flat_spectrum_is_its_ab_magnitude():
    """A source of constant f_nu has the same flux in every band, whatever the redshift: 3.631e-29 erg/s/cm2/Hz."""
    distance, redshift = np.array([100.0, 500.0]), np.array([0.02, 0.15])
    area = 4 * np.pi * (distance * 3.0856775814913673e24) ** 2
    # L_lambda d lambda = L_nu d nu at rest; observed f_nu = (1 + z) L_nu / area.
    luminosity = 3.631e-29 * area / (1 + redshift)
    per_wavelength = luminosity[:, None] * 2.99792458e18 / np.square(continuum.WAVELENGTH)

    # The edge of the grid of rest wavelengths leaves out what is beyond.
    np.testing.assert_allclose(continuum.observed_flux(per_wavelength, redshift, distance), 1.0, rtol=3e-3)


def test_dust_follows_calzetti():
    # Calzetti et al. 2000, equation 4 with R_V = 4.05: k(5500) / 4.05 is 1 within their fit.
    assert continuum.attenuation(np.array([5500.0]))[0] == pytest.approx(1.0, abs=0.01)
    assert continuum.attenuation(np.array([1500.0]))[0] == pytest.approx(10.33 / 4.05, abs=0.1)


def test_spectrum_and_image_are_of_the_same_galaxy():
    """The noiseless spectrum through the r band is the flux within the fibre, as the image shows it."""
    block = population.block_of_galaxies(3, 0, 19.5)
    generator = np.random.default_rng(0)
    # Magnitudes are of the continuum; only where there is hardly any gas do lines add nothing to it.
    for place in np.flatnonzero(block.ssfr < -11.5)[:4].tolist():
        seeing = images.draw_seeing(generator)
        look = images.draw_look(generator, block, place)
        image = images.draw_image(block, place, look, seeing, 96)
        fibre = images.fibre_flux(image)
        light = spectra.draw_spectrum(generator, block, place, fibre / block.flux[place])
        response = continuum.transmission(spectra.WAVELENGTH)[1]
        reference = np.trapezoid(response * 2.99792458e18 / spectra.WAVELENGTH, spectra.WAVELENGTH)
        photons = np.trapezoid(light * 1e-17 * response * spectra.WAVELENGTH, spectra.WAVELENGTH)
        measured = photons / reference / 3.631e-29

        # Absorption lines take a little away, and the fibre's share varies within the band.
        assert measured == pytest.approx(fibre[1], rel=0.05)


def test_lines_stand_at_the_redshift():
    block = population.block_of_galaxies(0, 0, 19.5)
    place = int(np.argmax(np.where(block.redshift < 0.3, block.ssfr + block.mass, -99)))
    light = spectra.draw_spectrum(np.random.default_rng(0), block, place, np.ones(3))
    centre = H_ALPHA * (1 + block.redshift[place])
    near = np.abs(spectra.WAVELENGTH - centre) < 60

    assert abs(spectra.WAVELENGTH[near][np.argmax(light[near])] - centre) < 1.0
    assert light[near].max() > 1.5 * np.median(light[near])


def test_the_noise_is_what_the_inverse_variance_says():
    generator = np.random.default_rng(0)
    flux = np.full(spectra.WAVELENGTH.size, 5.0)
    scaled = []
    for _ in range(20):
        seen, ivar, mask = spectra.observe(generator, flux)
        scaled.append(((seen - flux) * np.sqrt(ivar))[~mask])
        assert (ivar[mask] == 0).all()
    values = np.concatenate(scaled)

    assert values.std() == pytest.approx(1.0, abs=0.01)
    assert values.mean() == pytest.approx(0.0, abs=0.01)


def test_psf_and_noise_follow_the_fits_to_decals():
    """The median of a shifted log-normal is location + scale."""
    generator = np.random.default_rng(0)
    drawn = [images.draw_seeing(generator) for _ in range(4000)]
    psf, noise = (np.median([getattr(one, name) for one in drawn], axis=0) for name in ("psf", "noise"))

    np.testing.assert_allclose(psf, images.PSF_FITS[:, 1] + images.PSF_FITS[:, 2], rtol=0.02)
    np.testing.assert_allclose(noise, images.NOISE_FITS[:, 1] + images.NOISE_FITS[:, 2], rtol=0.03)


def test_the_fibre_takes_the_flux_within_its_radius():
    image = np.ones((3, 64, 64), np.float32)
    area = np.pi * (0.75 / PIXEL_SCALE) ** 2

    np.testing.assert_allclose(images.fibre_flux(image), area, rtol=0.01)


def test_axis_ratio_can_be_seen_in_images():
    """Second moments of disks follow it; a fibre in their middle could not tell."""
    whole = _listing(200)
    payload = whole.reader.read(np.zeros(192, np.int32), np.arange(192))
    truth = {column.name: column.values for column in payload.columns}
    disks = (truth["b_over_t"] < 0.3) & (truth["mag_r"] < 18.7)
    pixels = np.arange(64) - 31.5
    x, y = np.meshgrid(pixels, pixels)
    window = np.exp(-0.5 * (x**2 + y**2) / 10**2)
    ratios = []
    for image in payload.image[disks, 1]:
        weight = np.clip(image, 0, None) * window
        moments = [(weight * part).sum() / weight.sum() for part in (x * x, y * y, x * y)]
        values = np.linalg.eigvalsh([[moments[0], moments[2]], [moments[2], moments[1]]])
        ratios.append(np.sqrt(values[0] / values[1]))

    assert disks.sum() > 20
    assert np.corrcoef(ratios, truth["axis_ratio"][disks])[0, 1] > 0.7


def test_the_mock_reads_no_files(tmp_path):
    with pytest.raises(SourceError, match="reads no files"):
        MockSource().open([tmp_path], PrepareRecipe(family="astroclip", verb="prepare"), None)
