"""Calibrates a head's intervals: held-back objects to a stretch for each column and level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.recipe.settings import CalibrateSettings
from polycli.astroclip.recipe.training import FinetuneRecipe
from polycli.astroclip.scoring.answers import head_answers
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.posteriors.calibrated import MEASURE, catalogue_magnitudes, label_of, reach_of
from polycli.astroclip.scoring.posteriors.distributions import levels_of
from polycli.astroclip.scoring.sides import Subset
from polycli.checkpoints.calibration import Calibration
from polycli.console import progress, warn
from polycli.errors import CheckpointError, StoreError
from polycli.report.table import Table, number
from polycli.requests import CalibrateRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.calibrate import CalibrationFlow, calibrate_at_the_end, refuse_too_few
from polycli.workflow.run_stores import stores_of_run

Floats = NDArray[np.float64]
#: Validation objects of each store that a calibration at the end of a training takes at most.
_MOST_AT_THE_END = 5000


def calibrate_run(recipe: FinetuneRecipe, folder: Path) -> Path | None:
    """Calibrate a run that is complete on its own validation objects, as its recipe says; returns the file.

    Raises:
        PolycliError: there can be no calibration, and the recipe insists on one.
    """

    def flow() -> PropertyCalibration:
        loaded = load_checkpoint(folder, quiet=True)
        data = tuple(Path(entry.path) for entry in stores_of_run(folder).values())
        request = CalibrateRequest(checkpoint=folder, data=data, limit=_MOST_AT_THE_END, json=True)
        return PropertyCalibration(loaded, CalibrateSettings(family="astroclip", verb="calibrate"), request)

    return calibrate_at_the_end(recipe.calibrate, folder, flow)


class PropertyCalibration(CalibrationFlow[LoadedAstroClip, CalibrateSettings, Subset]):
    """How far true numbers lie from a head's answers, in units of its own intervals."""

    family = "astroclip"
    rows_are = "objects"

    def __init__(self, loaded: LoadedAstroClip, settings: CalibrateSettings, request: CalibrateRequest) -> None:
        """Raise CheckpointError where the model predicts no numbers."""
        super().__init__(loaded, settings, request)
        head = loaded.model.properties
        if head is None or not head.section.regression:
            raise CheckpointError(
                f"{loaded.model_file}: predicts no numbers; intervals are those of a head's numbers",
                hint="polycli finetune astroclip adds a head",
            )
        self.section: PropertySection = head.section
        self._bins = settings.bins if settings.by == "magnitude" else 1
        #: By store, the magnitudes between its bins, and the brightest and the faintest of its objects.
        self._edges: dict[str, tuple[float, ...]] = {}
        self._ends: dict[str, tuple[float, float]] = {}

    def choose(self, store: Store) -> Subset:
        """The objects of the split, of a store that has what the head sees and some of what it predicts."""
        objects, split = ObjectStore(store), self.request.split
        modalities = common_modalities(self.loaded, objects)
        if missing := [name for name in self.section.modalities if name not in modalities]:
            raise StoreError(f"{objects.path}: has no {missing[0]}, by which the model predicts")
        self.loaded.check_units(objects.units, str(objects.path))
        rows = objects.rows(split)[: self.request.limit]
        columns = self._columns(objects)
        if not columns:
            raise StoreError(
                f"{objects.path}: has none of the columns that the model predicts, {', '.join(self.section.regression)}"
            )
        known = max(int(np.isfinite(objects.target(name, rows)).sum()) if len(rows) else 0 for name in columns)
        rows_are = self.rows_are
        if self._bins > 1:
            catalogue_magnitudes(objects, rows)
            known, rows_are = known // self._bins, f"{rows_are} in each bin of magnitude"
        refuse_too_few(store.name, known, self.settings.levels, rows_are=rows_are)
        return Subset(objects, modalities, rows, np.empty(0, np.int64))

    def score(self, subset: Subset) -> Mapping[str, Floats]:
        """The deviation of every object whose value is known, by column and level."""
        store, rows, settings = subset.store, subset.test, self.settings
        if absent := [name for name in self.section.regression if name not in store.columns]:
            warn(f"{store.name}: has no {', '.join(absent)}, which the model predicts: not calibrated")
        encoder = Encoder.of(self.loaded, store, settings)
        with progress(len(rows), f"{store.name}: the head's answers") as bar:
            answers = head_answers(encoder, rows, levels=levels_of(self.section), advance=bar.advance)
        bin_of = self._bin_of(store, rows)
        scores: dict[str, Floats] = {}
        for name in self._columns(store):
            truth = store.target(name, rows)
            for level in settings.levels:
                off = reach_of(name, self.section, answers[name], level).deviations(truth)
                for place in range(self._bins):
                    chosen = np.isfinite(truth) & (bin_of == place)
                    scores[label_of(name, level, place, self._bins)] = off[chosen]
        return scores

    def about(self, subset: Subset) -> JsonDocument:
        """Says how many objects were used, and what the head sees and predicts."""
        name = subset.store.name
        edges: JsonDocument = {}
        if self._bins > 1:
            edges = {"edges": list(self._edges[name])}
            edges |= {"magnitudes": list(self._ends[name])} if name in self._ends else {}
        return {
            "objects": len(subset.test),
            "modalities": list(self.section.modalities),
            "properties": self._columns(subset.store),
            **edges,
        }

    def how(self) -> JsonDocument:
        """Says what the bounds are of."""
        bins = {"by": self.settings.by, "bins": self._bins} if self._bins > 1 else {}
        return {"measure": MEASURE, "posterior": self.section.posterior, **bins}

    def table(self, calibration: Calibration, names: Sequence[str]) -> Table:
        """The stretch by column and level."""
        rows = []
        for name in names:
            data = calibration.data[name]
            edges = [
                *(f"to r {edge:.2f}" for edge in self._edges.get(name, ())),
                "fainter" if self._bins > 1 else "all",
            ]
            for column, (place, part) in product(self.section.regression, enumerate(edges)):
                labels = [label_of(column, level, place, self._bins) for level in calibration.levels]
                groups = [data.groups.get(label) for label in labels]
                found = [group.bounds[level] if group else None for level, group in enumerate(groups)]
                units = next((str(group.units) for group in groups if group), None)
                if units is not None:
                    cells = ["-" if bound is None else number(bound) for bound in found]
                    rows.append([name, column, part, units, *cells])
        unit = "of the head's own intervals" if len(self.section.quantiles) > 1 else "of 1 + z for redshifts, else of 1"
        columns = ["dataset", "column", "of", "objects", *(f"{100 * level:g} %" for level in calibration.levels)]
        return Table("Intervals", columns, rows, f"How far intervals reach from the middle, in units {unit}.", 3)

    def _bin_of(self, store: ObjectStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bin of magnitude of each object, with equal numbers of objects; -1 where the magnitude is unknown."""
        if self._bins == 1:
            return np.zeros(len(rows), np.int64)
        magnitude = catalogue_magnitudes(store, rows)
        known = np.isfinite(magnitude)
        inner = np.arange(1, self._bins) / self._bins
        edges = np.quantile(magnitude[known], inner) if known.any() else inner
        self._edges[store.name] = tuple(edges.tolist())
        if known.any():
            self._ends[store.name] = (float(magnitude[known].min()), float(magnitude[known].max()))
        return np.where(known, np.searchsorted(edges, np.nan_to_num(magnitude), side="right"), -1)

    def _columns(self, store: ObjectStore) -> list[str]:
        return [name for name in self.section.regression if name in store.columns]
