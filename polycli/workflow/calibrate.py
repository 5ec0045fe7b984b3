"""The flow of `polycli calibrate` for every family: held-back rows, a score for each, and bounds that hold for others.

A family gives scores by group: how far off the model was, one number for each unit that is exchangeable with what the
bounds will be used for. A group is whatever needs a bound of its own, such as a field at a step of a rollout or a key
path; units are trajectories, records or objects, never parts of one of them, which are not independent. What comes out
is a bound for each group and level, by split conformal prediction (`polycli.report.conformal`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from polycli import __version__
from polycli.checkpoints.calibration import (
    CalibratedData,
    Calibration,
    Group,
    calibration_beside,
    is_calibration,
    read_calibration,
    write_calibration,
)
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.console import note, rank, result, say, warn
from polycli.errors import CheckpointError, PolycliError, StoreError, UserError
from polycli.json_records import to_object
from polycli.outputs import Output, OutputKind
from polycli.report.conformal import conformal_quantile, fewest_units
from polycli.report.table import Table, as_text
from polycli.requests import CalibrateRequest, JsonDocument, TrainRequest
from polycli.sections import CalibrateSection, CalibrationChoice
from polycli.store.reader import Store
from polycli.workflow.evaluate import ScoredSubset
from polycli.workflow.evaluated_stores import evaluated_stores
from polycli.workflow.identity import Identities, KnownRows
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows, check_overlap, trained_entry

Floats = NDArray[np.float64]
CALIBRATIONS = OutputKind("calibrations", (".json",), is_calibration)

Loaded = TypeVar("Loaded", bound=LoadedCheckpoint)
Settings = TypeVar("Settings", bound=CalibrateSection)
Subset = TypeVar("Subset", bound=ScoredSubset)


class CalibrationFlow(ABC, Generic[Loaded, Settings, Subset]):
    """The science of one family's calibration: which rows, and how far off the model is on each."""

    family: ClassVar[str]
    #: What the rows of a store are called: trajectories, records or objects.
    rows_are: ClassVar[str]

    def __init__(self, loaded: Loaded, settings: Settings, request: CalibrateRequest) -> None:
        self.loaded, self.settings, self.request = loaded, settings, request

    @abstractmethod
    def choose(self, store: Store) -> Subset:
        """Chooses the rows of a store that are used, after a check of everything that could stop it."""

    @abstractmethod
    def score(self, subset: Subset) -> Mapping[str, Floats]:
        """The scores of each group, one for each unit in it; infinite where the model failed."""

    @abstractmethod
    def about(self, subset: Subset) -> JsonDocument:
        """Describes the data, as the family must know them to tell for which others the bounds hold."""

    @abstractmethod
    def how(self) -> JsonDocument:
        """Describes how scores are made, as the family must know it to use the bounds."""

    @abstractmethod
    def table(self, calibration: Calibration, names: Sequence[str]) -> Table:
        """The new bounds of these datasets as people read them on a terminal."""

    def run(self) -> JsonDocument:
        """Score held-back rows and write their bounds beside the checkpoint, or to `--output`.

        Raises:
            UserError: checkpoint, stores and settings do not fit each other, rows also test or were trained on, or
                there are too few of them; nothing was written.
        """
        request, loaded = self.request, self.loaded
        path = calibration_beside(loaded.model_file) if request.output is None else request.output
        output = Output(path, CALIBRATIONS, overwrite=True, inputs=(loaded.model_file, *request.data))
        output.refuse()
        earlier = self._earlier(path)
        stores = evaluated_stores(request.data, family=self.family, model_file=loaded.model_file, run=loaded.run)
        subsets = {store.name: self.choose(store) for store in stores}
        scored = [subset.scored for subset in subsets.values()]
        refuse_tested(scored, rows_are=self.rows_are)
        check_overlap(scored, loaded, rows_are=self.rows_are, allow=request.allow_overlap)
        for name, subset in subsets.items():
            refuse_too_few(name, len(subset.scored.rows), self.settings.levels, rows_are=self.rows_are)
        self._refuse_replacement(path, earlier, subsets)
        kept = {} if earlier is None else self._kept(path, earlier, subsets)
        new = {name: self._calibrated(subset) for name, subset in subsets.items()}
        calibration = Calibration(
            family=self.family,
            version=__version__,
            checkpoint=str(loaded.model_file),
            model_hash=loaded.model_hash,
            levels=self.settings.levels,
            settings=self.how(),
            data={**kept, **new},
        )
        with output.writing() as unfinished:
            write_calibration(unfinished, calibration)
        shares = ", ".join(f"{100 * level:g}" for level in calibration.levels)
        used = sum(len(subset.scored.rows) for subset in subsets.values())
        say(f"calibration: {path}, for {shares} % from {used} {self.rows_are} of the split {self.request.split}")
        if not request.json:
            result(as_text(self.table(calibration, list(new))))
        return self._document(path, calibration, list(new))

    def _calibrated(self, subset: Subset) -> CalibratedData:
        scored, levels = subset.scored, self.settings.levels
        scores = self.score(subset)
        enough = {label: values for label, values in scores.items() if len(values) >= fewest_units(max(levels))}
        if not enough:
            most = max((len(values) for values in scores.values()), default=0)
            refuse_too_few(scored.store.name, most, levels, rows_are=self.rows_are)
        if len(enough) < len(scores):
            left_out = [label for label in scores if label not in enough]
            warn(
                f"{scored.store.name}: no bounds for {', '.join(left_out)}: fewer than {fewest_units(max(levels))} "
                f"{self.rows_are} have one"
            )
        return CalibratedData(
            rows=trained_entry(scored.store, scored.rows),
            about=self.about(subset),
            groups={label: bounds_of(values, levels) for label, values in enough.items()},
        )

    def _earlier(self, path: Path) -> Calibration | None:
        """Returns the calibration of these weights that is there; None without one, or where another is replaced."""
        if not path.exists():
            return None
        try:
            earlier = read_calibration(path)
            refuse_other_weights(path, earlier, self.loaded, family=self.family)
        except CheckpointError as error:
            if self.settings.overwrite:
                return None
            raise CheckpointError(error.message, hint="--set overwrite=true replaces it") from error
        if not (self._fits(earlier) or self.settings.overwrite):
            raise UserError(
                f"{path}: has bounds for levels {_listed(earlier.levels)} and {_described(earlier.settings)}, asked "
                f"for are {_listed(self.settings.levels)} and {_described(self.how())}",
                hint="--set overwrite=true replaces them, or give another --output",
            )
        return earlier

    def _fits(self, earlier: Calibration) -> bool:
        return (earlier.levels, earlier.settings) == (self.settings.levels, self.how())

    def _kept(self, path: Path, earlier: Calibration, names: Mapping[str, Subset]) -> Mapping[str, CalibratedData]:
        """Finds what the new bounds are added to: nothing where levels or settings differ, which a file has one of."""
        if self._fits(earlier):
            return earlier.data
        if dropped := [name for name in earlier.data if name not in names]:
            warn(
                f"{path}: the bounds for {', '.join(dropped)} will be dropped, for they are of levels "
                f"{_listed(earlier.levels)} and {_described(earlier.settings)}"
            )
        return {}

    def _refuse_replacement(self, path: Path, earlier: Calibration | None, names: Mapping[str, Subset]) -> None:
        again = [name for name in names if earlier is not None and name in earlier.data]
        if again and not self.settings.overwrite:
            raise UserError(
                f"{path}: has bounds for {', '.join(again)} already", hint="--set overwrite=true replaces them"
            )

    def _document(self, path: Path, calibration: Calibration, names: Sequence[str]) -> JsonDocument:
        return {
            "output": str(path),
            **to_object(self.loaded.provenance()),
            "levels": list(calibration.levels),
            "settings": calibration.settings,
            "datasets": {
                name: calibration.data[name].model_dump(mode="json", include={"about", "groups"}) for name in names
            },
        }


def calibrate_at_the_end(
    choice: CalibrationChoice, folder: Path, flow: Callable[[], CalibrationFlow[Any, Any, Any]]
) -> Path | None:
    """Calibrate a run that is complete, as its recipe says; returns the file, or None where there is none.

    By `auto` one line says why there is no calibration. `flow` makes the calibration of the run in `folder`.

    Raises:
        PolycliError: there can be no calibration, and the recipe insists on one.
    """
    if choice == "never" or rank() > 0:
        return None
    try:
        beside = calibration_beside(resolve_checkpoint(folder).model_file)
        if not beside.exists():  # Else the run was complete already.
            flow().run()
    except PolycliError as error:
        if choice == "must":
            raise
        note(f"intervals are not calibrated: {error.message} (calibrate: auto)")
        return None
    return beside


def with_calibration(
    document: JsonDocument, request: TrainRequest, calibrate: Callable[[Path], Path | None]
) -> JsonDocument:
    """Calibrate the run of a training, unless it was a dry run, and add the file to what `--json` prints."""
    if request.dry_run:
        return document
    calibration = calibrate(request.run_folder)
    return {**document, "calibration": None if calibration is None else str(calibration)}


def bounds_of(scores: Floats, levels: Sequence[float]) -> Group:
    """The bounds of one group, at each level; infinite ones, which JSON has no number for, are None."""
    bounds = [float(conformal_quantile(scores, level)) for level in levels]
    return Group(units=len(scores), bounds=tuple(bound if np.isfinite(bound) else None for bound in bounds))


def refuse_too_few(name: str, units: int, levels: Sequence[float], *, rows_are: str) -> None:
    """Refuse a sample from which no finite bound follows at the highest level.

    Raises:
        StoreError: there are fewer than 1 / alpha - 1 units, which is said with the number.
    """
    highest = max(levels)
    needed = fewest_units(highest)
    if units >= needed:
        return
    held = [level for level in levels if fewest_units(level) <= units]
    without = f"--set 'levels=[{_listed(held)}]', or " if held else ""
    raise StoreError(
        f"{name}: {units} {rows_are} to calibrate on, a bound for {highest:.6g} needs {needed} "
        f"(1 / {1 - highest:.6g} - 1)",
        hint=f"{without}more of them: a larger `split.validation` of prepare",
    )


def refuse_tested(chosen: Sequence[ScoredRows], *, rows_are: str) -> None:
    """Refuse rows that also test, as those of small stores do, whatever store they are in: by their content.

    Raises:
        StoreError: some do. Coverage on them would be no test of the bounds.
    """
    testing = KnownRows.of(
        Identities.of(subset.store, rows) for subset in chosen if len(rows := subset.store.rows("test"))
    )
    for subset in chosen:
        shared = int(testing.content_of(Identities.of(subset.store, subset.rows)).sum())
        if shared:
            few = "" if subset.store.manifest.splits.get("validation") else ": the store has none that only validate"
            raise StoreError(
                f"{subset.store.path}: {shared} of the {len(subset.rows)} {rows_are} to calibrate on also test{few}",
                hint="prepare it with a larger `split.validation`, or calibrate on another store",
            )


def refuse_other_weights(path: Path, calibration: Calibration, loaded: LoadedCheckpoint, *, family: str) -> None:
    """Refuse a calibration of another family, or of weights that are not these, such as older ones.

    Raises:
        CheckpointError: it is one; the message names both weights.
    """
    if calibration.family != family:
        raise CheckpointError(f"{path}: a calibration of the family {calibration.family}, {family} was expected")
    if calibration.model_hash != loaded.model_hash:
        raise CheckpointError(
            f"{path}: calibrated for other weights, {calibration.checkpoint} ({calibration.model_hash[:12]}...), "
            f"not for {loaded.model_file} ({loaded.model_hash[:12]}...)",
            hint=f"polycli calibrate {family} --checkpoint {loaded.model_file} --set overwrite=true",
        )


def _listed(levels: Sequence[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)


def _described(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
