"""Figures are legible PNG files, equal for equal input."""

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes

from polycli.report.figures import CurvePanel, Line, comparison, curves, ratios

EXTENT = ((0.0, 1.0), (0.0, 1.0))


def fields(count: int, size: int = 16) -> np.ndarray:
    x = np.linspace(0, 6, size)
    return np.stack([np.sin(x[:, None] + k) * np.cos(x[None]) for k in range(count)])


def draw(path, prediction=None, **options):
    truth = fields(3)
    prediction = truth + 0.1 if prediction is None else prediction
    comparison(
        path, title="a", times=["1", "2", "3"], truth=truth, prediction=prediction, extent=EXTENT, unit="m", **options
    )
    return image.imread(path)


def test_equal_input_gives_equal_files(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_truth_and_prediction_share_the_scale_of_the_truth_and_the_error_is_centred(tmp_path, monkeypatch):
    limits = []
    imshow = Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda *a, **k: limits.append((k["vmin"], k["vmax"], k["cmap"])) or imshow(*a, **k)
    )
    draw(tmp_path / "a.png", prediction=3 * fields(3))
    reach = np.abs(fields(3)).max()
    assert limits[:6] == [(-reach, reach, "RdBu_r")] * 6
    low, high, _ = limits[6]
    assert low == -high
    assert high == pytest.approx(2 * reach, rel=0.05)


def test_a_diverged_prediction_and_a_constant_truth_are_drawn_too(tmp_path):
    assert draw(tmp_path / "nan.png", prediction=np.full((3, 16, 16), np.nan)).shape[2] == 4
    comparison(
        tmp_path / "flat.png",
        title="",
        times=["1"],
        truth=np.ones((1, 8, 8)),
        prediction=np.full((1, 8, 8), np.inf),
        extent=EXTENT,
    )
    assert image.imread(tmp_path / "flat.png").std() > 0


@pytest.mark.parametrize(
    "values", [np.linspace(0.1, 5, 9), np.full(9, np.nan), np.zeros(9), np.geomspace(1e-9, 1e9, 9)]
)
def test_curves_of_any_range_are_drawn(tmp_path, values):
    line = Line("model", values, np.stack([values * 0.9, values * 1.1]))
    panel = CurvePanel(
        "t", "x", "y", np.arange(9), [line, Line("other", np.ones(9))], logarithmic=True, marks=[(1, "m")]
    )
    curves(tmp_path / "c.png", title="t", panels=[panel, panel])
    assert image.imread(tmp_path / "c.png").shape[1] > 1000


def test_ratios_are_drawn_where_one_is_not_finite(tmp_path):
    bounds = np.array([[0.2, np.nan], [0.4, np.nan]])
    ratios(tmp_path / "r.png", title="t", x_label="x", names=["a", "b"], values=np.array([0.3, np.nan]), bounds=bounds)
    assert image.imread(tmp_path / "r.png").std() > 0
