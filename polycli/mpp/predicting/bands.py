"""The bands of a calibrated model: half-widths around forecasts by field and step, and for how long they are valid.

What a calibration keeps of a dataset is one bound for each label: `FIELD step K` for the half-width of the band around
a field K steps after the context, `error step K` and `error FIELD step K` for the largest VRMSE up to that step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polycli.checkpoints.calibration import CalibratedData, Calibration, calibration_beside
from polycli.console import note, warn
from polycli.errors import CheckpointError, UserError, problems_of
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.trained import TrainedPhysics
from polycli.mpp.predicting.band_facts import BandFacts, BandOrigin, Horizon
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.settings import BandsSection
from polycli.mpp.recipe.training import ModelSection
from polycli.paths import plain_path
from polycli.workflow.calibrated import find_calibration

Floats = NDArray[np.float64]
#: Two times between frames are one where they differ by less than this share.
_SAME_TIME = 1e-3
#: A parameter is beyond the range of a calibration where it is so by more than this share of the range's width: of
#: trajectories that are drawn alike, some lie a little beyond the outermost of the others.
_MARGIN = 0.1
#: And by this share of its size, where all that were calibrated on have one value: files round numbers.
_ROUNDING = 1e-3


class BandSettings(BaseModel):
    """How the scores of a calibration were made, as it keeps it under `settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The share of a field's points that a band holds at a step.
    points: float = Field(gt=0, le=1)
    history: int
    time_stride: int
    #: The frame of the trajectories at which the contexts began.
    from_frame: int
    #: What the network predicts, and whether forecasts jitter its patches: the same weights may be run in other ways.
    predicts: str
    jitter: str
    #: Forecasts of each context whose spread scales the bands at every point; with 1 they are not scaled.
    draws: int = Field(ge=1)


class CalibratedPhysics(TrainedPhysics):
    """The data that bands were made from, as a calibration keeps it under `about`."""

    constants: dict[str, float]
    #: Names of the parameters that the trajectories have, constants left out.
    parameter_names: tuple[str, ...] = ()
    #: By parameter the lowest and highest value among the trajectories; empty in calibrations of earlier versions.
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    #: Lengths of the sides along x and y; None in calibrations of earlier versions.
    lengths: tuple[float, float] | None = None
    #: Steps for which there are bands.
    steps: int = Field(ge=1)

    @classmethod
    def described(
        cls, about: PdeDescription, *, time_stride: int, steps: int, parameters: Mapping[str, Floats]
    ) -> CalibratedPhysics:
        """Describes `steps` steps of forecasts for such data, of which every `time_stride`-th frame is taken.

        `parameters` has for each name the values of the trajectories.
        """
        physics = TrainedPhysics.of(about, time_stride=time_stride)
        return cls(
            **dict(physics),
            constants=about.constants,
            parameter_names=about.parameter_names,
            ranges={
                name: (float(known.min()), float(known.max()))
                for name in about.parameter_names
                if len(known := _known(parameters.get(name)))
            },
            lengths=_lengths(about),
            steps=steps,
        )


class WayOfRunning(NamedTuple):
    """The settings that change the forecasts of the same weights, as `BandSettings` has them."""

    history: int
    time_stride: int
    predicts: str
    jitter: str


def way_of_running(loaded: LoadedNetwork) -> WayOfRunning:
    """How a model is run, as far as its forecasts depend on it."""
    section = loaded.section
    jitter = section.jitter if isinstance(section, ModelSection) else "none"
    return WayOfRunning(loaded.history, loaded.time_stride, section.predicts, jitter)


def band_label(field: str, step: int) -> str:
    """The label of the half-width of a field, `step` steps after the context, counted from 1."""
    return f"{field} step {step}"


def error_label(field: str | None, step: int) -> str:
    """The label of the largest VRMSE up to a step, of a field or of the mean over fields."""
    return f"error step {step}" if field is None else f"error {field} step {step}"


@dataclass(frozen=True)
class Validity:
    """A count of steps for which at least a share of forecasts stays below an error, on the average over fields."""

    below: float
    level: float
    steps: int
    #: The same for each field by itself.
    fields: tuple[int, ...]


@dataclass(frozen=True)
class Bands:
    """The bands of one calibrated dataset, in the order of the fields of the data that they are used for."""

    dataset: str
    #: How many trajectories they come from.
    units: int
    levels: tuple[float, ...]
    settings: BandSettings
    #: (level, step, field), in the units of the field, or of the spread of draws; infinite where no finite band holds.
    half_width: Floats
    #: (level, step, 1 + field): bounds of the largest VRMSE so far, of the mean over fields and of each field.
    error: Floats
    #: The entry of the calibration, with the rows that were used.
    data: CalibratedData

    @property
    def steps(self) -> int:
        """The number of steps for which there are bands."""
        return int(self.half_width.shape[1])

    def validity(self, below: float, level: float) -> Validity:
        """How far forecasts are valid: the last step up to which the bound of the error is not above `below`."""
        steps = (self.error[self.levels.index(level)] <= below).cumprod(axis=0).sum(axis=0)
        return Validity(below, level, int(steps[0]), tuple(int(count) for count in steps[1:]))

    def facts(self, validity: Validity, *, interval: float, fields: Sequence[str]) -> BandFacts:
        """Returns what a forecast says of its bands besides their widths; `interval` is the time between frames."""
        return BandFacts(
            bands=BandOrigin(
                calibrated_on=self.dataset,
                trajectories=self.units,
                points=self.settings.points,
                from_frame=self.settings.from_frame,
                draws=self.settings.draws,
                steps=self.steps,
            ),
            validity_horizon=Horizon(
                vrmse_below=validity.below,
                share_of_trajectories=validity.level,
                steps=validity.steps,
                time=validity.steps * interval,
                fields=dict(zip(fields, validity.fields, strict=True)),
            ),
        )

    def widths_for(self, steps: int) -> Floats:
        """Half-widths for `steps` steps of a forecast, (level, step, field): NaN beyond those that were calibrated."""
        widths = np.full((len(self.levels), steps, self.half_width.shape[2]), np.nan)
        known = min(steps, self.steps)
        widths[:, :known] = self.half_width[:, :known]
        return widths


class BandFinder:
    """The bands of a checkpoint's calibration, looked up for one dataset after another as the settings say."""

    def __init__(self, loaded: LoadedNetwork, settings: BandsSection) -> None:
        """Read the calibration; without one, there are no bands.

        Raises:
            CheckpointError: it is damaged, of other weights, or of other ways to take frames.
            UserError: there is none, and there must be one; or it has no bands for the level of validity.
        """
        self._settings = settings
        given = None if settings.file is None else plain_path(settings.file)
        self._calibration = find_calibration(loaded, family="mpp", use=settings.use, file=given)
        self._file = calibration_beside(loaded.model_file) if given is None else given
        if self._calibration is None:
            return
        self._how, self._physics = _parsed(self._calibration, self._file)
        self._told = loaded.section.told
        for key, asked in way_of_running(loaded)._asdict().items():
            if (made := getattr(self._how, key)) != asked:
                where = "model" if isinstance(asked, str) else "data"
                raise CheckpointError(
                    f"{self._file}: calibrated with {where}.{key}={made}, asked for is {asked}",
                    hint="give the same, calibrate with this, or --set bands.use=never",
                )
        levels = self._calibration.levels
        if settings.valid_for not in levels and "valid_for" in settings.model_fields_set:
            listed = ", ".join(f"{level:g}" for level in levels)
            raise UserError(
                f"bands.valid_for={settings.valid_for:g}: the model is calibrated for {listed}",
                hint=f"--set bands.valid_for={levels[-1]:g}, or calibrate with --set 'levels=[{settings.valid_for:g}]'",
            )

    def find(self, name: str, about: PdeDescription, parameters: Mapping[str, Floats] | None = None) -> Bands | None:
        """The bands for the data called `name`: those of the dataset of this name, else of the same physics; or none.

        Bands of another dataset of the same physics are said, and warned of where its constants or lengths are others,
        because a promise about one Mach number says nothing about another, and likewise where the model was told
        parameters that these data do not have, or where `parameters`, the values of trajectories by name, lie beyond
        those of the calibration.

        Raises:
            CheckpointError: the calibration lacks bounds that it should have.
            UserError: the settings name a dataset that is not there or of other fields, or ask for bands, and no
                dataset is of this kind.
        """
        calibration = self._calibration
        if calibration is None:
            return None
        chosen = self._choose(name, about)
        if chosen is None:
            return None
        _say_another(name, chosen, self._physics[chosen], about, told=self._told)
        _say_beyond(name, chosen, self._physics[chosen], parameters or {})
        return _bands(calibration, self._file, chosen, self._how, about.fields)

    def validity(self, bands: Bands) -> Validity:
        """How far forecasts are valid, at the level of the settings or, where they say none, the highest up to 0.9."""
        wanted = self._settings.valid_for
        level = max([level for level in bands.levels if level <= wanted], default=bands.levels[0])
        return bands.validity(self._settings.valid_below, level)

    def _choose(self, name: str, about: PdeDescription) -> str | None:
        known, wanted = ", ".join(self._physics), self._settings.dataset
        fitting = [other for other, physics in self._physics.items() if _alike(physics, about, self._how.time_stride)]
        if wanted is not None:
            if wanted in fitting:
                return wanted
            raise UserError(
                f"bands.dataset={wanted}: {self._file} has no such dataset with the fields, grid, sides and time step "
                f"of {name}; it has {known}",
                hint=f"bands.dataset is one of {', '.join(fitting)}" if fitting else None,
            )
        if name in fitting:
            return name
        same = [other for other in fitting if self._physics[other].constants == about.constants]
        candidates = same or fitting
        if len(candidates) == 1:
            return candidates[0]
        several = f"several could be used, {', '.join(candidates)}: --set bands.dataset=NAME names one"
        reason = several if candidates else "none has these fields, grid, sides and time step"
        if self._settings.use == "must":
            raise UserError(f"{name}: no bands: {self._file} has {known}; {reason}")
        note(f"{name}: no bands: {self._file.name} has {known}; {reason}")
        return None


def _parsed(calibration: Calibration, file: Path) -> tuple[BandSettings, dict[str, CalibratedPhysics]]:
    try:
        settings = BandSettings.model_validate(calibration.settings)
        physics = {name: CalibratedPhysics.model_validate(data.about) for name, data in calibration.data.items()}
    except ValidationError as error:
        raise CheckpointError(f"{file}: not a sound calibration: {problems_of(error)}") from error
    return settings, physics


def _alike(known: CalibratedPhysics, about: PdeDescription, time_stride: int) -> bool:
    """Whether data have the fields, units, grid, sides and time step of a calibrated dataset; constants may differ."""
    units = dict(zip(known.fields, known.units, strict=False))
    return (
        units == dict(zip(about.fields, about.units, strict=True))
        and known.grid == about.grid
        and known.boundary_conditions == about.boundary_conditions
        and math.isclose(known.dt, about.dt * time_stride, rel_tol=_SAME_TIME)
    )


def _lengths(about: PdeDescription) -> tuple[float, float]:
    (low_x, high_x), (low_y, high_y) = about.extent
    return high_x - low_x, high_y - low_y


def _say_another(
    name: str, chosen: str, known: CalibratedPhysics, about: PdeDescription, *, told: Sequence[str]
) -> None:
    constants = {**known.constants, **about.constants}
    other = [
        f"{key} {known.constants.get(key, float('nan')):g} and not {about.constants.get(key, float('nan')):g}"
        for key in constants
        if known.constants.get(key) != about.constants.get(key)
    ]
    if known.lengths is not None and not np.allclose(known.lengths, _lengths(about), rtol=_SAME_TIME, atol=0):
        sides = [" by ".join(f"{side:g}" for side in lengths) for lengths in (known.lengths, _lengths(about))]
        other.append(f"sides of {sides[0]} and not {sides[1]}")
    other += [
        f"{key} told to the model, which these data do not say"
        for key in told
        if key in known.parameter_names and key not in {*about.parameter_names, *about.constants}
    ]
    if other:
        warn(
            f"{name}: its bands were calibrated on {chosen}, with {', '.join(other)}: they need not hold; calibrate on "
            "some trajectories of these data"
        )
    elif chosen != name:
        note(f"{name}: bands of {chosen}, which has the same fields, grid, sides, time step and constants")


def _say_beyond(name: str, chosen: str, known: CalibratedPhysics, parameters: Mapping[str, Floats]) -> None:
    """Warn of trajectories whose parameters lie beyond those that were calibrated on."""
    for parameter, (low, high) in known.ranges.items():
        values = _known(parameters.get(parameter))
        margin = _MARGIN * (high - low) + _ROUNDING * max(abs(low), abs(high))
        beyond = int(((values < low - margin) | (values > high + margin)).sum())
        if beyond:
            warn(
                f"{name}: {parameter} is between {values.min():g} and {values.max():g}, its bands were calibrated on "
                f"{chosen} between {low:g} and {high:g}: of {beyond} of {len(values)} trajectories they need not hold"
            )


def _known(values: Floats | None) -> Floats:
    return np.zeros(0) if values is None else values[np.isfinite(values)]


def _bands(
    calibration: Calibration,
    file: Path,
    name: str,
    settings: BandSettings,
    fields: Sequence[str],
) -> Bands:
    data = calibration.data[name]
    steps = range(1, CalibratedPhysics.model_validate(data.about).steps + 1)
    try:
        groups = [[data.groups[band_label(field, step)] for field in fields] for step in steps]
        errors = [[data.groups[error_label(field, step)] for field in (None, *fields)] for step in steps]
    except KeyError as error:
        raise CheckpointError(f"{file}: not a sound calibration: {name} has no bounds for {error.args[0]!r}") from error
    half_width, largest = (
        np.array([[[np.inf if b is None else b for b in group.bounds] for group in row] for row in rows])
        for rows in (groups, errors)
    )
    if (half_width < 0).any():
        raise CheckpointError(f"{file}: not a sound calibration: {name} has bands of negative width")
    return Bands(
        dataset=name,
        units=groups[0][0].units,
        levels=calibration.levels,
        settings=settings,
        half_width=np.moveaxis(half_width, -1, 0),
        error=np.moveaxis(largest, -1, 0),
        data=data,
    )
