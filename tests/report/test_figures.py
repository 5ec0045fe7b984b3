"""Figures are legible PNG files, equal for equal input."""

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.text import Text

from polycli.report.figures import CurvePanel, Line, comparison, curves, ratios
from polycli.report.folder import _is_own

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


def test_truth_and_prediction_share_the_scale_of_the_truth_and_each_error_has_its_own(tmp_path, monkeypatch):
    limits, shown, said = [], [], []
    imshow, text = Axes.imshow, Axes.text

    def note(axes, values, **options):
        limits.append((options["vmin"], options["vmax"], options["cmap"]))
        shown.append(values)
        return imshow(axes, values, **options)

    monkeypatch.setattr(Axes, "imshow", note)
    monkeypatch.setattr(Axes, "text", lambda *a, **k: said.append(a[3]) or text(*a, **k))
    # Errors that grow a thousandfold, as those of rollouts do.
    sizes = np.array([0.001, 0.03, 1.0])
    draw(tmp_path / "a.png", prediction=fields(3) * (1 + sizes)[:, None, None])
    reach = np.abs(fields(3)).max()
    assert limits[:6] == [(-reach, reach, "RdBu_r")] * 6
    assert limits[6:] == [(-1.0, 1.0, "PuOr_r")] * 3
    for error, size, label, truth in zip(shown[6:], sizes, said, fields(3), strict=True):
        assert np.abs(error).max() == pytest.approx(1, rel=0.05), "no time is blank"
        assert float(label[1:]) == pytest.approx(size * np.abs(truth).max(), rel=0.06), "the panel says its range"


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


@pytest.mark.parametrize("name", ["$x_{$", r"\frac{$\$", "a$b", "x" * 5000, "\x1b[31m", "\udcff", "$$"])
@pytest.mark.filterwarnings("ignore:constrained_layout")
def test_names_are_drawn_whatever_stands_in_them(tmp_path, name):
    truth, values = fields(3), np.array([0.5, 2.0])
    shown = {"title": name, "times": [name] * 3, "unit": name, "extent": EXTENT}
    comparison(tmp_path / "a.png", truth=truth, prediction=truth, **shown)
    bounds = np.stack([values, values])
    ratios(tmp_path / "b.png", title=name, x_label=name, names=[name, "b"], values=values, bounds=bounds)
    lines = [Line(name, np.ones(3)), Line("b", np.ones(3))]
    curves(
        tmp_path / "c.png", title=name, panels=[CurvePanel(name, name, name, np.arange(3.0), lines, marks=[(1, name)])]
    )
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "b.png", "b.svg", "c.png", "c.svg"}


def test_powers_of_ten_on_an_axis_are_still_formulas(tmp_path, monkeypatch):
    drawn = {}

    def note(text, *arguments, **options):
        drawn[text.get_text()] = text.get_parse_math()
        return draw_text(text, *arguments, **options)

    draw_text = Text.draw
    monkeypatch.setattr(Text, "draw", note)
    panel = CurvePanel(
        "", "", "", np.arange(8.0), [Line("a", 10.0 ** np.arange(-8, 8, 2))], logarithmic=True, depth=1e-20
    )
    curves(tmp_path / "a.png", title="$t$", panels=[panel])
    assert drawn["$t$"] is False
    powers = [text for text in drawn if "mathdefault" in text]
    assert powers
    assert all(drawn[text] for text in powers)


def test_lines_are_drawn_as_svg_too_equal_for_equal_input_and_marked_as_ours(tmp_path):
    panel = CurvePanel("t", "x", "y", np.arange(4.0), [Line("a", np.ones(4))])
    for name in "ab":
        curves(tmp_path / f"{name}.png", title="t", panels=[panel])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert _is_own(tmp_path / "a.svg", ())
    (tmp_path / "mine.svg").write_text("<svg/>")
    assert not _is_own(tmp_path / "mine.svg", ())
