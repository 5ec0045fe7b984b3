"""Sets one-step errors beside Table 1 of the MPP paper: one model for all systems, without finetuning.

The paper's rule: NRMSE of the frame after 16, the mean over fields and all windows of the test trajectories, which are
the last tenth of each PDEBench file (`prepare --set split.rule=file_order` keeps those apart). Files of equal Mach
number are one column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polycli.mpp.data.file_order import FILE_ORDER
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.settings import EvalSettings
from polycli.mpp.scoring.measure import OneStep, Subset
from polycli.mpp.scoring.score_records import PaperColumn, PaperScores
from polycli.report.table import Table, number
from polycli.requests import EvalRequest

HISTORY = 16
#: McCabe et al. 2024, Table 1, by size: of shallow water, diffusion-reaction, compressible flow at Mach 1 and 0.1.
PUBLISHED: dict[str, tuple[float, float, float, float]] = {
    "Ti": (0.0066, 0.0168, 0.0442, 0.0312),
    "S": (0.0039, 0.0112, 0.0319, 0.0213),
    "B": (0.0024, 0.0106, 0.0281, 0.0172),
    "L": (0.0022, 0.0098, 0.0208, 0.0147),
}
COLUMNS = ("SWE", "DiffRe2D", "CNS M1.0", "CNS M0.1")
_WIDTHS = {192: "Ti", 384: "S", 768: "B", 1024: "L"}
_SYSTEMS = {"shallow_water": "SWE", "diffusion_reaction": "DiffRe2D"}


#: More windows than any trajectory has.
_ALL = 10**9


@dataclass(frozen=True)
class Measured:
    """The one-step error of one dataset, and how it was taken."""

    dataset: str
    column: str | None
    nrmse: float
    #: Windows of all trajectories together.
    windows: int
    #: In which points it was not taken by the paper's rule.
    departures: tuple[str, ...]


def column_of(about: PdeDescription) -> str | None:
    """The column of the table that a dataset belongs to."""
    if about.physics == "compressible_ns" and set(about.boundary_conditions.values()) == {"periodic"}:
        return {1.0: "CNS M1.0", 0.1: "CNS M0.1"}.get(about.constants.get("M", 0.0))
    return _SYSTEMS.get(about.physics)


def beside_paper(measured: Sequence[Measured], width: int) -> PaperScores:
    """`paper_table1` of scores.json: by column our error, the paper's, and what our error is of."""
    size = _WIDTHS.get(width)
    published = dict(zip(COLUMNS, PUBLISHED[size], strict=True)) if size else {}
    columns: dict[str, PaperColumn] = {}
    for column in COLUMNS:
        own = [one for one in measured if one.column == column]
        if own:
            windows = sum(one.windows for one in own)
            columns[column] = PaperColumn(
                nrmse=sum(one.nrmse * one.windows for one in own) / windows,
                published=published.get(column),
                windows=windows,
                datasets=[one.dataset for one in own],
            )
    return PaperScores(
        size=size,
        columns=columns,
        without_column=[one.dataset for one in measured if one.column is None],
        departures=sorted({f"{one.dataset}: {text}" for one in measured for text in one.departures if one.column}),
    )


def paper_table(scores: PaperScores) -> Table:
    """The columns of the paper as rows, ours beside them, and the other sizes."""
    rows = [
        [column, number(entry.nrmse), number(entry.published), _ratio(entry), str(entry.windows)]
        + [number(values[COLUMNS.index(column)]) for values in PUBLISHED.values()]
        for column, entry in scores.columns.items()
    ]
    size = f"AViT-{scores.size}" if scores.size else "no published size"
    caption = [f"NRMSE of the next frame; the model has the width of {size}."]
    if scores.departures:
        caption.append(f"Not by the paper's rule: {'; '.join(scores.departures)}.")
    if scores.without_column:
        caption.append(f"Not in the paper's table: {', '.join(scores.without_column)}.")
    columns = ["system", "here", "published", "here / published", "windows", *(f"paper's {name}" for name in PUBLISHED)]
    return Table("Beside Table 1 of the paper", columns, rows, " ".join(caption))


def _ratio(entry: PaperColumn) -> str:
    known = entry.nrmse is not None and entry.published is not None
    return number(entry.nrmse / entry.published if known else None)  # type: ignore[operator]


class PaperTable:
    """Gathers one-step errors for the paper's table while an evaluation goes through its datasets, where it is to."""

    def __init__(self, loaded: LoadedNetwork, settings: EvalSettings, request: EvalRequest) -> None:
        """Takes all windows, unless a number of them is given."""
        self._loaded, self._request = loaded, request
        self._wanted = settings.compare == "mpp_paper_table1"
        self._measured: list[Measured] = []
        every = self._wanted and "max_windows" not in settings.model_fields_set
        #: The settings to evaluate by.
        self.settings = settings.model_copy(update={"max_windows": _ALL}) if every else settings

    def add(self, subset: Subset, one_step: OneStep) -> None:
        """Keep the one-step error of a dataset, and in which points it is not taken as the paper does."""
        if not self._wanted:
            return
        frames, rule = (self._loaded.history, self._loaded.time_stride), subset.store.manifest.split_rule
        departures = {
            f"split {self._request.split}": self._request.split != "test",
            "some of its trajectories": self._request.limit is not None,
            f"{one_step.windows} of {one_step.available} windows": one_step.windows < one_step.available,
            f"history {frames[0]}, stride {frames[1]}": frames != (HISTORY, 1),
            f"its test trajectories are chosen {rule}, not by place in the file": rule != FILE_ORDER,
        }
        measured = Measured(
            dataset=subset.store.name,
            column=column_of(subset.about),
            nrmse=float(one_step.errors["nrmse"]["model"].mean()),
            windows=one_step.windows * len(subset.rows),
            departures=tuple(text for text, departs in departures.items() if departs),
        )
        self._measured.append(measured)

    def scores(self) -> PaperScores | None:
        """Returns what scores.json says of it; None where nothing was asked."""
        width = getattr(self._loaded.section, "embed_dim", 0)
        return beside_paper(self._measured, width) if self._wanted else None

    def tables(self) -> list[Table]:
        """Returns the table, where it was asked for."""
        scores = self.scores()
        return [] if scores is None else [paper_table(scores)]
