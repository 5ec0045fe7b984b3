"""Baselines: means from the training split, and table learners that see what the model sees and no more."""

import numpy as np
import pytest

from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.records.encode import encode_records
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.baselines import is_table, simple_answers, table_answers


def encoded(values):
    return encode_records([Record(str(place), value) for place, value in enumerate(values)], Vocabulary("abc"))


def table(count, seed):
    """b is a twice over, c is noise, and some cells are empty."""
    generator = np.random.default_rng(seed)
    rows = []
    for a, c, gone in zip(
        generator.uniform(-3, 3, count), generator.normal(size=count), generator.random(count), strict=True
    ):
        rows.append({"a": a, "b": 2 * a, "c": None if gone < 0.1 else c})
    return encoded(rows)


def test_means_are_those_of_the_training_split():
    statistics = {
        "a": NumberStatistics(10, 1.0, 1, 0, 2, 1, 2, 0),
        "b": NumberStatistics(30, 5.0, 1, 4, 6, 4, 6, 0),
    }
    records = encoded([{"a": 0.5, "b": 5}, {"b": 6}])
    found = simple_answers(records, np.array([0, -1, 1]), statistics)
    np.testing.assert_array_equal(found["key mean"], [1, np.nan, 5])
    np.testing.assert_array_equal(found["mean"], [4, np.nan, 4])
    assert "persistence" not in found


def test_the_last_value_is_a_baseline_for_lists_alone():
    statistics = {path: NumberStatistics(10, 7.0, 1, 0, 2, 1, 2, 0) for path in "ab"}
    records = encoded([{"a": 1, "b": [2, 3]}])
    found = simple_answers(records, np.array([0, 1, 2]), statistics)
    np.testing.assert_array_equal(found["persistence"], [np.nan, 7, 2])


def test_records_with_lists_are_no_table():
    assert is_table(table(5, 0))
    assert not is_table(encoded([{"a": [1, 2], "b": 1}]))
    assert not is_table(encoded([{"a": 1}]))


def test_learners_find_what_the_visible_columns_tell():
    records, turns = table(100, 1), np.array([0, 1, 2])
    passes = turns[records.number_keys]
    found = table_answers(table(2000, 2), records, passes, share=0.1, seed=0)
    of_b = records.number_keys == 1
    for name in ("k-NN", "gradient boosting"):
        assert np.isfinite(found[name]).all()
        assert np.abs(found[name] - records.numbers)[of_b].mean() < 0.35  # The mean is off by 3.


def test_learners_do_not_see_what_is_hidden_together():
    records = table(100, 1)
    passes = np.array([0, 0, 1])[records.number_keys]
    found = table_answers(table(2000, 2), records, passes, share=0.1, seed=0)
    of_b = records.number_keys == 1
    spread = np.abs(records.numbers[of_b] - records.numbers[of_b].mean()).mean()
    for name in ("k-NN", "gradient boosting"):
        assert np.abs(found[name] - records.numbers)[of_b].mean() > 0.8 * spread


def test_learners_leave_out_what_was_not_asked():
    records = table(20, 1)
    passes = np.where(records.number_keys == 1, 0, -1)
    found = table_answers(table(200, 2), records, passes, share=0.1, seed=0)
    assert np.isnan(found["k-NN"][passes < 0]).all()


@pytest.mark.parametrize("rows", [2, 3])
def test_few_training_rows_are_enough(rows):
    records = table(10, 1)
    found = table_answers(table(rows, 2), records, np.zeros(len(records.numbers), dtype=np.int64), share=0.5, seed=0)
    assert np.isfinite(found["k-NN"][records.number_keys == 0]).all()
