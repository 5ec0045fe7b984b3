"""HEALPix numbers from the geometry of the scheme, not from another run of the code."""

import numpy as np
import pytest

from polycli.astroclip.data.healpix import nested_pixels


def _even_sky(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 360, count), np.degrees(np.arcsin(generator.uniform(-1, 1, count)))


def test_the_twelve_base_pixels_lie_where_the_paper_puts_them():
    # Gorski et al. 2005, figure 3: four around each pole, centred at odd multiples of 45 degrees, four on the equator.
    for face, (ra, dec) in enumerate(
        [
            *((45 + 90 * place, 41.81) for place in range(4)),
            *((90 * place, 0) for place in range(4)),
            *((45 + 90 * place, -41.81) for place in range(4)),
        ]
    ):
        assert nested_pixels(np.array([float(ra)]), np.array([float(dec)]), 0).tolist() == [face]


@pytest.mark.parametrize("order", [0, 1, 4, 10, 28])
def test_a_pixel_is_the_parent_of_those_inside_it(order):
    ra, dec = _even_sky(5000)

    assert np.array_equal(nested_pixels(ra, dec, order), nested_pixels(ra, dec, 29) >> 2 * (29 - order))


def test_pixels_have_equal_areas():
    ra, dec = _even_sky(192 * 2000)
    counts = np.bincount(nested_pixels(ra, dec, 2), minlength=192)

    assert counts.size == 192
    # Five standard deviations of a Poisson count.
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


@pytest.mark.parametrize("order", [1, 3])
def test_the_centres_of_all_pixels_fall_into_their_own_pixel(order):
    """Centres by ring and place in the ring (equations 4 to 9 of the paper): together they hit every pixel once."""
    side = 2**order
    places = []
    for ring in range(1, 4 * side):
        if ring < side:
            z, count, shift = 1 - ring**2 / (3 * side**2), 4 * ring, 0.5
        elif ring <= 3 * side:
            z, count, shift = 4 / 3 - 2 * ring / (3 * side), 4 * side, 0.5 * ((ring - side + 1) % 2)
        else:
            z, count, shift = -(1 - (4 * side - ring) ** 2 / (3 * side**2)), 4 * (4 * side - ring), 0.5
        places += [(360 * (number + shift) / count, np.degrees(np.arcsin(z))) for number in range(count)]
    ra, dec = np.array(places).T

    assert sorted(nested_pixels(ra, dec, order).tolist()) == list(range(12 * side**2))


def test_the_poles_and_a_whole_turn_are_pixels_too():
    ra, dec = np.array([0.0, 360.0, -0.0, 720.0, 12.0, 99.0]), np.array([0.0, 0.0, 0.0, 0.0, 90.0, -90.0])
    pixels = nested_pixels(ra, dec, 29)

    assert len(set(pixels[:4].tolist())) == 1
    assert (pixels >= 0).all()
    assert (pixels < 12 * 4**29).all()
    assert nested_pixels(ra[4:], dec[4:], 0).tolist() == [0, 9]


def test_an_unknown_position_has_no_pixel_and_an_impossible_one_is_refused():
    assert nested_pixels(np.array([np.nan]), np.array([3.0]), 4).tolist() == [-1]
    with pytest.raises(ValueError, match="declination"):
        nested_pixels(np.array([1.0]), np.array([90.5]), 4)
