"""Shares of answers that are right to the digit, by hand."""

import numpy as np

from polycli.xval.scoring.exactness import exactness
from polycli.xval.scoring.summarise import Examined


def examined(truth, answers, key=None, decimals=None):
    truth = np.array(truth, dtype=np.float64)
    return Examined(
        record=np.arange(len(truth)),
        key=np.zeros(len(truth), dtype=np.int64) if key is None else np.array(key),
        truth=truth,
        answers={"model": np.array(answers, dtype=np.float64), "key mean": np.zeros(len(truth))},
        quantiles=np.empty((len(truth), 0)),
        levels=(),
        held_out=np.zeros((len(truth), 0), dtype=bool),
        key_paths=("a", "b"),
        statistics={},
        decimals=decimals or {},
    )


def test_answers_that_round_to_the_truth_are_exact():
    found = exactness(examined([1.25, 1.25, 1.25, -7.0, 3.0], [1.254, 1.256, np.nan, -6.9951, 3.0], decimals={"a": 2}))
    assert found.written == 3 / 5
    # Three figures: 1.25 within 0.005, -7.00 within 0.005, 3.00 too.
    assert found.three_figures == 3 / 5


def test_keys_whose_numbers_have_many_decimals_count_by_figures_alone():
    truth, answers = [123.456, 1234.56, 2.0, 0.0, 0.0], [123.9, 1239.0, 2.4, 0.0, 1e-9]
    found = exactness(examined(truth, answers, key=[1, 1, 0, 1, 1], decimals={"a": 0}))
    assert found.written == 1.0
    assert found.three_figures == (1 + 1 + 0 + 1 + 0) / 5
    assert exactness(examined(truth, answers)).written is None
