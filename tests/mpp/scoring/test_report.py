"""Figures of reports say what is known of the fields, and no more."""

import numpy as np
import pytest

from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring import report
from polycli.mpp.scoring.measure import Illustration


@pytest.mark.parametrize(("unit", "label"), [("", ""), ("1", "dimensionless"), ("m/s", "m/s")])
def test_the_colour_bar_of_a_field_without_a_unit_has_no_label(tmp_path, monkeypatch, unit, label):
    """It said dimensionless, which nobody had."""
    drawn = []
    monkeypatch.setattr(report, "comparison", lambda _, **options: drawn.append(options["unit"]))
    about = PdeDescription(
        physics="my",
        fields=("my.h",),
        units=(unit,),
        dt=0.1,
        grid=(4, 4),
        extent=((0, 1), (0, 1)),
        boundary_conditions={"x": "wall", "y": "wall"},
        parameter_names=(),
        constants={},
    )
    frames = np.zeros((2, 1, 4, 4), np.float32)
    report._field_figure("own", 0, about, Illustration("0000", (1, 2), frames, frames), 0.1, figures=tmp_path)
    assert drawn == [label]
