"""Baselines: means from the training split, and table learners that see what the model sees and no more."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.records.encode import encode_records
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.baselines import is_table, simple_answers, table_answers
from polycli.xval.scoring.hidden_numbers import drawn_rows
from polycli.xval.scoring.table_learners import LOSSES, NEIGHBOURS, Question, nearest
from polycli.xval.scoring.text_columns import text_columns


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


def numbered(data):
    """Rows of numbers as records."""
    rows = [{f"x{column}": float(value) for column, value in enumerate(row)} for row in data]
    vocabulary = Vocabulary([f"x{column}" for column in range(data.shape[1])])
    return encode_records([Record(str(place), row) for place, row in enumerate(rows)], vocabulary)


@pytest.mark.parametrize("load", [load_wine, load_diabetes])
def test_answers_are_those_of_scikit_learn_on_tables_that_ship_with_it(load):
    data = load().data[:, :6]
    order = np.random.default_rng(0).permutation(len(data))
    training, test = np.sort(order[40:]), order[:40]
    records = numbered(data[test])
    turn_of = np.where(records.number_keys == 2, 0, -1)
    found = table_answers(numbered(data[training]), records, turn_of, share=0.0, seed=5)
    others = [0, 1, 3, 4, 5]
    inputs, targets, asked = data[training][:, others], data[training][:, 2], data[test][:, others]
    scaler = StandardScaler().fit(inputs)
    neighbours = [
        KNeighborsRegressor(count).fit(scaler.transform(inputs), targets).predict(scaler.transform(asked))
        for count in NEIGHBOURS
    ]
    mine = found["k-NN"][turn_of == 0]
    assert min(np.abs(mine - other).max() for other in neighbours) < 1e-6
    rows = np.random.default_rng(5)
    rows.random((len(training), 6))  # which cells are hidden
    rows = rows.permutation(len(training))
    boosted = [
        HistGradientBoostingRegressor(loss=loss, random_state=5, early_stopping=False)
        .fit(inputs[rows], targets[rows])
        .predict(asked)
        for loss in LOSSES
    ]
    mine = found["gradient boosting"][turn_of == 0]
    assert min(np.abs(mine - other).max() for other in boosted) < 1e-6


def test_sorted_rows_cost_neighbours_nothing():
    a = np.sort(np.random.default_rng(0).uniform(-3, 3, 7000))
    # Of the third column nothing is known, but it is there.
    training = encoded(
        [{"a": -3.0, "b": -6.0, "c": 0.0}, *({"a": float(value), "b": float(2 * value), "c": None} for value in a)]
    )
    records = table(100, 1)
    turn_of = np.where(records.number_keys == 1, 0, -1)
    found = table_answers(training, records, turn_of, share=0.1, seed=0)
    assert np.abs(found["k-NN"] - records.numbers)[turn_of == 0].mean() < 0.05
    rows = drawn_rows(np.arange(1000), 100, seed=0)
    assert len(np.unique(rows)) == 100
    assert rows.max() > 900
    np.testing.assert_array_equal(drawn_rows(np.arange(7), 100, seed=0), np.arange(7))


def test_texts_are_seen_as_categories():
    generator = np.random.default_rng(0)
    kinds = generator.choice(["red", "green", "blue"], 600)
    worth = {"red": 1.0, "green": 5.0, "blue": 9.0}
    values = [
        {"kind": str(kind), "name": f"n{place}", "a": worth[kind], "b": float(generator.normal())}
        for place, kind in enumerate(kinds)
    ]
    texts = text_columns(values[:500], [*values[500:], {"kind": "violet"}, {}])
    assert texts.training.shape == (500, 1)  # Names, of which all differ, are no column.
    assert texts.asked[-2:, 0].tolist() == [3, -1]
    numbers = [{"a": value["a"], "b": value["b"]} for value in values]
    training, records = encoded(numbers[:500]), encoded(numbers[500:])
    turn_of = np.where(records.number_keys == 0, 0, -1)
    texts = text_columns(values[:500], values[500:])
    found = table_answers(training, records, turn_of, share=0.1, seed=0, texts=texts)
    blind = table_answers(training, records, turn_of, share=0.1, seed=0)
    for name in ("k-NN", "gradient boosting"):
        seen, unseen = (np.abs(answers[name] - records.numbers)[turn_of == 0].mean() for answers in (found, blind))
        assert seen < 0.5 * unseen
        assert unseen > 2
    assert np.abs(found["gradient boosting"] - records.numbers)[turn_of == 0].mean() < 0.2


def test_a_row_of_which_nothing_is_seen_has_the_mean_as_its_neighbours_answer():
    visible = np.random.default_rng(0).normal(size=(50, 2))
    visible[25:, 1] = np.nan
    targets = 3 * visible[:, 0]
    none = np.empty((50, 0), np.int64)
    seen = np.array([[np.nan, np.nan], [visible[0, 0], np.nan]])
    answers = nearest(Question(visible, visible, targets, seen, none, none[:2]))
    assert answers[0] == pytest.approx(targets.mean())
    assert answers[1] == pytest.approx(targets[0], abs=0.5)
