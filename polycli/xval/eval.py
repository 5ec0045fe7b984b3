"""`polycli eval xval`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from polycli.console import rank, warn
from polycli.errors import StoreError
from polycli.recipes import default_recipe
from polycli.report.table import Table
from polycli.requests import EvalRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.evaluate import Evaluation
from polycli.xval.data.reading import warn_of_another_order
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.records.units import known_units, refuse_other_units
from polycli.xval.scoring.hidden_numbers import Illustration, Subset, score_numbers
from polycli.xval.scoring.judged_records import score_head
from polycli.xval.scoring.report import write_report
from polycli.xval.scoring.tables import overview


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


class RecordEvaluation(Evaluation[LoadedNumformer, EvalSettings, Subset, Illustration | None]):
    """Errors of hidden numbers or, of a model with a head, of its answers for whole records."""

    family = "xval"
    rows_are = "records"

    def choose(self, store: Store) -> Subset:
        """Chooses the records to score."""
        records = RecordStore(store)
        warn_of_another_order(records, self.loaded.tokenization.key_order)
        return self._chosen(records)

    def score(self, subset: Subset, folder: Path) -> tuple[JsonDocument, Illustration | None]:  # noqa: ARG002  # no parts
        """All scores of one dataset, and what its figures show; a head has no figures."""
        if self.loaded.judge is not None:
            return score_head(self.loaded, subset, self.settings), None
        return score_numbers(self.loaded, subset, self.settings)

    def tables(self, datasets: JsonDocument) -> Sequence[Table]:
        """Errors by dataset, key path, hold-out and decade."""
        return overview(datasets)

    def write_report(
        self,
        scores: JsonDocument,
        subsets: Mapping[str, Subset],  # noqa: ARG002  # pictures say all
        pictures: Mapping[str, Illustration | None],
        folder: Path,
    ) -> None:
        """Figures of answers against the truth, of decades and of sweeps."""
        write_report(scores, {name: picture for name, picture in pictures.items() if picture is not None}, folder)

    @cached_property
    def _units(self) -> Mapping[str, str]:
        """Maps patterns of key paths to the units in which the model learned."""
        return known_units(self.loaded.tokenization.units, self.loaded.run)

    def _chosen(self, store: RecordStore) -> Subset:
        request, settings = self.request, self.settings
        refuse_other_units(
            store.units,
            self._units,
            learned_at=self.loaded.tokenization.language.key_paths,
            source=str(store.path),
            allow=settings.allow_untrained,
        )
        rows = store.rows(request.split)
        if len(rows) == 0:
            raise StoreError(
                f"{store.path}: no record is in the split {request.split}; "
                f"there are {dict(store.store.manifest.splits)}",
                hint="choose another --split, or prepare the store from more records",
            )
        most = min(settings.max_records, request.limit or settings.max_records, len(rows))
        # Evenly spread, so that held-out records are among them as often as among all.
        chosen = rows[(np.arange(most, dtype=np.int64) * 2 + 1) * len(rows) // (2 * most)]
        if self.loaded.judge is None and not store.number_counts()[chosen].any():
            raise StoreError(
                f"{store.path}: there is no number in the {len(chosen)} records of the split {request.split}, so "
                "nothing to score",
                hint="prepare the data again so that its numbers are read, or choose another --split",
            )
        tokenization = self.loaded.tokenization
        lengths = tokenization.lengths(store.lengths()[chosen], store.number_counts()[chosen])
        fits = lengths <= tokenization.context
        if not fits.all():
            warn(
                f"{store.name}: {int((~fits).sum())} of {len(chosen)} records are longer than the model's context of "
                f"{tokenization.context} tokens (up to {int(lengths.max())}) and are left out"
            )
        if not fits.any():
            raise StoreError(
                f"{store.path}: no record fits the model's context of {tokenization.context} tokens",
                hint="prepare again with longer_than_context=split",
            )
        return Subset(store, chosen[fits], len(rows))
