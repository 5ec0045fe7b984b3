"""The learning rate as a function of the step."""

import math

import pytest

from polycli.engine.schedule import learning_rate_factor, scheduled_decay, warmup_steps
from polycli.sections import OptimSection, ScheduleSection


def test_warmup_is_linear_and_reaches_the_peak_in_its_last_step():
    section = ScheduleSection(warmup_steps=4)
    assert [learning_rate_factor(section, 100, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_the_cosine_starts_at_the_peak_and_ends_at_its_final_fraction_in_the_last_step():
    section = ScheduleSection(warmup_steps=10, final_fraction=0.01)
    assert learning_rate_factor(section, 110, 9) == 1.0
    assert learning_rate_factor(section, 110, 59) == pytest.approx(0.01 + 0.99 / 2)
    assert learning_rate_factor(section, 110, 34) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate_factor(section, 110, 109) == pytest.approx(0.01)


def test_a_constant_schedule_stays_at_the_peak_after_its_warmup():
    section = ScheduleSection(name="constant", warmup_steps=2)
    assert [learning_rate_factor(section, 5, step) for step in range(5)] == [0.5, 1, 1, 1, 1]


def test_the_weight_decay_goes_from_its_first_to_its_final_value_along_a_cosine():
    optim = OptimSection(weight_decay=0.001, final_weight_decay=0.01)
    decays = [scheduled_decay(optim, 11, step) for step in range(11)]
    expected = [0.01 + (0.001 - 0.01) * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(11)]
    assert decays == pytest.approx(expected)
    assert [scheduled_decay(OptimSection(weight_decay=0.3), 5, step) for step in range(5)] == [0.3] * 5


def test_a_final_weight_decay_needs_one_to_start_from():
    with pytest.raises(ValueError, match="final_weight_decay needs a weight_decay above 0"):
        OptimSection(weight_decay=0.0, final_weight_decay=0.1)


def test_a_warmup_longer_than_the_run_is_clipped_to_it():
    section = ScheduleSection(warmup_steps=1000)
    assert warmup_steps(section, 8) == 8
    assert [learning_rate_factor(section, 8, step) for step in range(8)] == [n / 8 for n in range(1, 9)]
