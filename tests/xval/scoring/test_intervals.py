"""Calibrated intervals stretch the model's own by one factor, so that each is as wide as the model says it must be."""

from dataclasses import replace

import numpy as np
import pytest

from polycli.xval.numbers.scaling import Scaler, Scaling
from polycli.xval.records.encode import encode_records
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.fill import Answers
from polycli.xval.scoring.intervals import MEASURE, Intervals, deviations, is_widened

LEVELS = (0.05, 0.5, 0.95)
SCALING = Scaling({}, Scaler("affine", 10.0, 4.0))


def cases(count: int, seed: int):
    """Numbers whose spread is 0.1 or 5, and a model that knows which, but takes it for twice as large."""
    generator = np.random.default_rng(seed)
    spread = np.where(np.arange(count) % 2 == 0, 0.1, 5.0)
    truth = 30 + spread * generator.standard_normal(count)
    records = encode_records(
        [Record(str(place), {"a": value}) for place, value in enumerate(truth.tolist())], Vocabulary(["a"])
    )
    quantiles = np.stack([30 - 3.3 * spread, np.full(count, 30.0), 30 + 3.3 * spread], axis=1)
    return records, Answers(np.full(count, 30.0), quantiles), spread


def calibrated(level: float) -> Intervals:
    records, answers, _ = cases(2000, seed=0)
    scores = np.sort(deviations(records, answers, SCALING, LEVELS))
    bound = scores[int(np.ceil(2001 * level)) - 1]
    return Intervals(SCALING, {"a": float(bound)}, level, calibrated=True, levels=LEVELS)


@pytest.mark.parametrize("level", [0.68, 0.9, 0.95])
def test_numbers_of_small_and_of_large_spread_are_covered_alike(level):
    records, answers, spread = cases(4000, seed=1)
    low, high = calibrated(level).around(answers, records)
    held = (records.numbers >= low) & (records.numbers <= high)
    for size in (0.1, 5.0):
        # Three standard errors of the test's share and of the calibration's quantile.
        assert held[spread == size].mean() == pytest.approx(
            level, abs=3 * np.sqrt(level * (1 - level) * (1 / 2000 + 1 / 2000))
        )
    # At 90 % a normal number lies within 1.645 spreads: half of what the model says.
    if level == 0.9:
        np.testing.assert_allclose((high - low) / spread, 2 * 1.645, rtol=0.06)


def test_a_model_without_quantiles_has_one_width_for_all_numbers_of_a_key():
    records, answers, _ = cases(50, seed=0)
    bare = replace(answers, quantiles=np.empty((50, 0)))
    np.testing.assert_allclose(deviations(records, bare, SCALING, ()), np.abs(records.numbers - 30) / 4)
    low, high = Intervals(SCALING, {"a": 0.5}, 0.9, calibrated=True).around(bare, records)
    np.testing.assert_allclose([low, high], [np.full(50, 28.0), np.full(50, 32.0)])


def test_a_file_of_an_earlier_version_widens_by_an_amount_as_it_meant():
    records, answers, spread = cases(4, seed=0)
    low, high = Intervals(SCALING, {"a": 0.5}, 0.9, calibrated=True, levels=LEVELS, widened=True).around(
        answers, records
    )
    np.testing.assert_allclose(low, 30 - 3.3 * spread - 2)
    np.testing.assert_allclose(high, 30 + 3.3 * spread + 2)


@pytest.mark.parametrize(("settings", "widened"), [({"measure": MEASURE}, False), ({"masking": "single"}, True)])
def test_what_a_file_means_is_in_its_settings(settings, widened):
    from polycli.checkpoints.calibration import Calibration

    calibration = Calibration(
        family="xval", version="1", checkpoint="m", model_hash="0" * 64, levels=(0.9,), settings=settings, data={}
    )
    assert is_widened(calibration) is widened
