"""Calibrates a model: held-back records to intervals that hold, by key path, kept beside the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.calibration import Calibration
from polycli.errors import CheckpointError, StoreError
from polycli.report.table import Table, number
from polycli.requests import CalibrateRequest, JsonDocument, Split
from polycli.store.reader import Store
from polycli.workflow.calibrate import CalibrationFlow, calibrate_at_the_end, refuse_too_few
from polycli.workflow.run_stores import stores_of_run
from polycli.xval.data.store import RecordStore, open_records
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.predicting.unknown_keys import settle_unknown_keys
from polycli.xval.recipe.settings import CalibrateSettings
from polycli.xval.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.xval.scoring.choosing import choose_records
from polycli.xval.scoring.coverage.one_each import answer_one_each, units_of
from polycli.xval.scoring.hidden_numbers import Subset, hidden_share
from polycli.xval.scoring.intervals import MEASURE, deviations

Floats = NDArray[np.float64]
#: Records that a calibration at the end of a training takes of each store, at least and at most.
_FEWEST_AT_THE_END, _MOST_AT_THE_END = 100, 1000
#: Of the records that were gone through in training: so many may be gone through again.
_SHARE_AT_THE_END = 0.3


def calibrate_run(recipe: PretrainRecipe | FinetuneRecipe, folder: Path) -> Path | None:
    """Calibrate a run that is complete on its own validation records, as its recipe says; returns the file.

    By `calibrate: auto` one line says why there is no calibration, where there is none.

    Raises:
        PolycliError: there can be no calibration, and the recipe insists on one.
    """

    def flow() -> NumberCalibration:
        loaded = load_checkpoint(folder, quiet=True)
        if loaded.judge is not None:
            raise CheckpointError("a model with a head answers for whole records, which have no intervals")
        data = tuple(Path(entry.path) for entry in stores_of_run(folder).values())
        request = CalibrateRequest(checkpoint=folder, data=data, limit=_most_records(recipe, loaded), json=True)
        return NumberCalibration(loaded, CalibrateSettings(family="xval", verb="calibrate"), request)

    return calibrate_at_the_end(recipe.calibrate, folder, flow)


def _most_records(recipe: PretrainRecipe | FinetuneRecipe, loaded: LoadedNumformer) -> int:
    """So many records that their numbers, one by one, take a small part of the time of the training."""
    seen = recipe.train.steps * recipe.train.global_batch_size
    affordable = int(_SHARE_AT_THE_END * seen / max(1, len(loaded.tokenization.language.key_paths)))
    return min(max(affordable, _FEWEST_AT_THE_END), _MOST_AT_THE_END)


class NumberCalibration(CalibrationFlow[LoadedNumformer, CalibrateSettings, Subset]):
    """How far the truth lies outside of the model's own interval, one number of each record and key path."""

    family = "xval"
    rows_are = "records"

    def choose(self, store: Store) -> Subset:
        """Chooses the records of the split, in groups of which none trained or tests."""
        records = RecordStore(store)
        settle_unknown_keys(records, self.loaded.tokenization, self.settings.unknown_keys)
        subset = choose_records(
            records,
            self.loaded,
            split=self.request.split,
            most=self.request.limit,
            allow_untrained=self.settings.allow_untrained,
        )
        if not self.request.allow_overlap:
            refuse_shared_groups(subset, self.loaded.run)
        refuse_too_few(store.name, len(np.unique(units_of(subset))), self.settings.levels, rows_are=self._units(subset))
        return subset

    def score(self, subset: Subset) -> Mapping[str, Floats]:
        """The deviation of one number of each record, or group, drawn at random, under each key path."""
        settings = self.settings
        share = None if settings.masking == "single" else hidden_share(self.loaded, settings.share)
        found = answer_one_each(
            self.loaded, subset, share=share, seed=settings.seed, batch_tokens=settings.batch_tokens
        )
        records = found.records
        levels = self.loaded.model.section.quantiles
        off = deviations(records, found.answers, self.loaded.tokenization.scaling, levels)[found.drawn]
        keys = records.number_keys[found.drawn]
        return {path: off[keys == key] for key, path in enumerate(records.key_paths) if (keys == key).any()}

    def about(self, subset: Subset) -> JsonDocument:
        """Says how many records were used, and what the unit was."""
        return {"records": len(subset.rows), "units": subset.store.units, "one_of_each": self._units(subset)}

    def how(self) -> JsonDocument:
        """Says how numbers were hidden, and what the bounds are of."""
        return {"masking": self.settings.masking, "share": self.settings.share, "measure": MEASURE}

    def table(self, calibration: Calibration, names: Sequence[str]) -> Table:
        """The bounds by key path."""
        rows = [
            [name, path, str(group.units), *("-" if bound is None else number(bound) for bound in group.bounds)]
            for name in names
            for path, group in calibration.data[name].groups.items()
        ]
        columns = ["dataset", "key", "records", *(f"{100 * level:g} %" for level in calibration.levels)]
        caption = (
            "How far intervals reach from the median, 1 being the model's own outermost quantiles; of a model without "
            "quantiles in scaled units."
        )
        return Table("Intervals", columns, rows, caption, 2)

    @staticmethod
    def _units(subset: Subset) -> str:
        return "records" if subset.store.groups(subset.rows[:1]) is None else "groups"


def refuse_shared_groups(subset: Subset, run: Path | None) -> None:
    """Refuse records of groups that also test, or that trained the run, in whatever store: repeats of a sample do.

    Raises:
        StoreError: there are some; it names one.
    """
    groups = subset.store.groups(subset.rows)
    mine = {name for name in groups or () if name}
    if not mine:
        return
    others: list[tuple[RecordStore, Split, str]] = [(subset.store, "test", "also test")]
    for entry in stores_of_run(run).values():
        path = Path(entry.path)
        # A store that is gone, or was made again, does not tell what trained; hashes find equal records.
        if path.exists() and (store := open_records(path)).store.manifest.store_hash == entry.store_hash:
            others.append((store, "train", "were trained on"))
    for store, split, sentence in others:
        shared = mine.intersection(store.groups(store.rows(split)) or ())
        if shared:
            raise StoreError(
                f"{subset.store.path}: records of {len(shared)} groups to calibrate on, such as {min(shared)!r}, "
                f"have others of their group that {sentence}",
                hint="calibrate on groups that were held back whole, as prepare's `group_by` divides them",
            )
