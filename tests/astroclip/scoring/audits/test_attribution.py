"""Attribution by occlusion: it falls on what an answer is made of, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from polycli.astroclip import open_objects
from polycli.astroclip.data.rgb import centre_crop
from polycli.astroclip.scoring.audits.attribution import (
    PATCHES,
    STRETCH,
    Attributed,
    attribution_scores,
    hidden_patches,
    hidden_stretches,
    line_redshifts,
    of_image,
    of_spectrum,
    ridge_answer,
    stretches_with_lines,
)
from polycli.astroclip.sources.mock.cosmology import kpc_per_arcsec
from polycli.report.bootstrap import Bootstrap


def answer(vectors):
    return vectors[:, 0].astype(float)


def encoder(store, encode):
    return SimpleNamespace(store=store, batch_size=50, encode=encode)


def test_an_answer_from_one_line_has_its_attribution_there(mock_store):
    store = open_objects(mock_store)
    redshift = float(store.column("redshift", [3])[0])
    pixel = round((6564.6 * (1 + redshift) - 3600) / 0.8)
    near = slice(pixel - 3, pixel + 4)
    found = of_spectrum(
        encoder(store, lambda spectra: spectra.flux[:, near].mean(axis=1)[:, None]), 3, answer, redshift
    )
    whole = store.read_spectra([3]).flux[0]
    by_hand = [abs(line[near].mean() - whole[near].mean()) for line in hidden_stretches(whole)]
    assert found.moves == pytest.approx(np.array(by_hand), abs=1e-5)
    assert set(np.flatnonzero(found.moves)) <= {(pixel - 3) // STRETCH, (pixel + 3) // STRETCH}
    # H alpha has [N II] 15 to 20 Angstrom beside it, less than a stretch away.
    assert found.expected[pixel // STRETCH]
    scores = attribution_scores([found], Bootstrap(samples=10))
    assert scores.share > 0.5 > scores.chance


@pytest.mark.parametrize("pixels", [50, 7])
def test_a_spectrum_of_few_pixels_has_shorter_stretches(pixels):
    flux, wavelength = np.ones(pixels, np.float32), np.linspace(4000.0, 10000.0, pixels)
    flux[5] = 9
    hidden = hidden_stretches(flux)
    stretch = pixels // len(hidden)
    assert stretch == max(1, pixels // 8)
    assert [row for row in range(len(hidden)) if hidden[row].max() < 9] == [5 // stretch]
    line = stretches_with_lines(wavelength, wavelength[5] / 6564.6 - 1)
    assert line.shape == (len(hidden),)
    assert line[5 // stretch]


def test_a_hidden_stretch_is_a_straight_line_between_the_means_beside_it():
    flux = np.arange(10 * STRETCH, dtype=np.float32)
    flux[3 * STRETCH + 5] = 1e4
    hidden = hidden_stretches(flux)
    assert hidden.shape == (10, 10 * STRETCH)
    third = hidden[3, 3 * STRETCH : 4 * STRETCH]
    sides = flux[3 * STRETCH - 32 : 3 * STRETCH].mean(), flux[4 * STRETCH : 4 * STRETCH + 32].mean()
    assert third == pytest.approx(np.linspace(*sides, STRETCH))
    assert (np.delete(hidden[3], np.arange(3 * STRETCH, 4 * STRETCH)) < 1e4).all()
    # At an end there is one side alone.
    assert np.ptp(hidden[0, :STRETCH]) == 0


def test_lines_lie_where_the_redshift_puts_them():
    wavelength = 3600 + 0.8 * np.arange(7781)
    for redshift in (0.0, 0.2, 0.5):
        expected = stretches_with_lines(wavelength, redshift)
        assert expected.shape == (7781 // STRETCH,)
        for line in (3727.1, 4862.7, 5008.2, 6564.6):
            place = int((line * (1 + redshift) - 3600) / 0.8) // STRETCH
            assert place >= len(expected) or expected[place]
    assert stretches_with_lines(wavelength, 0.2).mean() < 0.25


def test_spectra_in_the_rest_frame_have_their_lines_at_rest(mock_store):
    store = open_objects(mock_store)
    rows = np.array([2, 5])
    assert line_redshifts(store, rows) == pytest.approx(store.target("redshift", rows))
    rest = store.about.spectrum.model_copy(update={"frame": "rest"})
    store.about = store.about.model_copy(update={"spectrum": rest})
    assert line_redshifts(store, rows).tolist() == [0.0, 0.0]


def test_an_answer_from_the_middle_of_an_image_has_its_attribution_on_the_galaxy(mock_store):
    store = open_objects(mock_store)
    middle = slice(28, 36)
    found = of_image(
        encoder(store, lambda pixels: pixels[:, :, middle, middle].sum(axis=(1, 2, 3))[:, None]), 2, answer, 48
    )
    whole = store.read_images([2])[0]
    by_hand = [
        abs(image[:, middle, middle].sum() - whole[:, middle, middle].sum()) for image in hidden_patches(whole, 48)
    ]
    assert found.moves.ravel() == pytest.approx(np.array(by_hand), rel=1e-4, abs=1e-4)
    radius = float(store.column("radius", [2])[0]) / float(kpc_per_arcsec(store.column("redshift", [2]))[0]) / 0.262
    places = 6 * (np.arange(PATCHES) - 3.5)
    assert (found.expected == (np.hypot(places[:, None], places) <= max(2 * radius, 6))).all()
    assert attribution_scores([found], Bootstrap(samples=10)).share == pytest.approx(1)


def test_patches_cover_what_the_model_sees_and_nothing_else():
    image = np.random.default_rng(0).standard_normal((3, 64, 64)).astype(np.float32)
    changed = (hidden_patches(image, 48) != image).any(axis=1)
    assert changed.sum(axis=0).max() == 1
    assert (changed.any(axis=0)[8:56, 8:56]).all()
    assert changed.sum() == 48 * 48


@pytest.mark.parametrize("margin", range(8))
def test_patches_lie_where_the_encoder_crops_whatever_the_margins(margin):
    image = np.random.default_rng(0).standard_normal((3, 16 + margin, 16 + margin)).astype(np.float32)
    seen = centre_crop(torch.from_numpy(image), 16).numpy()
    changed = (hidden_patches(image, 16) != image).any(axis=(0, 1))
    np.testing.assert_array_equal(image[:, changed], seen.reshape(3, -1))


def test_shares_are_means_over_objects_and_nobody_is_scored_without_a_truth():
    moves = np.array([1.0, 3.0, 0.0, 0.0])
    known = [Attributed(0, moves, np.array([False, True, True, False])), Attributed(1, moves, moves == 1)]
    scores = attribution_scores([*known, Attributed(2, moves, None)], Bootstrap(samples=10))
    assert (scores.share, scores.chance, scores.objects) == (0.5, 0.375, 2)
    assert attribution_scores([Attributed(2, moves, None)], Bootstrap(samples=10)) is None


def test_the_answer_is_that_of_a_ridge_regression():
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((60, 5))
    target = vectors @ np.arange(5) + generator.standard_normal(60)
    scale = StandardScaler().fit(vectors)
    expected = RidgeCV(alphas=np.logspace(-3, 6, 19)).fit(scale.transform(vectors), target)
    asked = generator.standard_normal((7, 5)).astype(np.float32)
    assert ridge_answer(vectors, target)(asked) == pytest.approx(expected.predict(scale.transform(asked)))
