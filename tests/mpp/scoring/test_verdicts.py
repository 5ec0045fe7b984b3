"""One sentence for each dataset of forecasts, no kinder than its numbers."""

from types import SimpleNamespace

import pytest

from polycli.mpp.scoring.verdicts import verdicts


def dataset(ratio, *, interval=None, linear=2.0, below=4, growth=(0.1, 0.2, 0.3, 0.4), diverged=0):
    """What a verdict looks at, of a dataset with four steps and two fields."""
    mean = SimpleNamespace(
        by_method={"model": ratio, "persistence": 1.0, "linear": linear},
        ratio=ratio,
        ratio_interval=interval or (ratio, ratio),
    )
    fields = {"a.u": SimpleNamespace(ratio=ratio / 2), "a.v": SimpleNamespace(ratio=ratio * 2)}
    errors = SimpleNamespace(
        steps_below_persistence=SimpleNamespace(mean_curve=below, of=4),
        growth=SimpleNamespace(by_method={"model": growth}),
    )
    return SimpleNamespace(
        trajectories=8,
        one_step=SimpleNamespace(metrics={"vrmse": SimpleNamespace(mean=mean, fields=fields)}),
        rollout=SimpleNamespace(metrics={"vrmse": errors}, diverged=diverged),
        bands=None,
    )


def of(**given):
    return verdicts({"waves": dataset(**given)})["waves"]


def test_a_good_model_is_called_good_with_its_best_and_worst_field():
    found = of(ratio=0.25)
    assert found.standing == "good"
    assert (found.value, found.better) == (0.25, "lower")
    assert "4.00 times smaller" in found.sentence
    assert "best field u (0.125), worst v (0.500)" in found.sentence


@pytest.mark.parametrize(
    ("given", "standing", "advice"),
    [
        ({"ratio": 1.5}, "poor", "train longer"),
        ({"ratio": 1.1, "interval": (0.9, 1.3)}, "mixed", "train longer"),
        ({"ratio": 0.9, "interval": (0.7, 1.1)}, "mixed", "score more trajectories"),
        ({"ratio": 0.5, "linear": 0.4}, "mixed", "linear extrapolation is better"),
        ({"ratio": 0.5, "below": 3}, "mixed", "at most 3 steps"),
        ({"ratio": 0.5, "growth": (0.2, 0.7, 1.2, 1.5)}, "mixed", "at most 2 steps"),
        ({"ratio": 0.5, "growth": (0.2, None, None, None), "diverged": 2}, "mixed", "at most 1 step;"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do_next(given, standing, advice):
    found = of(**given)
    assert found.standing == standing
    assert advice in found.advice


def test_forecasts_that_the_mean_of_the_field_would_beat_are_named():
    assert (
        "from step 3 on, they are no better than the mean of the field"
        in of(ratio=0.5, growth=(0.2, 0.7, 1.2, 1.5)).sentence
    )
