"""Statistics of numbers by key path."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.xval.numbers.statistics import NumberSums, decades_of


def test_sums_over_blocks_are_those_of_all_numbers_by_key():
    random = np.random.default_rng(0)
    values, keys = random.normal(1e6, 1.0, 1000), random.integers(0, 3, 1000).astype(np.int32)
    sums = NumberSums()
    for part in np.array_split(np.arange(1000), 7):
        sums.update(values[part], keys[part])
    found = sums.statistics(["a", "b", "c", "without numbers"])
    assert set(found) == {"a", "b", "c"}
    for key, path in enumerate("abc"):
        members = values[keys == key]
        assert found[path].count == len(members)
        assert found[path].mean == pytest.approx(math.fsum(members) / len(members), rel=1e-15)
        assert found[path].std == pytest.approx(np.std(members - 1e6), rel=1e-9)
        assert (found[path].min, found[path].max) == (members.min(), members.max())


def test_decades_are_counted_and_zeros_are_not():
    sums = NumberSums()
    sums.update(np.array([0.0, 1.0, -9.99, 10.0, 0.001, -0.0]), np.zeros(6, dtype=np.int32))
    assert sums.decades(0) == {-3: 1, 0: 2, 1: 1}
    sums.update(np.empty(0), np.empty(0, dtype=np.int32))
    assert sums.decades(0) == {-3: 1, 0: 2, 1: 1}


@settings(max_examples=200, deadline=None)
@given(st.floats(min_value=5e-324, max_value=1.7976931348623157e308))
def test_a_decade_is_the_exponent_of_the_number_as_it_is_written(value):
    assert decades_of(np.array([value]))[0] == Decimal(repr(value)).adjusted()


def test_decades_just_beside_powers_of_ten_are_right():
    for power in range(-300, 309, 3):
        exact = float(f"1e{power}")
        for value in (exact, math.nextafter(exact, 0), math.nextafter(exact, math.inf)):
            expected = power if value >= exact else power - 1
            assert decades_of(np.array([value]))[0] == expected
