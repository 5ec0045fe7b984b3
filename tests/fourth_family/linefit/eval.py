"""`polycli eval linefit`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from linefit.pretrain import Line
from linefit.recipes import EvalSettings
from polycli.recipes import default_recipe
from polycli.report.scores import Scores
from polycli.report.table import Table, number
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation
from polycli.workflow.loaded import LoadedCheckpoint, find_checkpoint
from polycli.workflow.overlap import ScoredRows


def run(request: EvalRequest) -> JsonDocument:
    settings = default_recipe("linefit", "eval", request.overrides, schema=EvalSettings)
    return LineEvaluation(find_checkpoint(request.checkpoint, family="linefit"), settings, request).run(report=False)


@dataclass(frozen=True)
class Subset:
    """The points of a split."""

    scored: ScoredRows


@dataclass(frozen=True)
class LineScores:
    """The mean absolute error over the points of a store."""

    mae: float | None
    points: int


class LineEvaluation(Evaluation[LoadedCheckpoint, EvalSettings, Subset, LineScores, None]):
    """The error of a line."""

    family, rows_are = "linefit", "points"

    def choose(self, store: Store) -> Subset:
        return Subset(ScoredRows(store, store.rows(self.request.split)))

    def score(self, subset: Subset, folder: Path) -> tuple[LineScores, None]:
        store, rows = subset.scored.store, subset.scored.rows
        x, y = (torch.from_numpy(store.read(name)[rows]) for name in ("x", "y"))
        tensors = load_file(self.loaded.model_file)
        line = Line(x.shape[1], bias="sum.bias" in tensors)
        line.load_state_dict(tensors)
        with torch.no_grad():
            error = (line.sum(x).squeeze(-1) - y).abs().mean() * self.settings.scale
        return LineScores(mae=float(error), points=len(rows)), None

    def tables(self, datasets: Mapping[str, LineScores]) -> list[Table]:
        return [Table("Errors", ("store", "mae"), [(name, number(scores.mae)) for name, scores in datasets.items()])]

    def write_report(
        self,
        scores: Scores[LineScores],
        subsets: Mapping[str, Subset],
        pictures: Mapping[str, None],
        folder: Path,
    ) -> None:
        raise NotImplementedError
