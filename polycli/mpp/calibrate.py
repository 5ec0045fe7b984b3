"""`polycli calibrate mpp`: held-back trajectories to bands around forecasts, kept beside the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.calibration import Calibration
from polycli.console import progress, rank, warn
from polycli.errors import CheckpointError, UserError
from polycli.mpp.data.parameters import parameters_of_rows
from polycli.mpp.model.loaded import LoadedNetwork, load_checkpoint
from polycli.mpp.predicting.bands import BandSettings, CalibratedPhysics, band_label, error_label, way_of_running
from polycli.mpp.recipe.settings import CalibrateSettings
from polycli.mpp.scoring.bands.meter import BandMeter, largest_so_far
from polycli.mpp.scoring.choosing import choose_subset
from polycli.mpp.scoring.measure import Subset, score_rollouts
from polycli.recipes import default_recipe
from polycli.report.table import Table, number
from polycli.requests import CalibrateRequest, JsonDocument
from polycli.store.reader import Store
from polycli.workflow.calibrate import CalibrationFlow

Floats = NDArray[np.float64]


def run(request: CalibrateRequest) -> JsonDocument | None:
    """Find bands by field and step from trajectories that were held back.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, trajectories also test or were trained on, or
            there are too few; nothing was written.
    """
    settings = default_recipe("mpp", "calibrate", request.overrides, schema=CalibrateSettings)
    if rank() > 0:
        return None  # Scores are made by one process: no trajectory waits for another.
    loaded = load_checkpoint(request.checkpoint, settings.data, settings.model)
    if loaded.parameter_model is not None:
        raise CheckpointError(
            f"{loaded.model_file}: predicts parameters of the physics; bands are those of forecasts of fields",
            hint="give the checkpoint of a model without `head`",
        )
    if settings.draws > 1 and way_of_running(loaded).jitter != "always":
        raise UserError(
            f"draws={settings.draws}: forecasts of {loaded.model_file} have one draw, for they jitter no patches",
            hint="--set model.jitter=always, for models that were trained with it",
        )
    return ForecastCalibration(loaded, settings, request).run()


class ForecastCalibration(CalibrationFlow[LoadedNetwork, CalibrateSettings, Subset]):
    """Half-widths of bands, and bounds of errors, at every step of rollouts."""

    family = "mpp"
    rows_are = "trajectories"

    def choose(self, store: Store) -> Subset:
        """Chooses the trajectories of the split."""
        return choose_subset(
            store,
            self.loaded,
            split=self.request.split,
            limit=self.request.limit,
            allow_untrained=self.settings.allow_untrained,
            from_frame=self.settings.from_frame,
        )

    def score(self, subset: Subset) -> Mapping[str, Floats]:
        """The deviation of each trajectory's forecast at each step, and its largest VRMSE so far."""
        name, steps, fields = subset.store.name, self._steps(subset), subset.about.fields
        meter = BandMeter(
            (len(subset.rows), steps, len(fields)), points=self.settings.points, draws=self.settings.draws
        )
        with progress(steps * len(subset.rows), f"{name}: rollouts") as bar:
            rollouts = score_rollouts(
                self.loaded.model,
                subset,
                steps=steps,
                batch_size=self.settings.rollout_batch_size,
                progress=bar,
                meter=meter,
            )
        if not rollouts.finite.all():
            warn(
                f"{name}: {int((~rollouts.finite).sum())} of {len(subset.rows)} rollouts are not finite to the end, "
                "and count as infinitely far off"
            )
        errors = largest_so_far(rollouts.errors["vrmse"]["model"])
        scores: dict[str, Floats] = {}
        for step in range(steps):
            for index, field in enumerate(fields):
                scores[band_label(field, step + 1)] = meter.deviation[:, step, index]
            for index, of in enumerate((None, *fields)):
                scores[error_label(of, step + 1)] = errors[:, step, index]
        return scores

    def about(self, subset: Subset) -> JsonDocument:
        """Describes the physics, by which predict and eval know data for which the bands are."""
        physics = CalibratedPhysics.described(
            subset.about,
            time_stride=subset.time_stride,
            steps=self._steps(subset),
            parameters=parameters_of_rows(subset.store, subset.rows),
        )
        return physics.model_dump(mode="json")

    def how(self) -> JsonDocument:
        """Describes what a band holds, and how frames are taken."""
        return BandSettings(
            points=self.settings.points,
            from_frame=self.settings.from_frame,
            draws=self.settings.draws,
            **way_of_running(self.loaded)._asdict(),
        ).model_dump(mode="json")

    def table(self, calibration: Calibration, names: Sequence[str]) -> Table:
        """Half-widths at the first, the middle and the last step, by field and level."""
        rows = []
        for name in names:
            data = calibration.data[name]
            physics = CalibratedPhysics.model_validate(data.about)
            shown = (1, (physics.steps + 1) // 2, physics.steps)
            for field in physics.fields:
                groups = [data.groups[band_label(field, step)] for step in shown]
                for level, share in enumerate(calibration.levels):
                    widths = [number(group.bounds[level]) for group in groups]
                    rows.append([name, field, f"{100 * share:g} %", *widths, str(groups[0].units)])
        unit = "in the field's units" if self.settings.draws == 1 else "as a multiple of the spread of draws"
        columns = ["dataset", "field", "level", "step 1", "middle step", "last step", "trajectories"]
        caption = (
            f"Half-width of the band that holds {100 * self.settings.points:g} % of a field's points at a step, "
            f"{unit}; a dash where so many rollouts failed that no finite band holds."
        )
        return Table("Bands", columns, rows, caption, 3)

    def _steps(self, subset: Subset) -> int:
        return min(self.settings.rollout_steps or subset.frames, subset.frames - subset.history)
