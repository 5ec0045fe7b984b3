"""The records of MPP's scores.json: what is said of the forecasts of one dataset.

Errors have no unit: NRMSE and VRMSE are fractions of the size and of the spread of the true frame. A number is None
where it is not finite. Intervals are 95 % intervals over trajectories: low and high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polycli.json_records import IF_GIVEN, INLINE
from polycli.mpp.predicting.band_facts import BandOrigin, Horizon
from polycli.report.probes import NumberErrors
from polycli.report.scores import Bounds, ByMethod, Errors

#: A number for each step of a rollout, (steps,).
Curve = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class FieldErrors:
    """Errors of the mean over fields, and of each field by its name."""

    mean: Errors = field(metadata=INLINE)
    fields: Mapping[str, Errors]


@dataclass(frozen=True, kw_only=True)
class OneStepScores:
    """Errors of the frame after the context, over windows of each trajectory."""

    windows_per_trajectory: int
    windows_available: int
    #: By metric: `nrmse`, `vrmse`.
    metrics: Mapping[str, FieldErrors] = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class StepsBelow:
    """Counts of steps, from the first, for which the model's error stays below persistence's."""

    #: Of the means over trajectories.
    mean_curve: int
    #: Of the trajectories by themselves.
    median: float
    least: int
    #: How many steps there are.
    of: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The error at every step, averaged over trajectories and fields."""

    #: By method, (steps,).
    by_method: Mapping[str, Curve] = field(metadata=INLINE)
    #: Of the model's: low and high, (steps,) each.
    interval: Sequence[Curve]


@dataclass(frozen=True, kw_only=True)
class RolloutErrors:
    """One metric of rollouts."""

    #: By span of steps, such as `steps_1_to_5` or `trajectory` for all.
    spans: Mapping[str, FieldErrors] = field(metadata=INLINE)
    steps_below_persistence: StepsBelow
    growth: Growth


@dataclass(frozen=True, kw_only=True)
class CorrelationScores:
    """How long forecasts stay correlated with the truth, averaged over trajectories and fields."""

    #: A correlation below this counts as lost.
    threshold: float
    #: By method, in steps.
    steps: ByMethod
    steps_interval: Bounds
    #: The same in the dataset's unit of time.
    time: ByMethod
    #: By method the correlation at every step, (steps,).
    growth: Mapping[str, Curve]


@dataclass(frozen=True, kw_only=True)
class FieldSpectrum:
    """The power of one field by radial wavenumber, (wavenumbers,), averaged over trajectories."""

    model: Curve
    truth: Curve
    #: The model's power over the truth's in thirds of the wavenumbers: `low`, `middle`, `high`.
    ratio: ByMethod


@dataclass(frozen=True, kw_only=True)
class SpectrumScores:
    """The spectra of all fields at one step of the rollouts."""

    step: int
    fields: Mapping[str, FieldSpectrum]


@dataclass(frozen=True, kw_only=True)
class BlowUp:
    """How many rollouts blow up before their end: their VRMSE goes above a limit, or is not finite."""

    above: float
    rollouts: int
    #: Of all rollouts: 0 to 1.
    rate: float
    interval: Bounds


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The relative drift of something that the physics conserves."""

    #: The largest drift of a trajectory, averaged over them: `model`, `truth`.
    largest: ByMethod = field(metadata=INLINE)
    interval: Bounds
    #: The mean size at every step, (steps,).
    growth: Mapping[str, Curve]


@dataclass(frozen=True, kw_only=True)
class RolloutScores:
    """Errors of forecasts that are fed back, from the first frames to the end."""

    context_frames: int
    steps: int
    #: The time between two frames, in the dataset's unit.
    interval: float
    #: How many rollouts are not finite to the end.
    diverged: int
    #: By metric: `nrmse`, `vrmse`.
    metrics: Mapping[str, RolloutErrors] = field(metadata=INLINE)
    correlation: CorrelationScores
    spectra: Sequence[SpectrumScores]
    blow_up: BlowUp
    #: By conserved quantity, such as `mass`.
    conservation: Mapping[str, Drift]


@dataclass(frozen=True, kw_only=True)
class MeanScore:
    """A mean over trajectories and its interval."""

    mean: float | None
    interval: Bounds


@dataclass(frozen=True, kw_only=True)
class ContenderRollout:
    """One metric of a contender's rollouts."""

    spans: Mapping[str, MeanScore] = field(metadata=INLINE)
    growth: Curve


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of one step of one trajectory."""

    #: Such as `avit`, `least squares` or `formula`.
    kind: str
    parameters: int
    flops: int
    #: The least of several turns on this machine.
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class ContenderScores:
    """One of several models on the same windows; by metric, `nrmse` and `vrmse`."""

    one_step: Mapping[str, MeanScore]
    rollout: Mapping[str, ContenderRollout]
    blow_up: BlowUp
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class ComparisonScores:
    """Several models on the same windows of one dataset, by their labels."""

    context_frames: int
    steps: int
    #: The time between two frames.
    interval: float
    models: Mapping[str, ContenderScores]


@dataclass(frozen=True, kw_only=True)
class BandCoverage:
    """How often one band of one field holds, for each step (steps,)."""

    #: Of the trajectories: 0 to 1.
    share: Sequence[float]
    #: Of those shares, by a binomial count: low and high.
    interval: Sequence[Sequence[float]]
    #: In the units of the field; where draws scale the band, its mean over points and trajectories is there instead.
    half_width: Curve | None = field(default=None, metadata=IF_GIVEN)
    mean_half_width: Curve | None = field(default=None, metadata=IF_GIVEN)
    #: The same over the standard deviation of the field.
    relative_width: Curve
    #: Of the points of a frame; None where it was not measured.
    points_inside: Curve | None


@dataclass(frozen=True, kw_only=True)
class HorizonScores:
    """The validity horizon that was promised, and how often it held."""

    promised: Horizon = field(metadata=INLINE)
    #: Of the tested trajectories: 0 to 1.
    held: float
    interval: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class BandScores:
    """The bands of a calibrated model on trajectories that they were not made from."""

    #: `steps` of which are those that were tested.
    origin: BandOrigin = field(metadata=INLINE)
    trajectories_tested: int
    levels: Sequence[float]
    #: By level the range that holds 95 % of such counts, where the promise is kept.
    expected: Mapping[str, Sequence[float]]
    #: By field and level.
    coverage: Mapping[str, Mapping[str, BandCoverage]]
    validity_horizon: HorizonScores


@dataclass(frozen=True, kw_only=True)
class PaperColumn:
    """One column of the paper's table: our one-step NRMSE, the paper's, and of how many windows ours is."""

    nrmse: float | None
    published: float | None
    windows: int
    datasets: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PaperScores:
    """One-step errors beside Table 1 of the MPP paper."""

    #: The published size of the same width; None where there is none.
    size: str | None
    columns: Mapping[str, PaperColumn]
    without_column: Sequence[str]
    #: In which points our errors are not taken by the paper's rule.
    departures: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ParameterScores:
    """The errors for one parameter of the physics, of logarithms where it is learnt as one."""

    #: How many trajectories it is known of, and of how many others it is not.
    trajectories: int
    unknown: int
    logarithm: bool
    #: The least and the largest value in training.
    trained_from: Sequence[float]
    #: How many answers of the model, and how many true values, lie outside of those.
    answers_outside: int
    truth_outside: int
    #: By method.
    methods: Mapping[str, NumberErrors]
    better_baselines: Sequence[str]
    #: Of probes: how many training trajectories they learnt from.
    learned_from: int | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class ForecastScores:
    """The scores of a dataset whose frames were forecast."""

    trajectories: int
    row_ids: Sequence[str]
    one_step: OneStepScores
    rollout: RolloutScores
    #: By parameter; absent where no probes are asked for.
    probes: Mapping[str, ParameterScores] | None = field(default=None, metadata=IF_GIVEN)
    #: Absent without `--baseline`.
    comparison: ComparisonScores | None = field(default=None, metadata=IF_GIVEN)
    #: Absent where the model is not calibrated for such data.
    bands: BandScores | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class ForecastsTogether:
    """The scores of all datasets together; each key is absent where it is not asked for."""

    probes: Mapping[str, ParameterScores] | None = field(default=None, metadata=IF_GIVEN)
    paper_table1: PaperScores | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class ParameterDatasetScores:
    """The scores of a dataset whose parameters were predicted."""

    trajectories: int
    row_ids: Sequence[str]
    #: Trajectories that were left out, because no target of theirs is known.
    left_out: int
    windows_per_trajectory: int
    #: By dataset how many training trajectories the simple methods learnt from.
    learned_from: Mapping[str, int]
    #: By parameter.
    parameters: Mapping[str, ParameterScores]


@dataclass(frozen=True, kw_only=True)
class ParametersTogether:
    """The scores of all datasets together; absent of one alone."""

    parameters: Mapping[str, ParameterScores] | None = field(default=None, metadata=IF_GIVEN)
