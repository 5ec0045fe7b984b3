"""Figures of results as PNG files: field panels, curves with bands, ratios with intervals. Knows no family.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart, and every line also has its
own dash. Figures are drawn without a display and are equal for equal input. The drawing library is imported when there
is something to draw: predict, embed and whatever else draws nothing need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polycli.names import shortened_name, without_formulas

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

Array = NDArray[Any]
BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
#: Colour and dash by place in a panel: what is judged comes first.
_COLOURS = (BLUE, ORANGE, GREEN, BLACK, "#CC79A7", "#56B4E9", "#E69F00", "#777777")
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
#: Fifteen pairs, none of them twice: the numbers of colours and of dashes have no divisor in common.
_LINES = tuple((_COLOURS[place % len(_COLOURS)], _DASHES[place % len(_DASHES)]) for place in range(15))
#: Lines that a panel can hold.
MOST_CURVES = len(_LINES)
#: Names in a row of a legend.
_LEGEND_COLUMNS = 5
_STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 120,
    "savefig.dpi": 120,
    # Names inside SVG files, which are random otherwise.
    "svg.hashsalt": "polycli",
}


#: Stands in every figure, so that a later evaluation knows which are not the user's own.
SOFTWARE = "polycli"


@dataclass(frozen=True)
class Line:
    """One curve and, where known, its interval (2, points)."""

    name: str
    values: Array
    band: Array | None = None


@dataclass(frozen=True)
class CurvePanel:
    """One set of axes with curves over a common abscissa."""

    title: str
    x_label: str
    y_label: str
    x: Array
    lines: Sequence[Line]
    logarithmic: bool = False
    #: The abscissa is logarithmic too, and marked where there are points.
    logarithmic_x: bool = False
    #: A logarithmic axis reaches down to this part of the largest value of the first two lines, at most.
    depth: float = 1e-5
    #: Horizontal lines worth knowing: value and name.
    marks: Sequence[tuple[float, str]] = field(default_factory=tuple)


def comparison(
    file: Path,
    *,
    title: str,
    times: Sequence[str],
    truth: Array,
    prediction: Array,
    extent: tuple[tuple[float, float], tuple[float, float]],
    unit: str = "",
) -> None:
    """Truth, prediction and their difference in three rows, one column for each time.

    Truth and prediction share one scale; the difference has a scale for each time, which stands in its panel.

    Args:
        file: The PNG file.
        title: Above the whole.
        times: Above each column.
        truth: (time, x, y).
        prediction: As `truth`; what is not finite is left white.
        extent: Lowest and highest x, lowest and highest y.
        unit: Of the field, for the colour bars.
    """
    from matplotlib.ticker import MaxNLocator

    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    columns = len(times)
    low, high, colours = _field_scale(truth)
    with np.errstate(invalid="ignore", over="ignore"):
        error = prediction - truth
    least = 1e-12 * max(1.0, abs(low), abs(high))
    reaches = [max(_reach(values), least) for values in error]
    # Each time has a scale of its own: errors grow by factors, and on the last one's the first would be blank.
    shares = error / np.array(reaches)[:, None, None]
    (x_low, x_high), (y_low, y_high) = extent
    rows = (
        ("truth", truth, low, high, colours),
        ("prediction", prediction, low, high, colours),
        ("prediction - truth", shares, -1.0, 1.0, "PuOr_r"),
    )
    frame = _Frame(columns=columns, aspect=min(2.0, max(0.5, (y_high - y_low) / (x_high - x_low))))
    with drawing(file, frame.size, layout=None) as figure:
        for row, (name, values, bottom, top, palette) in enumerate(rows):
            for column, time in enumerate(times):
                axes = figure.add_axes(frame.place(row, column))
                image = axes.imshow(
                    values[column].T,
                    origin="lower",
                    extent=(x_low, x_high, y_low, y_high),
                    aspect="auto",
                    vmin=bottom,
                    vmax=top,
                    cmap=palette,
                    interpolation="nearest",
                )
                axes.spines[["top", "right"]].set_visible(True)
                axes.xaxis.set_major_locator(MaxNLocator(3, prune="upper"))
                axes.yaxis.set_major_locator(MaxNLocator(4))
                axes.tick_params(labelbottom=row == 2, labelleft=column == 0)
                if row == 0:
                    axes.set_title(time)
                if row == 2:
                    axes.set_xlabel("x")
                    axes.text(
                        *(0.03, 0.97),
                        f"\N{PLUS-MINUS SIGN}{reaches[column]:.2g}",
                        transform=axes.transAxes,
                        va="top",
                        fontsize=8,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
                    )
                if column == 0:
                    axes.set_ylabel(f"{name}\ny")
            bar = figure.colorbar(image, cax=figure.add_axes(frame.place(row, columns)))
            bar.set_label("of the range in the panel" if row == 2 else unit, fontsize=9)
            bar.ax.tick_params(labelsize=8)
            bar.formatter.set_powerlimits((-3, 4))  # type: ignore[attr-defined]
        figure.suptitle(title, fontsize=12, y=1 - 0.12 / frame.size[1], va="top")


@dataclass(frozen=True)
class _Frame:
    """Positions of panels in inches: laid out by hand, because matplotlib's layout of many panels takes seconds."""

    columns: int
    aspect: float
    width: float = 1.9
    left: float = 0.85
    right: float = 1.05
    top: float = 0.85
    bottom: float = 0.55
    gap: float = 0.14

    @property
    def height(self) -> float:
        """The height of a panel."""
        return self.width * self.aspect

    @property
    def size(self) -> tuple[float, float]:
        """The size of the figure."""
        wide = self.left + self.columns * (self.width + self.gap) + self.right
        return wide, self.top + 3 * self.height + 2 * self.gap + self.bottom

    def place(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a panel as fractions of the figure; the last column is the colour bar."""
        wide, high = self.size
        left = self.left + column * (self.width + self.gap)
        bottom = self.bottom + (2 - row) * (self.height + self.gap)
        width = self.width if column < self.columns else 0.16
        return left / wide, bottom / high, width / wide, self.height / high


def curves(file: Path, *, title: str, panels: Sequence[CurvePanel]) -> None:
    """Panels of curves, two in a row, one legend for all; bands are drawn around what has an interval."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(file, (0.6 + 4.6 * columns, 0.7 + 3.3 * rows), vector=True) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), _LEGEND_COLUMNS), frameon=False
        )
        figure.suptitle(title, fontsize=12)


def ratios(file: Path, *, title: str, x_label: str, names: Sequence[str], values: Array, bounds: Array) -> None:
    """One dot with its interval (2, name) for each name, on a logarithmic axis on which 1 is marked."""
    values, bounds = np.asarray(values, np.float64), np.asarray(bounds, np.float64)
    places = np.arange(len(names))[::-1]
    with drawing(file, (7.0, 1.5 + 0.45 * len(names)), vector=True) as figure:
        axis = figure.subplots()
        shown = np.isfinite(values) & (values > 0)
        spread = np.abs(np.nan_to_num(bounds - values, posinf=0, neginf=0))
        axis.errorbar(
            values[shown],
            places[shown],
            xerr=spread[:, shown],
            fmt="o",
            color=BLUE,
            capsize=4,
            markersize=7,
            linewidth=1.8,
        )
        for place, value, is_shown in zip(places, values, shown, strict=True):
            text = f"{value:.2f}" if is_shown else "diverged"
            axis.annotate(
                text,
                (value if is_shown else 1, place),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        axis.axvline(1, color=ORANGE, linestyle="--", linewidth=1.5)
        axis.annotate(
            "no better than\npersistence",
            (1, 0),  # Below the last dataset, where no value is written.
            xycoords=("data", "axes fraction"),
            xytext=(4, 2),
            textcoords="offset points",
            color=ORANGE,
            va="bottom",
            fontsize=9,
        )
        axis.set_xscale("log")
        finite = np.concatenate([values[shown], bounds[:, shown][np.isfinite(bounds[:, shown])]])
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.5, 1.0)
        axis.set_xlim(max(1e-4, min(0.4, 0.7 * low)), max(2.5, 1.4 * high))
        _plain_logarithmic(axis.xaxis)
        axis.set_yticks(places, names)
        axis.set_ylim(-0.9, len(names) - 0.4)
        axis.set_xlabel(x_label)
        axis.grid(axis="x", alpha=0.3)
        axis.set_title(title)


def _reach(error: Array) -> float:
    """The 99.9th percentile of the error's size, so that one bad pixel does not make the rest of the map white."""
    finite = np.abs(error[np.isfinite(error)])
    return float(np.quantile(finite, 0.999)) if finite.size else 0.0


def _field_scale(truth: Array) -> tuple[float, float, str]:
    """Range and palette: around zero where the field has both signs in earnest, else from least to greatest."""
    low, high = float(truth.min()), float(truth.max())
    if low < 0 < high and min(-low, high) > 0.1 * max(-low, high):
        reach = max(-low, high)
        return -reach, reach, "RdBu_r"
    if high - low <= 1e-12 * max(1.0, abs(low), abs(high)):
        return low - 0.5, high + 0.5, "viridis"
    return low, high, "viridis"


def _draw(axis: Any, panel: CurvePanel) -> None:  # noqa: ANN401  # matplotlib is not typed for strict mypy.
    from matplotlib.ticker import NullFormatter

    for line, (colour, dash) in zip(panel.lines, _LINES, strict=False):
        values = np.where(np.isfinite(line.values), line.values, np.nan)
        axis.plot(panel.x, values, color=colour, linestyle=dash, linewidth=2, label=line.name)
        if line.band is not None:
            low, high = np.where(np.isfinite(line.band), line.band, np.nan)
            axis.fill_between(panel.x, low, high, color=colour, alpha=0.2, linewidth=0)
    for value, name in panel.marks:
        axis.axhline(value, color="#777777", linewidth=1)
        axis.annotate(
            name,
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color="#555555",
        )
    axis.set_title(panel.title)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.grid(alpha=0.3)
    if panel.logarithmic_x:
        axis.set_xscale("log")
        axis.set_xticks(panel.x, [f"{value:g}" for value in panel.x])
        axis.xaxis.set_minor_formatter(NullFormatter())
    if panel.logarithmic:
        _logarithmic(axis, panel)
    else:
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))


def _logarithmic(axis: Any, panel: CurvePanel) -> None:  # noqa: ANN401
    """Log scale over what the first lines do: a baseline that explodes must not flatten everything else."""
    values = [line.values[np.isfinite(line.values) & (line.values > 0)] for line in panel.lines]
    values = [some for some in values if some.size]
    if not values:
        return
    axis.set_yscale("log")
    judged = np.concatenate(values[:2])
    low, high = float(min(some.min() for some in values)), float(judged.max())
    axis.set_ylim(max(low, high * panel.depth) / 1.5, max(high * 2.5, *(value * 1.5 for value, _ in panel.marks), 0.0))
    _plain_logarithmic(axis.yaxis)


def _plain_logarithmic(axis: Any) -> None:  # noqa: ANN401
    """0.05, 0.1, 0.2 where the axis spans little; powers of ten where it spans much."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high / low < 2000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _show_names_as_they_are(figure: Figure) -> None:
    """Names of stores, fields and columns are no formulas, whatever `$` is in them, and none is longer than a figure.

    Texts of numbers on axes are formulas of matplotlib's own; names on axes come from a list or a function.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    for axis in axes:
        made = axis.get_major_formatter()
        if isinstance(made, FixedFormatter | FuncFormatter):
            axis.set_major_formatter(partial(_plain_label, made))
    of_ticks = {text for axis in axes for text in axis.findobj(Text)} - {axis.label for axis in axes}
    for text in figure.findobj(Text):
        if text not in of_ticks:
            text.set_parse_math(False)
            text.set_text("\n".join(map(shortened_name, text.get_text().split("\n"))))


def _plain_label(made: Formatter, value: float, place: int | None) -> str:
    return without_formulas(made(value, place))


@contextmanager
def drawing(
    file: Path,
    size: tuple[float, float],
    layout: Literal["constrained"] | None = "constrained",
    *,
    vector: bool = False,
) -> Iterator[Figure]:
    """A figure of `size` inches in the house's style, written to `file` at the end; with `vector` as SVG, too."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        _show_names_as_they_are(figure)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Without the version of matplotlib inside, so that equal results are equal files for longer.
        figure.savefig(file, metadata={"Software": SOFTWARE})
        if vector:
            figure.savefig(file.with_suffix(".svg"), metadata={"Creator": SOFTWARE, "Date": None})
