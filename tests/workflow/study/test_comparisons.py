"""Comparisons of a study: ratios with intervals, and how many samples of one kind are as good as those of another."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from polycli.errors import RecipeError
from polycli.workflow.study.comparisons import compare, count_for, draw, ratio_of
from polycli.workflow.study.plan import Layout
from polycli.workflow.study.recipe import StudyRecipe
from polycli.workflow.study.report import write_report

SEEDS = (0, 1)
#: Errors by start and number of samples, of seed 0; seed 1 has a tenth more.
ERRORS = {
    "pretrained": {8: 0.2, 16: 0.1, 32: 0.05},
    "scratch": {8: 0.8, 16: 0.4, 32: 0.1},
}
RUN = {"recipe": "mpp_demo", "stores": ["a/store"], "grid": {"samples": [8, 16, 32], "seed": list(SEEDS)}}
STUDY = {
    "family": "mpp",
    "verb": "study",
    "title": "Two starts",
    "runs": {"pretrained": RUN, "scratch": RUN},
    "tables": [],
    "comparisons": [
        {
            "title": "Errors",
            "lines": {"pretrained": "pretrained", "scratch": "scratch"},
            "reference": "scratch",
            "key": "samples",
            "value": "run/loss",
            "worth": True,
            "claim": "pretrained is below scratch everywhere",
        }
    ],
}


def documents(errors=ERRORS):
    return {
        entry: {
            f"{entry}-{samples}-{seed}": {"run": {"loss": error * (1 + seed / 10)}}
            for samples, error in by_samples.items()
            for seed in SEEDS
        }
        for entry, by_samples in errors.items()
    }


def study(**changes) -> StudyRecipe:
    comparison = {**STUDY["comparisons"][0], **changes}
    return StudyRecipe.model_validate({**STUDY, "comparisons": [comparison]})


def compared(errors=ERRORS, **changes):
    recipe = study(**changes)
    return compare(recipe, recipe.comparisons[0], documents(errors))


def test_the_interval_of_a_ratio_is_that_of_welchs_t_for_logarithms():
    values, reference = [0.10, 0.12, 0.09], [0.21, 0.35, 0.25]
    ratio = ratio_of(values, reference)
    welch = stats.ttest_ind(np.log(values), np.log(reference), equal_var=False).confidence_interval(0.95)
    assert ratio.value == pytest.approx(np.exp(np.mean(np.log(values)) - np.mean(np.log(reference))))
    assert (ratio.low, ratio.high) == pytest.approx((math.exp(welch.low), math.exp(welch.high)))


def test_one_seed_has_a_ratio_and_no_interval():
    assert ratio_of([1.0], [4.0]).text() == "0.250"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.9, 0.0), (0.8, 8.0), (0.4, 16.0), (0.2, 16 * math.sqrt(2)), (0.1, 32.0), (0.05, math.inf)],
)
def test_a_count_is_interpolated_in_logarithms_and_open_at_both_ends(error, expected):
    # The last stretch falls fourfold while the count doubles: half the way down is the root of two.
    assert count_for(error, list(ERRORS["scratch"].items())) == pytest.approx(expected)


def test_a_curve_that_rises_again_counts_as_flat_there():
    assert count_for(0.3, [(8, 0.4), (16, 0.6), (32, 0.2)]) == pytest.approx(16 * 2 ** (math.log(4 / 3) / math.log(2)))


def test_a_row_says_errors_ratio_and_what_a_sample_is_worth():
    table = compared().table()
    assert table.columns == [
        "samples",
        "pretrained",
        "scratch",
        "pretrained / scratch",
        "samples of scratch as good as pretrained",
        "for one",
    ]
    first, _, last = table.rows
    assert first[:3] == ["8", "0.210 (0.200 to 0.220)", "0.840 (0.800 to 0.880)"]
    assert first[3].startswith("0.250 (")
    # Pairs of seeds: 0.2 and 0.22 on a curve from 0.4 to 0.1, and on one from 0.44 to 0.11.
    low, high = (16 * 2 ** (math.log(ratio) / math.log(4)) for ratio in (0.4 / 0.22, 0.44 / 0.2))
    assert first[4] == f"23 ({low:.0f} to {high:.0f})"
    assert first[5] == f"2.8 ({low / 8:.1f} to {high / 8:.1f})"
    assert last[4:] == ["more than 32", "more than 1.0"]


def test_a_seed_without_a_value_at_a_point_has_no_curve_and_the_caption_says_so(tmp_path):
    found = documents()
    found["scratch"]["scratch-16-0"]["run"]["loss"] = None
    recipe = study()
    comparison = compare(recipe, recipe.comparisons[0], found)
    # Seed 1 alone has a curve, a tenth above ERRORS: 0.88, 0.44, 0.11.
    assert comparison.curves == [pytest.approx([0.88, 0.44, 0.11])]
    # At 16, pretrained has 0.1 and 0.11.
    assert comparison.worth("pretrained", 16) == [32.0, math.inf]
    assert "Only 1 of 2 seeds of scratch have a value at every samples" in comparison.table().caption
    draw(tmp_path / "curves.png", "Two starts", [comparison])
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_worth_without_one_whole_seed_is_refused_in_a_sentence():
    found = documents()
    found["scratch"]["scratch-16-0"]["run"]["loss"] = found["scratch"]["scratch-8-1"]["run"]["loss"] = None
    recipe = study()
    with pytest.raises(RecipeError, match="needs a seed of scratch with a value at every samples"):
        compare(recipe, recipe.comparisons[0], found)


def test_a_claim_holds_where_the_whole_interval_is_below_one_at_every_point():
    assert compared().claim()[0]
    worse = {**ERRORS, "pretrained": {8: 0.2, 16: 0.1, 32: 0.095}}
    holds, evidence = compared(worse).claim()
    assert not holds
    assert "pretrained at 32: 0.950 (" in evidence


def test_a_line_whose_grid_has_no_such_key_has_its_runs_everywhere_and_places_name_the_point():
    recipe = StudyRecipe.model_validate(
        {
            **STUDY,
            "runs": {
                "all": {**RUN, "grid": {"seed": [0]}},
                "one": {**RUN, "grid": {"system": ["waves", "smoke"], "seed": [0]}},
            },
            "comparisons": [
                {
                    **STUDY["comparisons"][0],
                    "lines": {"one for all": "all", "one each": "one"},
                    "reference": "one each",
                    "key": "system",
                    "value": "run/{system}",
                    "worth": False,
                }
            ],
        }
    )
    found = {
        "all": {"all-0": {"run": {"waves": 1.0, "smoke": 3.0}}},
        "one": {"one-waves-0": {"run": {"waves": 2.0}}, "one-smoke-0": {"run": {"smoke": 2.0}}},
    }
    table = compare(recipe, recipe.comparisons[0], found).table()
    assert [list(row) for row in table.rows] == [["waves", "1.00", "2.00", "0.500"], ["smoke", "3.00", "2.00", "1.50"]]


def test_the_report_has_the_figure_the_table_and_the_claim(tmp_path):
    write_report(study(), documents(), Layout(tmp_path), command="polycli study mpp")
    assert (tmp_path / "comparisons.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png" in (tmp_path / "report.html").read_text()
    written = json.loads((tmp_path / "study.json").read_text())
    assert written["claims"][0]["holds"]
    assert written["comparisons"]["Errors"]["8"]["scratch"] == pytest.approx([0.8, 0.88])
    assert "## Errors" in (tmp_path / "tables.md").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": "steps"}, "comparison 'Errors': the grid of scratch has no steps"),
        ({"where": {"seed": 7}}, "pretrained has no run at samples 8"),
    ],
)
def test_what_is_not_there_is_named(changes, sentence):
    with pytest.raises(RecipeError, match=sentence):
        compared(**changes)


def test_a_reference_that_is_no_line_is_refused():
    with pytest.raises(ValueError, match="`reference` is one of two or more `lines`"):
        study(reference="nothing")
