"""Grids changed on purpose keep flux, and their errors are those of the pixels they are made of."""

import numpy as np
import pytest

from polycli.astroclip.data.resampling import (
    describe_grid,
    recipe_grid,
    refuse_without_overlap,
    resample_spectra,
    rescale_images,
)
from polycli.astroclip.recipe.preparing import ResampleSection
from polycli.errors import SourceError

FOUND = 4000.0 + np.arange(400.0)


def _resampled(flux, wanted, ivar=None, mask=None):
    flux = np.atleast_2d(flux).astype(np.float32)
    ivar = np.ones_like(flux) if ivar is None else np.atleast_2d(ivar).astype(np.float32)
    mask = np.zeros(flux.shape, np.bool_) if mask is None else np.atleast_2d(mask)
    return resample_spectra(flux, ivar, mask, FOUND, wanted)


def test_a_straight_spectrum_stays_straight_on_any_grid():
    wanted = np.array([4010.3, 4020.0, 4033.3, 4050.1, 4060.0])
    flux, _, mask = _resampled(3 + 0.01 * FOUND, wanted)
    # A mean over a pixel of a straight line is its value in the middle of the pixel's edges.
    edges = np.concatenate([[wanted[0] - 4.85], (wanted[1:] + wanted[:-1]) / 2, [wanted[-1] + 4.95]])

    np.testing.assert_allclose(flux[0], 3 + 0.01 * (edges[1:] + edges[:-1]) / 2, rtol=1e-5)
    assert not mask.any()


def test_pixels_put_together_keep_their_flux_and_their_weight():
    generator = np.random.default_rng(0)
    values = generator.standard_normal(400)
    wanted = 4001.0 + 3 * np.arange(20)
    flux, ivar, _ = _resampled(values, wanted)

    np.testing.assert_allclose(flux[0], values[:60].reshape(20, 3).mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(ivar[0], 3.0, rtol=1e-6)


def test_masked_pixels_do_not_enter_and_pixels_without_cover_are_masked():
    mask = np.zeros(400, np.bool_)
    mask[1] = True
    mask[30:40] = True
    values = np.ones(400)
    values[mask] = 1e6
    flux, ivar, bad = _resampled(values, 4001.0 + 3 * np.arange(20), mask=mask)

    np.testing.assert_allclose(flux[0][~bad[0]], 1.0)
    assert ivar[0, 0] == pytest.approx(2.0)
    assert np.flatnonzero(bad[0]).tolist() == [10, 11, 12]
    assert _resampled(np.ones(400), np.array([3000.0, 3010.0, 4100.0, 4101.0]))[2][0].tolist()[:2] == [True, True]


def test_images_keep_their_flux_on_a_coarser_and_a_finer_scale():
    image = np.zeros((1, 2, 16, 16), np.float32)
    image[0, 0, 5:11, 6:10] = np.random.default_rng(0).uniform(1, 2, (6, 4))
    for factor, size in ((0.5, 8), (2.0, 32), (0.262 / 0.4, 10)):
        scaled = rescale_images(image, factor, (size, size))
        assert scaled.shape == (1, 2, size, size)
        assert scaled.sum() == pytest.approx(image.sum(), rel=1e-5)
    halves = rescale_images(image, 0.5, (8, 8))
    np.testing.assert_allclose(halves[0, 0], image[0, 0].reshape(8, 2, 8, 2).sum(axis=(1, 3)), rtol=1e-5)


def test_a_grid_in_a_recipe_has_its_ends():
    grid = recipe_grid(ResampleSection(first=3600, last=9824, step=0.8))

    assert (grid.size, grid[0], grid[-1]) == (7781, 3600.0, pytest.approx(9824.0))
    assert recipe_grid(ResampleSection()) is None
    with pytest.raises(ValueError, match="given together"):
        ResampleSection(first=1.0)


@pytest.mark.parametrize("values", [[1.0, 1.0, 2.0], [3.0, 2.0, 1.0], [1.0, np.nan, 3.0]])
def test_wavelengths_that_do_not_rise_are_refused(values):
    with pytest.raises(SourceError, match="must be finite and rise"):
        describe_grid(np.array(values), what="x")


def test_a_grid_of_which_less_than_half_is_reached_is_refused_with_the_share():
    model = 3600 + 0.8 * np.arange(7781)
    refuse_without_overlap(np.linspace(3000, 6712, 50), model, what="half")
    refuse_without_overlap(np.linspace(1000, 20_000, 50), model, what="all")

    with pytest.raises(SourceError, match=r"near.*overlap with 22% of the grid alone: 8454 to 16000 A were found"):
        refuse_without_overlap(np.linspace(8454, 16_000, 50), model, what="near infrared")
    with pytest.raises(SourceError, match="do not overlap"):
        refuse_without_overlap(np.linspace(9825, 16_000, 50), model, what="beyond")
