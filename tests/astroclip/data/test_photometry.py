"""Measurements on cutouts against Gaussians whose flux, size and axis ratio are known."""

import numpy as np
import pytest

from polycli.astroclip.data.photometry import image_features, photometry


def gaussian(flux, sigma, axis_ratio=1.0, angle=0.0, size=101):
    place = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(place, place, indexing="ij")
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    profile = np.exp(-0.5 * ((along / sigma) ** 2 + (across / (sigma * axis_ratio)) ** 2))
    return (flux * profile / profile.sum()).astype(np.float32)


def test_magnitudes_and_colours_are_those_of_the_fluxes():
    image = np.stack([gaussian(flux, 3.0) for flux in (10.0, 100.0, 1000.0)])[None]
    features = photometry(image)
    # 22.5 - 2.5 log10(flux in nanomaggies); the softening changes 10 nanomaggies by less than 1e-4.
    np.testing.assert_allclose(features[0, :3], [20.0, 17.5, 15.0], atol=1e-3)
    np.testing.assert_allclose(features[0, 3:], [2.5, 2.5], atol=1e-3)


def test_a_negative_flux_has_a_magnitude_too():
    assert np.isfinite(photometry(-np.ones((1, 3, 60, 60), np.float32))).all()


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
def test_size_and_axis_ratio_do_not_depend_on_the_angle(angle):
    image = np.stack([gaussian(100.0, 5.0, 0.5, angle)] * 3)[None]
    size, axis_ratio, asymmetry = image_features(image)[0, -3:]
    assert size == pytest.approx(5.0 * np.sqrt((1 + 0.25) / 2), rel=0.01)
    assert axis_ratio == pytest.approx(0.5, rel=0.02)
    assert asymmetry == pytest.approx(0, abs=1e-5)


def test_a_lopsided_object_is_asymmetric():
    image = gaussian(100.0, 3.0)
    image[50, 60] += 50
    assert image_features(np.stack([image] * 3)[None])[0, -1] > 0.5
