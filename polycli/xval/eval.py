"""`polycli eval xval`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polycli.console import rank
from polycli.recipes import default_recipe
from polycli.report.scores import Scores
from polycli.report.table import Table
from polycli.report.verdict import Verdict
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.predicting.unknown_keys import settle_unknown_keys
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.scoring.choosing import choose_records
from polycli.xval.scoring.classes.scores import class_scores
from polycli.xval.scoring.coverage.calibrated import calibrated_coverage
from polycli.xval.scoring.hidden_numbers import Illustration, Subset, score_numbers, scored_together
from polycli.xval.scoring.judged_records import score_head
from polycli.xval.scoring.report import write_report
from polycli.xval.scoring.score_records import DatasetScores
from polycli.xval.scoring.tables import overview
from polycli.xval.scoring.verdicts import dataset_verdicts


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the records of a split, beside means, the last value and, for tables, simple learners.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("xval", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_checkpoint(request.checkpoint)
    return RecordEvaluation(loaded, settings, request).run(report=settings.report)


class RecordEvaluation(Evaluation[LoadedNumformer, EvalSettings, Subset, DatasetScores, Illustration | None]):
    """Errors of hidden numbers or, of a model with a head, of its answers for whole records."""

    family = "xval"
    rows_are = "records"

    def choose(self, store: Store) -> Subset:
        """Chooses the records to score."""
        records = RecordStore(store)
        settle_unknown_keys(records, self.loaded.tokenization, self.settings.unknown_keys)
        return choose_records(
            records,
            self.loaded,
            split=self.request.split,
            most=min(self.settings.max_records, self.request.limit or self.settings.max_records),
            allow_untrained=self.settings.allow_untrained,
        )

    def score(self, subset: Subset, folder: Path) -> tuple[DatasetScores, Illustration | None]:  # noqa: ARG002  # no parts
        """All scores of one dataset, and what its figures show; a head has no figures."""
        if self.loaded.judge is not None:
            return score_head(self.loaded, subset, self.settings), None
        scores, picture = score_numbers(self.loaded, subset, self.settings)
        together = scored_together(subset.store, self.settings)
        calibrated = calibrated_coverage(self.loaded, subset, self.settings, together)
        classes = class_scores(self.loaded, subset, self.settings)
        return replace(scores, calibrated=calibrated, classes=classes), picture

    def tables(self, datasets: Mapping[str, DatasetScores]) -> Sequence[Table]:
        """Errors by dataset, key path, hold-out and decade."""
        return overview(datasets)

    def write_report(
        self,
        scores: Scores[DatasetScores],
        subsets: Mapping[str, Subset],  # noqa: ARG002  # pictures say all
        pictures: Mapping[str, Illustration | None],
        folder: Path,
    ) -> None:
        """Figures of answers against the truth, of decades and of sweeps."""
        shown = {name: picture for name, picture in pictures.items() if picture is not None}
        write_report(scores, shown, folder, encoding=self.loaded.encoding, training=self.training(folder))

    def verdicts(self, datasets: Mapping[str, DatasetScores]) -> Mapping[str, Verdict]:
        """One sentence for each dataset: the model beside the best simpler one, the best and the worst key."""
        return dataset_verdicts(datasets)
