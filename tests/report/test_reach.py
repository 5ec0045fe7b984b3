"""Intervals that are stretched: whatever the unit, and of models that are too sure."""

import numpy as np
import pytest

from polycli.report.reach import Reach


@pytest.mark.parametrize("unit", [1e-22, 1.0, 1e30])
def test_the_unit_of_a_column_changes_no_deviation(unit):
    low, middle, high, truth = (unit * np.array(values) for values in ([1.0, 1.0], [2.0, 2.0], [5.0, 5.0], [3.5, 1.5]))
    reach = Reach.between(low, middle, high)
    assert reach.deviations(truth).tolist() == pytest.approx([0.5, 0.5])
    below, above = reach.stretched(2.0)
    assert [*below / unit, *above / unit] == pytest.approx([0.0, 0.0, 8.0, 8.0], abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_interval_without_width_divides_by_no_zero(value):
    point = np.full(2, value)
    off = Reach.between(point, point, point).deviations(np.array([value, value + 1]))
    assert off[0] == 0
    assert off[1] > 1e8
