"""Scores against plain numpy, on answers that are made up."""

import numpy as np
import pytest

from polycli.json_records import to_object
from polycli.report.bootstrap import Bootstrap
from polycli.xval.data.holdout import HoldOutRule
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.scoring.summarise import Examined, key_name, scores_of

PATHS = ("p0.a", "p1.a", "b")
BOOTSTRAP = Bootstrap(samples=200, seed=1)


def statistics(mean, std):
    return NumberStatistics(10, mean, std, mean - std, mean + std, 0.1, 10.0, 0)


@pytest.fixture
def examined():
    generator = np.random.default_rng(0)
    count = 400
    key = generator.integers(0, 3, count)
    truth = generator.uniform(0.5, 3, count) * np.where(key == 2, 1000, 1)
    model = truth + generator.normal(0, 0.1, count)
    model[:20] = np.nan
    record = np.sort(generator.integers(0, 40, count))
    held_out = np.zeros((40, 1), dtype=bool)
    rule = (key < 2) & (truth >= 1.9) & (truth <= 2.1)
    held_out[np.unique(record[rule]), 0] = True
    key_mean = np.where(key == 2, 1800.0, 1.8)
    return Examined(
        record=record,
        key=key,
        truth=truth,
        answers={"model": model, "mean": np.full(count, 600.0), "key mean": key_mean},
        quantiles=np.stack([truth - 0.2, truth + generator.normal(0.1, 0.1, count)], axis=1),
        levels=(0.1, 0.9),
        held_out=held_out,
        key_paths=PATHS,
        statistics={"p0.a": statistics(1.8, 0.7), "p1.a": statistics(1.8, 0.8), "b": statistics(1800, 700)},
    )


@pytest.fixture
def scores(examined):
    return to_object(scores_of(examined, [HoldOutRule("*.a", 1.9, 2.1)], BOOTSTRAP))


def test_keys_of_objects_that_differ_in_digits_are_one_and_others_only_by_a_pattern():
    assert [key_name(path, PATHS) for path in PATHS] == ["p*.a", "p*.a", "b"]
    assert key_name("k2", ("k2", "a")) == "k2"
    keys = ("k5", "k618", "x.k5", "x.k6", r"a\.1", r"a\.2", "l0.m1.v", "l3.m2.v")
    assert [key_name(path, keys) for path in keys] == [*keys[:6], "l*.m*.v", "l*.m*.v"]
    assert [key_name(path, keys, ("k*", "x.k5")) for path in keys[:3]] == ["k*", "k*", "x.k5"]


def test_an_answer_that_is_no_number_counts_as_the_keys_mean(examined, scores):
    model = np.where(np.isfinite(examined.answers["model"]), examined.answers["model"], examined.answers["key mean"])
    for name, chosen in (("p*.a", examined.key < 2), ("b", examined.key == 2)):
        errors = np.abs(model - examined.truth)[chosen]
        entry = scores["keys"][name]
        assert entry["numbers"] == chosen.sum()
        assert entry["mae"]["model"] == pytest.approx(errors.mean())
        assert entry["rmse"]["model"] == pytest.approx(np.sqrt((errors**2).mean()))
        assert entry["median_absolute_error"]["model"] == pytest.approx(np.median(errors))
        assert entry["r2"]["model"] == pytest.approx(1 - (errors**2).mean() / examined.truth[chosen].var())
        assert entry["mae"]["key mean"] == pytest.approx(
            np.abs(examined.answers["key mean"] - examined.truth)[chosen].mean()
        )
        assert entry["undecodable"] == pytest.approx((~np.isfinite(examined.answers["model"]))[chosen].mean())
        low, high = entry["mae"]["interval"]
        assert low < entry["mae"]["model"] < high
    assert scores["undecodable"] == 20 / 400


def test_all_numbers_together_are_measured_in_standard_deviations(examined, scores):
    spread = np.array([0.7, 0.8, 700.0])[examined.key]
    expected = (np.abs(examined.answers["key mean"] - examined.truth) / spread).mean()
    assert scores["all"]["standardised_mae"]["key mean"] == pytest.approx(expected)


def test_decades_have_the_median_of_relative_errors(examined, scores):
    assert [entry["decade"] for entry in scores["decades"]] == [-1, 0, 2, 3]
    model = np.where(np.isfinite(examined.answers["model"]), examined.answers["model"], examined.answers["key mean"])
    relative = np.abs(model - examined.truth) / examined.truth
    for entry in scores["decades"]:
        mine = np.floor(np.log10(examined.truth)) == entry["decade"]
        assert entry["numbers"] == mine.sum()
        assert entry["median_relative_error"]["model"] == pytest.approx(np.median(relative[mine]))
    medians = [entry["median_relative_error"]["model"] for entry in scores["decades"]]
    assert scores["decade_ratio"] == max(medians) / min(medians) > 1


def test_one_decade_has_no_worst_and_best(examined):
    assert scores_of(examined.select(examined.key == 2), [], BOOTSTRAP).decade_ratio is not None
    alone = examined.select((examined.truth >= 1) & (examined.truth < 10))
    assert scores_of(alone, [], BOOTSTRAP).decade_ratio is None


def test_hold_outs_compare_what_was_held_out_with_what_was_not(examined, scores):
    entry = scores["hold_out"][0]
    of_rule, within = examined.key < 2, (examined.truth >= 1.9) & (examined.truth <= 2.1)
    ordinary = ~examined.held_out[examined.record, 0]
    assert entry["inside"]["numbers"] == (of_rule & within).sum()
    assert entry["outside"]["numbers"] == (of_rule & ~within & ordinary).sum()
    assert entry["ratio"] == pytest.approx(entry["inside"]["mae"]["model"] / entry["outside"]["mae"]["model"])


def test_hold_outs_also_compare_other_numbers_of_records_that_show_a_held_out_one(examined, scores):
    given = scores["hold_out"][0]["given"]
    others, held = examined.key == 2, examined.held_out[examined.record, 0]
    model = np.where(np.isfinite(examined.answers["model"]), examined.answers["model"], examined.answers["key mean"])
    errors = np.abs(model - examined.truth)
    assert given["inside"]["mae"]["model"] == pytest.approx(errors[others & held].mean())
    assert given["outside"]["mae"]["model"] == pytest.approx(errors[others & ~held].mean())
    assert given["ratio"] == pytest.approx(errors[others & held].mean() / errors[others & ~held].mean())


def test_coverage_counts_truths_between_the_outermost_quantiles(examined, scores):
    mine = examined.key == 2
    low, high = examined.quantiles[mine].T
    entry = scores["keys"]["b"]["coverage"]
    assert entry["nominal"] == pytest.approx(0.8)
    assert entry["measured"] == pytest.approx(np.mean((examined.truth[mine] >= low) & (examined.truth[mine] <= high)))
    assert entry["mean_width"] == pytest.approx((high - low).mean())


def test_a_simpler_model_that_wins_is_named(examined):
    assert scores_of(examined, [], BOOTSTRAP).better_baselines == []
    worse = examined.answers | {"model": examined.truth + 5000.0}
    found = scores_of(
        Examined(**{**vars(examined), "answers": worse}),
        [],
        BOOTSTRAP,
    ).better_baselines
    assert [(entry.key, entry.baseline) for entry in sorted(found, key=lambda entry: entry.key)] == [
        ("b", "key mean"),
        ("p*.a", "key mean"),
    ]


def test_the_median_and_its_interval_are_of_one_kind():
    # Six values with a gap in their middle: numpy's median lies in the gap.
    values = np.array([1.0, 1.1, 1.2, 2.0, 2.1, 2.2])
    low, high = Bootstrap(samples=2000).median(values, np.arange(6))
    assert low <= np.median(values) <= high
    one = Bootstrap(samples=10).median(values, np.zeros(6, dtype=np.int64))
    np.testing.assert_array_equal(one, [1.6, 1.6])


def test_the_median_of_clusters_has_an_interval_that_holds_it():
    generator = np.random.default_rng(3)
    units = np.repeat(np.arange(50), 20)
    values = generator.normal(size=1000) + 3 * generator.normal(size=50)[units]
    low, high = Bootstrap(samples=400).median(values, units)
    independent = Bootstrap(samples=400).median(values, np.arange(1000))
    assert low < np.median(values) < high
    # Values of one unit are alike, so there is less to learn from them than from as many of their own.
    assert high - low > 2 * (independent[1] - independent[0])
