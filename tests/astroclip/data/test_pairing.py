"""Matches on the sky and by id."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.astroclip.data.pairing import match_ids, match_sky, unit_vectors
from polycli.errors import SourceError

ARCSEC = 1 / 3600


def _match(first, second, radius=1.0):
    found = match_sky(*np.array(first, float).T, *np.array(second, float).T, radius)
    return sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)), found.contested


def test_objects_pair_across_right_ascension_zero():
    assert _match([(359.99995, 10.0)], [(0.00005, 10.0)]) == ([(0, 0)], 0)


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_objects_pair_at_the_poles_whatever_their_right_ascension(pole):
    dec = pole - np.sign(pole) * 0.3 * ARCSEC

    # 0.3 arcsec from the pole on opposite sides: 0.6 arcsec apart.
    assert _match([(20.0, dec)], [(200.0, dec)]) == ([(0, 0)], 0)
    assert _match([(20.0, dec)], [(200.0, dec)], radius=0.5) == ([], 0)


def test_the_radius_is_a_distance_on_the_sky_not_in_right_ascension():
    # At declination 60 a difference of 1.8 arcsec in right ascension is 0.9 arcsec on the sky.
    assert _match([(10.0, 60.0)], [(10.0 + 1.8 * ARCSEC, 60.0)])[0] == [(0, 0)]
    assert _match([(10.0, 0.0)], [(10.0 + 1.8 * ARCSEC, 0.0)])[0] == []


def test_each_object_is_used_once_and_the_nearest_wins():
    images = [(10.0, 0.0), (10.0 + 0.6 * ARCSEC, 0.0)]
    spectra = [(10.0 + 0.5 * ARCSEC, 0.0)]

    assert _match(images, spectra) == ([(1, 0)], 1)


def test_an_object_that_lost_its_nearest_takes_the_next_that_is_free():
    images = [(10.0, 0.0), (10.0 + 0.4 * ARCSEC, 0.0)]
    spectra = [(10.0 + 0.3 * ARCSEC, 0.0), (10.0 - 0.9 * ARCSEC, 0.0)]

    assert _match(images, spectra)[0] == [(0, 1), (1, 0)]


def test_of_equally_near_candidates_the_earlier_wins_and_the_tie_is_counted():
    assert _match([(10.0, 0.0)], [(10.0 - 0.5 * ARCSEC, 0.0), (10.0 + 0.5 * ARCSEC, 0.0)]) == ([(0, 0)], 1)


def test_objects_without_a_position_do_not_pair():
    assert _match([(np.nan, 0.0), (10.0, 0.0)], [(10.0, 0.0), (10.0, np.nan)]) == ([(1, 0)], 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(-89.999, 89.999), st.floats(0, 360), st.floats(0.5, 20))
def test_matches_agree_with_all_angles_between_all_objects(seed, dec, ra, radius):
    """On a small patch anywhere: what is matched is within the radius, and of what is left nothing is."""
    generator = np.random.default_rng(seed)
    spread = radius * ARCSEC * 3
    other_dec = np.clip(dec + generator.uniform(-spread, spread, 12), -90, 90)
    other_ra = ra + generator.uniform(-spread, spread, 12) / max(np.cos(np.radians(dec)), 1e-3)
    one_ra, one_dec, two_ra, two_dec = other_ra[:6], other_dec[:6], other_ra[6:], other_dec[6:]
    found = match_sky(one_ra, one_dec, two_ra, two_dec, radius)
    a, b = unit_vectors(one_ra, one_dec), unit_vectors(two_ra, two_dec)
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(a[:, None], b[None]), axis=2), a @ b.T)) * 3600

    assert len(set(found.first.tolist())) == len(found.first)
    assert len(set(found.second.tolist())) == len(found.second)
    assert (angle[found.first, found.second] <= radius * (1 + 1e-6)).all()
    left = np.delete(np.delete(angle, found.first, axis=0), found.second, axis=1)
    assert not (left < radius * (1 - 1e-6)).any()


def test_ids_match_exactly_above_2_to_the_53rd():
    first = np.array([39633297352951412, 39633297352951413, -1695072], np.int64)
    second = np.array([-1695072, 39633297352951413, 39633297352951415], np.int64)
    found = match_ids(first, second, names=("a", "b"))

    assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(1, 1), (2, 0)]


def test_ids_of_text_and_of_numbers_are_not_compared():
    with pytest.raises(SourceError, match="the ids of a are text and those of b integers"):
        match_ids(np.array(["1", "2"], dtype=object), np.array([1, 2]), names=("a", "b"))
