"""The sentence that says whether a simpler model is the one to use, against errors whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from polycli.report.bootstrap import Bootstrap
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.scoring.score_records import FillScores
from polycli.xval.scoring.summarise import Examined, scores_of
from polycli.xval.scoring.tables import summary_table, verdicts

SCALE = NumberStatistics(300, 0.0, 2.0, -6.0, 6.0, 0.1, 6.0, 0)


def scored(*, model: float, boosting: float) -> dict[str, FillScores]:
    """Scores of 300 records of one number, whose answers are off by normal errors of these sizes."""
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 2, 300)
    answers = {
        "model": truth + generator.normal(0, model, 300),
        "key mean": np.zeros(300),
        "gradient boosting": truth + generator.normal(0, boosting, 300),
    }
    examined = Examined(
        record=np.arange(300),
        key=np.zeros(300, dtype=np.int64),
        truth=truth,
        answers=answers,
        quantiles=np.empty((300, 0)),
        levels=(),
        held_out=np.zeros((300, 0), dtype=bool),
        key_paths=("a",),
        statistics={"a": SCALE},
    )
    scores = scores_of(examined, [], Bootstrap(samples=500))
    given = {"records_available": 300, "tokens_per_number": 1, "tokens_per_record": 3.0, "hidden_share": None}
    given |= {"units": {}, "sweep": None}
    return {"mine": FillScores(scores=scores, **given)}


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({"model": 1.0, "boosting": 0.5}, "gradient boosting is better"),
        ({"model": 0.5, "boosting": 1.0}, "the model is better; gradient boosting is closest"),
        ({"model": 1.0, "boosting": 1.0}, "gradient boosting and the model are not told apart"),
    ],
)
def test_a_model_is_better_only_where_the_whole_interval_of_the_ratio_says_so(errors, said):
    *_, sentence = verdicts(scored(**errors))
    assert sentence.startswith(f"mine: over all numbers {said}, with ")
    assert ("Use it where numbers alone are asked for." in sentence) == (errors["boosting"] < errors["model"])


def test_the_interval_of_the_ratio_is_that_of_the_same_records():
    entry = scored(model=0.7, boosting=0.7)["mine"].scores.all.standardised_mae
    low, high = entry.over["gradient boosting"]
    assert low < entry.errors.by_method["model"] / entry.errors.by_method["gradient boosting"] < high
    # Two means of 300 absolute normal errors have a relative spread of 0.756 / sqrt(300) each.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2) * 0.756 / np.sqrt(300), rel=0.25)


def test_the_caption_says_whether_numbers_are_hidden_one_at_a_time_or_in_turns():
    alone = scored(model=0.7, boosting=0.5)
    assert "Numbers are hidden one at a time and answered for once each" in summary_table(alone).caption
    shared = {"mine": replace(alone["mine"], hidden_share=0.3)}
    assert "Numbers are hidden in turns and answered for once each" in summary_table(shared).caption
