"""Scalers by key path: from statistics, applied, taken back, saved."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.errors import CheckpointError, RecipeError
from polycli.xval.numbers.scaling import Scaler, Scaling, make_scaling
from polycli.xval.numbers.statistics import NumberStatistics, NumberSums
from polycli.xval.recipe.training import ScalerSection, ScalingSection

PATHS = ("none", "affine", "wide", "given")


def statistics(values):
    sums = NumberSums()
    sums.update(np.asarray(values, dtype=np.float64), np.zeros(len(values), dtype=np.int32))
    return sums.statistics(["x"])["x"]


@pytest.fixture
def scaling():
    known = {
        "affine": statistics([1.0, 3.0]),
        "wide": statistics([1e-4, -1e4] + [1.0] * 50),
        "given": statistics([5.0]),
    }
    section = ScalingSection(
        keys={"affine": "affine", "wide": "asinh", "given": ScalerSection(kind="affine", shift=2.0, scale=4.0)}
    )
    return make_scaling(section, PATHS, known)


def test_constants_come_from_the_statistics_or_from_the_recipe(scaling):
    assert scaling.of("none") == Scaler()
    assert scaling.of("affine") == Scaler("affine", 2.0, 1.0)
    assert scaling.of("given") == Scaler("affine", 2.0, 4.0)
    wide = scaling.of("wide")
    assert wide.softness == 1e-4  # 1 of 52 sizes lies in that decade, which is more than 1 %
    # The largest size goes to the end of xVal's useful range.
    assert math.asinh(1e4 / wide.softness) / wide.scale == pytest.approx(5.0, rel=1e-15)


def test_each_number_is_scaled_by_its_own_key_path(scaling):
    values = np.array([7.0, 7.0, -1e4, 7.0])
    scaled = scaling.apply(values, np.arange(4, dtype=np.int32), PATHS)
    assert scaled == pytest.approx([7.0, 5.0, -5.0, 1.25], rel=1e-15)
    # Places count in the list that is given, whatever order it has.
    turned = scaling.apply(values[::-1], np.arange(4, dtype=np.int32), PATHS[::-1])
    assert turned.tolist() == scaled[::-1].tolist()


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_inverse_takes_scaling_back_to_rounding(value, shift, scale):
    for scaler in (Scaler("affine", shift, scale), Scaler("asinh", shift, scale, 0.01), Scaler()):
        scaling = Scaling({"x": scaler})
        keys = np.zeros(1, dtype=np.int32)
        back = scaling.invert(scaling.apply(np.array([value]), keys, ["x"]), keys, ["x"])[0]
        # Rounding of x - shift, and for asinh of the logarithm, whose derivative is asinh(x) itself.
        assert back == pytest.approx(value, rel=1e-13, abs=1e-14 * (abs(shift) + abs(value)) + 1e-16)


def test_scalers_survive_json_bit_for_bit(scaling):
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    assert again == scaling
    with pytest.raises(CheckpointError, match="scaling of the numbers cannot be read"):
        Scaling.from_json({"keys": {"a": {"kind": "affine", "bogus": 1}}, "default": {}})


def test_a_key_that_does_not_exist_is_refused():
    with pytest.raises(RecipeError, match=r"scaling\.keys: no key path of the data fits 'masss'.*mass"):
        make_scaling(ScalingSection(keys={"masss": "affine"}), ["mass"], {})


def test_constant_numbers_keep_their_units():
    scaling = make_scaling(ScalingSection(default="affine"), ["x", "unseen"], {"x": statistics([3.0, 3.0])})
    assert scaling.of("x") == Scaler("affine", 3.0, 1.0)
    assert scaling.of("unseen") == Scaler("affine", 0.0, 1.0)


def test_a_nan_that_is_to_be_filled_stays_one(scaling):
    assert np.isnan(scaling.apply(np.full(4, np.nan), np.arange(4, dtype=np.int32), PATHS)).all()


def test_statistics_survive_json():
    known = statistics([1e-7, -2.0, 0.0, 300.0])
    assert known.count == 4
    assert (known.smallest, known.largest, known.low_decade) == (1e-7, 300.0, -7)
    assert NumberStatistics.from_dict(json.loads(json.dumps(known.as_dict()))) == known


def test_more_decades_than_float64_can_divide_are_scaled_without_a_warning():
    values, keys = np.array([4.9e-324, 1e22, 3.0, -7e-300]), np.zeros(4, dtype=np.int32)
    sums = NumberSums()
    sums.update(values, keys)
    scaling = make_scaling(ScalingSection(default="auto"), ["a"], sums.statistics(["a"]))
    assert scaling.of("a").kind == "asinh"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = scaling.apply(values, keys, ["a"])
        back = scaling.invert(scaled, keys, ["a"])
    assert scaled.max() == pytest.approx(5)
    np.testing.assert_allclose(back[1:], values[1:], rtol=1e-9)
