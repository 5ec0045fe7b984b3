"""Mixtures of Gaussians against the profiles that they stand for."""

import numpy as np
import pytest

from polycli.astroclip.sources.mock.profiles import DE_VAUCOULEURS, EXPONENTIAL, GAUSSIAN, Canvas, add_points


def _drawn(mixture, *, radius=6.0, axis_ratio=1.0, blur=0.5, angle=0.0, size=301, x=0.0, y=0.0):
    image = np.zeros((size, size), np.float32)
    Canvas(size, angle, x, y).add(image, mixture, flux=2.0, radius=radius, axis_ratio=axis_ratio, blur=blur)
    return image.astype(float)


def _distance(size, x=0.0, y=0.0):
    pixels = np.arange(size) - (size - 1) / 2
    return np.hypot(pixels - x, (pixels - y)[:, None])


@pytest.mark.parametrize(("mixture", "loss"), [(EXPONENTIAL, 1e-3), (GAUSSIAN, 1e-4), (DE_VAUCOULEURS, 0.01)])
def test_all_flux_is_in_the_image(mixture, loss):
    assert _drawn(mixture, radius=6.0).sum() == pytest.approx(2.0, rel=loss)


@pytest.mark.parametrize(("mixture", "allowed"), [(EXPONENTIAL, 0.03), (GAUSSIAN, 0.02), (DE_VAUCOULEURS, 0.06)])
def test_half_of_the_flux_is_within_the_half_light_radius(mixture, allowed):
    image = _drawn(mixture, radius=12.0)

    assert image[_distance(301) < 12.0].sum() / 2.0 == pytest.approx(0.5, abs=allowed)


def test_the_exponential_profile_falls_as_it_should():
    """exp(-1.678 r / r_e) between half a radius and three, by more than a factor of 60, within 5 per cent."""
    image = _drawn(EXPONENTIAL, radius=20.0, blur=0.1)
    row = image[150, 150:]
    places = np.arange(10, 60)
    ratio = row[places] / np.exp(-1.67835 * places / 20.0)

    assert ratio.std() / ratio.mean() < 0.03
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.08


def test_axis_ratio_and_angle_are_those_of_the_second_moments():
    image = _drawn(GAUSSIAN, radius=10.0, axis_ratio=0.5, blur=0.01, angle=0.6)
    pixels = np.arange(301) - 150.0
    x, y = np.meshgrid(pixels, pixels)
    moments = [(image * weight).sum() / image.sum() for weight in (x * x, y * y, x * y)]
    values, vectors = np.linalg.eigh([[moments[0], moments[2]], [moments[2], moments[1]]])
    long = vectors[:, 1]

    assert np.sqrt(values[0] / values[1]) == pytest.approx(0.5, abs=0.005)
    assert np.arctan2(long[1], long[0]) % np.pi == pytest.approx(0.6, abs=0.005)


def test_the_psf_adds_its_variance():
    image = _drawn(GAUSSIAN, radius=5.0, blur=4.0)
    variance = (image * np.square(np.arange(301) - 150.0)).sum() / image.sum()

    # A half-light radius of 5 is a variance of 25 / (2 ln 2).
    assert variance == pytest.approx(25 / (2 * np.log(2)) + 16, rel=2e-3)


def test_a_profile_at_the_edge_stays_in_the_image_and_one_outside_leaves_it_empty():
    assert 0.3 < _drawn(GAUSSIAN, x=150.0).sum() < 1.2
    assert _drawn(GAUSSIAN, x=400.0).sum() == 0


def test_points_equal_round_gaussians_drawn_one_by_one():
    image = np.zeros((41, 41), np.float32)
    x, y, flux = np.array([3.3, -8.0]), np.array([0.0, 5.5]), np.array([1.0, 2.0])
    add_points(image, x, y, flux, 2.0)
    expected = sum(
        light / (8 * np.pi) * np.exp(-0.5 * np.square(_distance(41, across, up) / 2))
        for across, up, light in zip(x, y, flux, strict=True)
    )

    np.testing.assert_allclose(image, expected, atol=1e-6)
