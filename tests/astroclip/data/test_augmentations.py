"""Augmentations against scipy and formulas: what they do, how often, and that they belong to the object."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from polycli.astroclip.data.augmentations import (
    GAPS,
    NOISE,
    SEEING,
    _added,
    augmented_spectrum,
    augmented_view,
    blurred,
    noisier_spectra,
    oriented,
    random_crop,
    rotated,
)
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.data.rgb import model_input, to_rgb
from polycli.astroclip.recipe.model import AugmentationSection

OFF = AugmentationSection(flip=0.0, rotation="none", crop="centre", blur=(0.0,), noise=(0.0,))


@pytest.fixture
def flux():
    return 0.1 * torch.randn(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_with_everything_off_a_view_is_the_plain_input(flux):
    assert torch.equal(augmented_view(flux, keys_of(0, torch.arange(6)), OFF, view=0, size=32), model_input(flux, 32))


@pytest.mark.parametrize("kind", ["stein", "flux"])
def test_a_view_ends_in_what_the_encoder_sees(flux, kind):
    view = augmented_view(flux, keys_of(0, torch.arange(6)), OFF, view=0, size=32, kind=kind)

    assert torch.equal(view, model_input(flux, 32, kind=kind))


def test_a_view_belongs_to_its_object_whatever_else_is_in_the_batch(flux):
    keys, section = keys_of(0, torch.arange(6)), AugmentationSection()

    whole = augmented_view(flux, keys, section, view=1, size=32)
    part = augmented_view(flux[2:4], keys[2:4], section, view=1, size=32)

    torch.testing.assert_close(whole[2:4], part, atol=1e-6, rtol=0)
    assert not torch.equal(whole, augmented_view(flux, keys, section, view=0, size=32))


def test_mirrors_and_swaps_are_numpys(flux):
    yes, no = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)

    assert torch.equal(oriented(flux, yes, no, no), flux.flip(3))
    assert torch.equal(oriented(flux, no, yes, no), flux.flip(2))
    quarter = np.rot90(flux.numpy(), axes=(2, 3)).copy()
    assert torch.equal(oriented(flux, yes, no, yes), torch.from_numpy(quarter))


def test_all_eight_orientations_come_equally_often():
    square = torch.arange(9.0).view(1, 1, 3, 3).expand(4000, 3, 3, 3)
    section = AugmentationSection(crop="centre", blur=(0.0,), noise=(0.0,))

    views = augmented_view(square / 9, keys_of(0, torch.arange(4000)), section, view=0, size=3)

    counts = views.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 8
    assert ((counts - 500).float().square() / 500).sum() < 25  # chi-square, 7 degrees of freedom, 999 of 1000


@pytest.mark.parametrize("angle", [math.pi / 2, math.pi, -math.pi / 2])
def test_a_rotation_by_quarters_moves_pixels_as_numpy_does(flux, angle):
    turns = round(angle / (math.pi / 2))

    found = rotated(flux, torch.full((6,), angle))

    expected = np.rot90(flux.numpy(), k=turns, axes=(2, 3)).copy()
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_crops_reach_every_place_and_no_more():
    image = torch.arange(100.0).view(1, 1, 10, 10).expand(500, 1, 10, 10)
    places = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))

    corners = random_crop(image, places, 8)[:, 0, 0, 0]

    assert sorted(set(corners.tolist())) == [10.0 * y + x for y in range(3) for x in range(3)]
    assert torch.equal(random_crop(image[:1], torch.zeros(1, 2), 8), image[:1, :, :8, :8])


def test_each_plane_is_convolved_with_its_own_gaussian(flux):
    deviations = torch.tensor([[0.0, 0.7, 2.5]] * 6) * torch.linspace(0.5, 1, 6)[:, None]

    found = blurred(flux, deviations)

    for image, planes, wanted in zip(flux.numpy(), found.numpy(), deviations.numpy(), strict=True):
        for plane, result, deviation in zip(image, planes, wanted, strict=True):
            expected = ndimage.gaussian_filter(plane, deviation, mode="mirror", radius=12) if deviation else plane
            np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("fits", [SEEING, NOISE])
def test_what_is_added_follows_the_published_fits(fits):
    added = _added(fits, ("g", "r", "z"), keys_of(0, torch.arange(20_000)), 5).double().numpy()

    for place, band in enumerate("grz"):
        fit = fits[band]
        law = stats.lognorm(fit.shape, fit.loc, fit.scale)
        generator = np.random.default_rng(0)
        before, after = law.rvs(20_000, random_state=generator), law.rvs(20_000, random_state=generator)
        expected = np.sqrt(np.clip(after**2 - before**2, 0, None))
        assert stats.ks_2samp(added[:, place], expected).pvalue > 1e-3
        assert (added[:, place] == 0).mean() == pytest.approx(0.5, abs=0.02)


def test_the_first_view_is_always_blurred_and_the_second_seldom_as_the_paper_says():
    point = torch.zeros(1, 3, 33, 33)
    point[:, :, 16, 16] = 0.01
    flux = point.expand(3000, 3, 33, 33)
    section = AugmentationSection(flip=0.0, rotation="none", crop="centre", noise=(0.0,))
    plain = to_rgb(point)
    changed = [
        (augmented_view(flux, keys_of(0, torch.arange(3000)), section, view=view, size=33) - plain)
        .abs()
        .amax((1, 2, 3))
        > 1e-4
        for view in range(2)
    ]

    # In each of three bands a lower seeing is drawn half of the time, which changes nothing.
    some_band = 1 - 0.5**3
    assert changed[0].float().mean() == pytest.approx(some_band, abs=0.03)
    assert changed[1].float().mean() == pytest.approx(0.1 * some_band, abs=0.02)


@pytest.fixture
def spectra():
    """Flux and inverse variance of 40 spectra of 2,000 pixels; one pixel of ten has no inverse variance."""
    generator = torch.Generator().manual_seed(0)
    ivar = 0.1 + 10 * torch.rand(40, 2000, generator=generator)
    ivar[:, ::10] = 0
    return torch.randn(40, 2000, generator=generator) + 5, ivar


def test_as_published_spectra_stay_as_they_are(spectra):
    flux, ivar, mask = augmented_spectrum(*spectra, None, keys_of(0, torch.arange(40)), AugmentationSection())

    assert torch.equal(flux, spectra[0])
    assert torch.equal(ivar, spectra[1])
    assert mask is None


@pytest.mark.parametrize("amount", [0.5, 1.0, 2.0])
def test_noise_of_spectra_has_the_variance_by_which_the_inverse_variance_falls(spectra, amount):
    (flux, ivar), keys = spectra, keys_of(0, torch.arange(40))

    found, weight = noisier_spectra(flux, ivar, keys, amount)

    known = ivar > 0
    added = 1 / weight[known].double() - 1 / ivar[known].double()
    squares = (found - flux)[known].double().square() / added
    # The mean of n squares of normal numbers is 1, with a deviation of the root of 2 / n; five of them.
    assert float(squares.mean()) == pytest.approx(1, abs=5 * math.sqrt(2 / len(squares)))
    assert stats.kstest(((found - flux)[known].double() / added.sqrt()).numpy(), "norm").pvalue > 1e-3
    torch.testing.assert_close(added, amount**2 / ivar[known].double(), rtol=1e-4, atol=0)
    assert torch.equal(found[~known], flux[~known])
    assert not weight[~known].any()


def test_noise_and_scale_belong_to_the_object_whatever_else_is_in_the_batch(spectra):
    (flux, ivar), keys = spectra, keys_of(0, torch.arange(40))
    section = AugmentationSection(spectrum_noise=1.0, spectrum_scale=0.3, spectrum_gaps=0.3)
    mask = torch.zeros(40, 2000, dtype=torch.bool)

    whole = augmented_spectrum(flux, ivar, mask, keys, section, view=1)
    part = augmented_spectrum(flux[7:9], ivar[7:9], mask[7:9], keys[7:9], section, view=1)
    other = augmented_spectrum(flux, ivar, mask, keys_of(1, torch.arange(40)), section, view=1)

    assert all(torch.equal(all_[7:9], some) for all_, some in zip(whole, part, strict=True))
    assert not torch.isclose(whole[0], other[0]).all(dim=1).any()


def test_a_scale_leaves_the_signal_to_noise_and_has_the_deviation_in_dex():
    flux = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) + 1
    ivar, section = flux + 2, AugmentationSection(spectrum_scale=0.2)

    found, weight, _ = augmented_spectrum(flux, ivar, None, keys_of(0, torch.arange(20_000)), section)
    alone, nothing, _ = augmented_spectrum(flux, None, None, keys_of(0, torch.arange(20_000)), section)

    torch.testing.assert_close(found * weight.sqrt(), flux * ivar.sqrt())
    dex = (found / flux).double().log10()
    torch.testing.assert_close(dex, dex[:, :1].expand(-1, 3), atol=1e-6, rtol=0)
    # Of n normal numbers: the mean has a deviation of 0.2 / root n, the deviation one of 0.2 / root 2 n; five of them.
    assert float(dex[:, 0].mean()) == pytest.approx(0, abs=5 * 0.2 / math.sqrt(20_000))
    assert float(dex[:, 0].std()) == pytest.approx(0.2, abs=5 * 0.2 / math.sqrt(40_000))
    assert nothing is None
    assert torch.equal(alone, found)


def test_noise_without_an_inverse_variance_is_refused():
    with pytest.raises(ValueError, match="inverse variance, and there is none"):
        augmented_spectrum(torch.ones(1, 9), None, None, torch.zeros(1).long(), AugmentationSection(spectrum_noise=1.0))


def test_gaps_are_stretches_of_second_views_that_are_not_seen(spectra):
    (flux, ivar), keys = spectra, keys_of(0, torch.arange(40))
    mask = torch.zeros(40, 2000, dtype=torch.bool)
    mask[:, 5] = True
    section = AugmentationSection(spectrum_gaps=0.25)

    first = augmented_spectrum(flux, ivar, mask, keys, section)
    found, weight, unseen = augmented_spectrum(flux, ivar, mask, keys, section, view=1)

    assert all(torch.equal(one, other) for one, other in zip(first, (flux, ivar, mask), strict=True))
    assert unseen[:, 5].all()
    gaps = unseen.clone()
    gaps[:, 5] = gaps[:, 6]
    assert not weight[gaps].any()
    assert torch.equal(found[~gaps], flux[~gaps])
    assert torch.equal(weight[~gaps], ivar[~gaps])
    # What stands in a gap is the mean of what is seen: it changes neither the mean nor is it a line.
    expected = [row[~gap].mean() for row, gap in zip(flux, gaps, strict=True)]
    torch.testing.assert_close(found.mean(dim=1), torch.stack(expected))
    count = GAPS * len(flux)
    whole = gaps[:, torch.arange(GAPS) * 2000 // GAPS + 40]
    assert int(gaps.sum()) == pytest.approx(int(whole.sum()) * 2000 / GAPS, rel=0.02)
    assert float(whole.float().mean()) == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / count))
