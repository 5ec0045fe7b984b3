"""Continuity: jumps and plateaus of curves that are known, and curves that are those of single records."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polycli.errors import RecipeError
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language
from polycli.xval.model.numformer import Numformer
from polycli.xval.numbers import make_encoding
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.settings import SweepSection
from polycli.xval.records.encode import encode_records
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.sweep import Curve, continuity, run_sweep

VALUES = [{"a": 1.0, "b": 2.0, "c": [1.0, 2.0]}, {"b": 1.0}, {"c": [3.0], "a": -1.0, "b": 0.5}]
STATISTICS = {path: NumberStatistics(10, 0.0, 1.0, -2.0, 3.0, 0.1, 3.0, 0) for path in "abc"}


@pytest.fixture
def filler():
    return make_filler("xval")


def make_filler(name, exponents=None):
    section = ModelSection(encoding=name, embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=64, dropout=0.0)
    encoding = make_encoding(name, exponents)
    tokenization = Tokenization(Language(Vocabulary("abc"), tuple("abc")), encoding, Scaling({}), 64)
    torch.manual_seed(0)
    return Filler(Numformer(section, tokenization.tokens).eval(), tokenization)


def records():
    return encode_records([Record(f"r{place}", value) for place, value in enumerate(VALUES)], Vocabulary("abc"))


def test_a_straight_line_has_no_jump_and_a_staircase_has_its_steps():
    def measured(answers, threshold):
        return continuity(Curve("r0", "b", (0.0, 0.0), answers), threshold)

    line = measured(np.linspace(0, 1, 101), threshold=0.05)
    assert (line.jumps, line.equal_neighbours) == (0, 0)
    assert line.travel == pytest.approx(1)
    stairs = measured(np.repeat(np.arange(5.0), 20), threshold=0.05)
    assert stairs.jumps == 4
    assert stairs.equal_neighbours == pytest.approx(95 / 99)
    zigzag = measured(np.array([0.0, 1.0, 0.0, np.nan, 1.0]), threshold=0.5)
    assert (zigzag.jumps, zigzag.travel, zigzag.undecodable) == (3, 3, pytest.approx(0.2))


def test_curves_are_the_answers_of_records_with_that_number(filler):
    section = SweepSection(vary="a", predict=("b",), points=7)
    sweep = run_sweep(filler, records(), section, STATISTICS)
    np.testing.assert_allclose(sweep.values, np.linspace(-2, 3, 7))
    assert [(curve.record, curve.own) for curve in sweep.curves] == [("r0", (1.0, 2.0)), ("r2", (-1.0, 0.5))]
    assert sweep.thresholds == (0.05, 0.05)
    record = records().select([0])
    for value, answer in zip(sweep.values, sweep.curves[0].answers, strict=True):
        changed = replace(record, numbers=np.where(np.arange(4) == 0, value, record.numbers))
        alone = filler.fill(changed, np.array([False, True, False, False])).values[1]
        assert answer == pytest.approx(alone, abs=1e-5)


def test_what_cannot_be_swept_is_refused_or_nothing(filler):
    assert run_sweep(filler, records(), SweepSection(), STATISTICS) is None
    only = records().select([1])
    assert run_sweep(filler, only, SweepSection(vary="a", predict=("b",)), STATISTICS) is None
    with pytest.raises(RecipeError, match="no key path of the data fits 'z'"):
        run_sweep(filler, records(), SweepSection(vary="z", predict=("b",)), STATISTICS)


def test_a_sweep_over_numbers_that_a_text_form_cannot_write_says_how_to_narrow_it():
    filler, section = make_filler("p10", (-1, 0)), SweepSection(vary="a", predict=("b",), points=50)
    with pytest.raises(RecipeError, match=r"sweep.vary: r0, a: the scaled number .* is smaller than 1e-1") as refused:
        run_sweep(filler, records(), section, STATISTICS)
    assert "sweep.low" in refused.value.hint
    narrow = section.model_copy(update={"low": 0.5, "high": 3.0})
    assert len(run_sweep(filler, records(), narrow, STATISTICS).curves) == 2
