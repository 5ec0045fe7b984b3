"""The same object seen again has the noise that was asked for."""

import numpy as np
import pytest

from polycli.astroclip.data.store import Spectra
from polycli.astroclip.scoring.second_look import another_image, another_spectrum


def test_an_image_is_turned_and_gets_as_much_noise_again():
    rng = np.random.default_rng(0)
    images = (
        rng.standard_normal((6, 3, 120, 120)).astype(np.float32) * np.array([0.1, 1, 10], np.float32)[:, None, None]
    )
    again = another_image(images, np.arange(6), seed=1)
    added = again - images[:, :, ::-1, ::-1]
    assert added.std(axis=(0, 2, 3)) == pytest.approx([0.1, 1, 10], rel=0.05)


def test_a_spectrum_gets_the_noise_that_its_inverse_variance_says_and_none_where_it_says_nothing():
    flux, ivar = np.ones((4, 6000), np.float32), np.full((4, 6000), 25, np.float32)
    ivar[:, :100] = 0
    again = another_spectrum(Spectra(flux, ivar, ivar == 0), np.arange(4), seed=1)
    assert (again.flux[:, :100] == 1).all()
    assert (again.flux[:, 100:] - 1).std() == pytest.approx(1 / 5, rel=0.03)
    assert again.ivar.max() == 12.5
    assert (flux == 1).all(), "what was read is not changed"


def test_a_second_look_depends_on_the_object_and_not_on_its_batch():
    images = np.random.default_rng(0).standard_normal((4, 3, 40, 40)).astype(np.float32)
    whole = another_image(images, np.array([5, 6, 7, 8]), seed=0)
    alone = another_image(images[2:3], np.array([7]), seed=0)
    assert np.array_equal(whole[2:3], alone)
    assert not np.array_equal(another_image(images, np.array([5, 6, 7, 8]), seed=1), whole)
