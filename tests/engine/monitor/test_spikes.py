"""Losses that stand out are found, whatever else is in the window, and nothing else is."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.engine.monitor.spikes import LEAST, WINDOW, find_spike, remember

NOISE = [1 + 0.01 * ((7 * n) % 11 - 5) for n in range(50)]


def test_a_loss_far_above_the_last_ones_is_a_spike_of_the_stated_height():
    spike = find_spike(2.0, NOISE, 10)
    deviation = 1.4826 * statistics.median(abs(value - 1.0) for value in NOISE)
    assert spike is not None
    assert (spike.loss, spike.median) == (2.0, 1.0)
    assert spike.deviations == pytest.approx(1.0 / deviation)


@pytest.mark.parametrize("loss", [0.01, 1.0, 1.2, float("nan")])
def test_a_low_or_ordinary_loss_is_none(loss):
    assert find_spike(loss, NOISE, 10) is None


def test_spikes_in_the_window_do_not_hide_the_next_one():
    assert find_spike(3.0, [*NOISE, *[1000.0] * 20], 10) is not None


def test_too_few_steps_tell_nothing():
    assert find_spike(100.0, NOISE[: LEAST - 1], 10) is None
    assert find_spike(100.0, NOISE[:LEAST], 10) is not None


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_losses_at_rest_have_no_spike_but_a_jump_is_one(value):
    assert find_spike(value, [value] * 30, 10) is None
    assert find_spike(value + 5, [value] * 30, 10) is not None
    assert find_spike(value + 0.05 * abs(value), [value] * 30, 10) is None


@given(st.lists(st.floats(0.5, 2.0), min_size=LEAST, max_size=WINDOW), st.floats(0.01, 100))
def test_scaling_all_losses_changes_nothing(recent, scale):
    loss = 1.5 * max(recent)
    plain, scaled = (find_spike(k * loss, [k * value for value in recent], 10) for k in (1.0, scale))
    if plain is not None and plain.deviations > 10.001:
        assert scaled is not None
        assert scaled.deviations == pytest.approx(plain.deviations)


def test_the_window_forgets_the_oldest():
    recent: list[float] = []
    for number in range(WINDOW + 7):
        remember(float(number), recent)
    assert recent == [float(number) for number in range(7, WINDOW + 7)]
