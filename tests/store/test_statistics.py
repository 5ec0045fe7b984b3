"""Statistics equal those that numpy computes in float64 over everything at once."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.store.statistics import RunningStatistics


def in_blocks(values: np.ndarray, fields: list[str], cuts: list[int]) -> dict:
    running = RunningStatistics(fields)
    for block in np.split(values, cuts):
        running.update(block)
    return running.as_dict()


def reference(trajectories: list[np.ndarray], field: int) -> dict[str, float]:
    values = np.concatenate([t[:, field].astype(np.longdouble).ravel() for t in trajectories])
    changes = np.concatenate([np.diff(t[:, field].astype(np.longdouble), axis=0).ravel() for t in trajectories])
    return {
        "mean": values.mean(),
        "std": values.std(),
        "rms": np.sqrt(np.square(values).mean()),
        "min": values.min(),
        "max": values.max(),
        "mean_change": changes.mean(),
        "std_change": changes.std(),
        "rms_change": np.sqrt(np.square(changes).mean()),
        "count": values.size,
    }


def test_a_small_field_on_a_large_constant_keeps_its_spread():
    generator = np.random.default_rng(0)
    # Noise of 1e-4 on 1e6: a float64 sum of squares, 1e12 per value, would keep four digits of its variance at best.
    tiny = 1e6 + 1e-4 * generator.standard_normal((30, 1, 32, 32))
    large = (1e6 + 0.5 * generator.standard_normal((30, 1, 32, 32))).astype(np.float32)
    for values, digits in ((tiny, 1e-9), (large, 1e-12)):
        found = RunningStatistics.merge([in_blocks(values, ["a"], [7, 8, 20])])["a"]
        for name, expected in reference([values], 0).items():
            # The mean change is a difference of nearly equal numbers: it is held against the spread.
            scale = float(abs(expected)) if name != "mean_change" else found["std_change"]
            assert abs(found[name] - expected) <= digits * scale, name


def test_fields_are_kept_apart_and_trajectories_joined_without_a_change_between_them():
    generator = np.random.default_rng(1)
    trajectories = [generator.standard_normal((n, 2, 8, 8)).astype(np.float32) * [[[1]], [[50]]] + n for n in (3, 1, 9)]
    found = RunningStatistics.merge([in_blocks(t, ["a", "b"], [1]) for t in trajectories])
    for field, name in enumerate(["a", "b"]):
        assert found[name] == pytest.approx(
            {key: float(value) for key, value in reference(trajectories, field).items()}, rel=1e-12, abs=1e-13
        )


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 12), max_size=6).map(sorted), offset=st.sampled_from([0.0, 3.0, -1e5]))
def test_statistics_do_not_depend_on_how_frames_are_cut_into_blocks(cuts, offset):
    values = np.random.default_rng(2).standard_normal((12, 1, 4, 4)) + offset
    found = RunningStatistics.merge([in_blocks(values, ["a"], cuts)])["a"]
    expected = RunningStatistics.merge([in_blocks(values, ["a"], [])])["a"]
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_sums_survive_json_to_the_last_bit_and_merge_in_the_given_order():
    parts = [in_blocks(np.random.default_rng(n).standard_normal((5, 1, 4, 4)) * 10**n, ["a"], [2]) for n in range(6)]
    through_json = json.loads(json.dumps(parts, allow_nan=False))
    assert RunningStatistics.merge(through_json) == RunningStatistics.merge(parts)


def test_a_single_frame_has_no_change_and_a_constant_field_no_spread():
    found = RunningStatistics.merge([in_blocks(np.full((1, 1, 4, 4), 7.25, np.float32), ["a"], [])])["a"]
    assert found == {
        "mean": 7.25,
        "std": 0.0,
        "rms": 7.25,
        "min": 7.25,
        "max": 7.25,
        "mean_change": 0.0,
        "std_change": 0.0,
        "rms_change": 0.0,
        "count": 16.0,
    }


def test_a_block_with_another_number_of_fields_is_refused():
    with pytest.raises(ValueError, match="does not have 2 fields"):
        RunningStatistics(["a", "b"]).update(np.zeros((3, 1, 4, 4), np.float32))
