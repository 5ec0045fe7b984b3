"""Units of key paths: joined where they agree, refused where they do not."""

import pytest

from polycli.errors import SourceError, StoreError
from polycli.xval.records.cells import is_unit, same_unit
from polycli.xval.records.units import joined_units, refuse_other_units


def test_units_of_several_sources_are_joined_however_they_are_written():
    found = joined_units([("a", {"v": "m/s", "planet*.m": "kg"}), ("b", {"v": "m s-1", "planet0.m": "kg", "t": "d"})])
    assert found == {"v": "m/s", "planet*.m": "kg", "t": "d"}


def test_sources_of_different_units_are_refused():
    with pytest.raises(StoreError, match=r"b: planet0\.m is in g, in a it is in kg"):
        joined_units([("a", {"planet*.m": "kg"}), ("b", {"planet0.m": "g"})])
    # What is no physical unit is compared as it is written.
    with pytest.raises(StoreError, match="1e-05 star masses"):
        joined_units([("a", {"m": "1e-05 star masses"}), ("b", {"m": "0.001 star masses"})])


def test_data_in_units_of_their_own_are_refused_where_the_model_knows_others():
    refuse_other_units({"mass": "kg", "new": "g"}, {"mass": "kg"}, learned_at=["mass"], source="x.csv")
    with pytest.raises(SourceError, match=r"x\.csv: mass is in g, the model learned it in kg"):
        refuse_other_units({"mass": "g"}, {"mass": "kg"}, learned_at=["mass"], source="x.csv")


def test_a_unit_where_the_model_learned_none_is_said(capsys):
    units, learned_at = {"mass": "kg", "planet*.m": "g", "new": "s"}, ["mass", "planet0.m", "planet1.m", "t"]
    refuse_other_units(units, {"planet1.m": "g"}, learned_at=learned_at, source="x.csv")
    said = capsys.readouterr().err
    assert "x.csv: states mass in kg, planet0.m in g, which the model learned without a unit" in said
    refuse_other_units({"mass": "kg"}, {"mass": "kg"}, learned_at=learned_at, source="x.csv")
    refuse_other_units({}, {"mass": "kg"}, learned_at=learned_at, source="x.csv")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "spellings", [("°C", "degC", "deg_C"), ("°F", "degF"), ("µm", "μm", "um", "micron"), ("counts", "count"), ("1",)]
)
def test_units_that_tables_write_in_several_ways_are_one(spellings):
    assert all(is_unit(unit) for unit in spellings)
    assert all(same_unit(one, other) for one in spellings for other in spellings)
    assert not any(same_unit(unit, "kg") for unit in spellings)
