"""`polycli calibrate xval`: held-back records to intervals that hold, by key path, kept beside the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.calibration import Calibration
from polycli.console import progress, rank
from polycli.errors import CheckpointError
from polycli.recipes import default_recipe
from polycli.report.table import Table, number
from polycli.requests import CalibrateRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.calibrate import CalibrationFlow
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.recipe.settings import CalibrateSettings
from polycli.xval.scoring.choosing import choose_records
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.hidden_numbers import Subset, hidden_share, read_records
from polycli.xval.scoring.intervals import deviations
from polycli.xval.scoring.turns import turns_of
from polycli.xval.training.masking import record_seeds

Floats = NDArray[np.float64]


def run(request: CalibrateRequest) -> JsonDocument | None:
    """Find intervals by key path from records that were held back.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, records also test or were trained on, or there
            are too few; nothing was written.
    """
    settings = default_recipe("xval", "calibrate", request.overrides, schema=CalibrateSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_checkpoint(request.checkpoint)
    if loaded.judge is not None:
        raise CheckpointError(
            f"{loaded.model_file}: answers for whole records; intervals are those of numbers that are filled in",
            hint="give the checkpoint of a model without `head`",
        )
    return NumberCalibration(loaded, settings, request).run()


class NumberCalibration(CalibrationFlow[LoadedNumformer, CalibrateSettings, Subset]):
    """How far the truth lies outside of the model's own interval, one number of each record and key path."""

    family = "xval"
    rows_are = "records"

    def choose(self, store: Store) -> Subset:
        """Chooses the records of the split."""
        return choose_records(
            RecordStore(store),
            self.loaded,
            split=self.request.split,
            most=self.request.limit,
            allow_untrained=self.settings.allow_untrained,
        )

    def score(self, subset: Subset) -> Mapping[str, Floats]:
        """The deviation of one number of each record, drawn at random, under each key path."""
        store, settings = subset.store, self.settings
        records = read_records(store, subset.rows, self.loaded)
        seeds = record_seeds(settings.seed, store.name, subset.rows, 0, purpose="eval")
        share = None if settings.masking == "single" else hidden_share(self.loaded, settings.share)
        turn_of = turns_of(records, seeds, groups=(), share=share)
        filler = Filler(self.loaded.model, self.loaded.tokenization, settings.batch_tokens)
        with progress(int((turn_of >= 0).sum()), f"{store.name}: numbers") as bar:
            answers = filler.once(records, turn_of, bar.advance)
        found = deviations(records, answers, self.loaded.tokenization.scaling)
        owners = np.repeat(np.arange(len(records)), records.number_lengths)
        shuffled = np.random.default_rng(settings.seed).permutation(len(found))
        scores: dict[str, Floats] = {}
        for key, path in enumerate(records.key_paths):
            mine = shuffled[records.number_keys[shuffled] == key]
            # Numbers of one record are not independent: one of each counts.
            _, first = np.unique(owners[mine], return_index=True)
            if len(first):
                scores[path] = found[mine[first]]
        return scores

    def about(self, subset: Subset) -> JsonDocument:
        """Says how many records were used."""
        return {"records": len(subset.rows), "units": subset.store.units}

    def how(self) -> JsonDocument:
        """Says how numbers were hidden."""
        return {"masking": self.settings.masking, "share": self.settings.share}

    def table(self, calibration: Calibration, names: Sequence[str]) -> Table:
        """The bounds by key path, in scaled units."""
        rows = [
            [name, path, str(group.units), *("-" if bound is None else number(bound) for bound in group.bounds)]
            for name in names
            for path, group in calibration.data[name].groups.items()
        ]
        columns = ["dataset", "key", "records", *(f"{100 * level:g} %" for level in calibration.levels)]
        caption = "How much the model's own interval is widened on both sides, in scaled units; below 0, narrowed."
        return Table("Intervals", columns, rows, caption, 2)
