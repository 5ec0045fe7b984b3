"""Errors of a model and of two baselines on one dataset: one step, and rolled out from the first frames.

Frames that the model is given are never counted as predictions. Errors are kept by trajectory, the unit over which
intervals are drawn: windows of one trajectory are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.console import ProgressReport
from polycli.mpp.data.oddities import LARGEST_SIZE
from polycli.mpp.model.metrics import nrmse, vrmse
from polycli.mpp.predicting.files import ForecastArray
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.scoring.bands.draws import as_array, rollout_with_spread
from polycli.mpp.scoring.bands.meter import BandMeter
from polycli.mpp.scoring.baselines import linear_extrapolation, persistence
from polycli.mpp.scoring.conservation import invariants, relative
from polycli.mpp.scoring.film import BandStrip
from polycli.mpp.scoring.rollout import Conditions, next_frame
from polycli.mpp.scoring.spectra import Spectra, correlation, radial_power
from polycli.store.reader import Store, Window
from polycli.workflow.overlap import ScoredRows

Floats = NDArray[np.float64]
Metric = Callable[[Tensor, Tensor], Tensor]
METRICS: dict[str, Metric] = {"nrmse": nrmse, "vrmse": vrmse}
BASELINES = {"persistence": persistence, "linear": linear_extrapolation}
#: By metric, then by method: `model`, `persistence`, `linear`.
Errors = dict[str, dict[str, Floats]]
#: Bytes of true frames that are read at once.
_READ_BYTES = 64 * 2**20
#: Frames that are kept of the rollout that is shown, at most, and the points of their longer side.
_FILMED, _FILMED_POINTS = 60, 256


@dataclass(frozen=True)
class Subset:
    """The trajectories of a store that are scored, and how frames are taken from them."""

    store: Store
    about: PdeDescription
    read: Conditions
    rows: NDArray[np.int64]
    history: int
    time_stride: int
    #: The frame of the store at which rollouts begin.
    first: int = 0

    @property
    def scored(self) -> ScoredRows:
        """The store and the rows of it."""
        return ScoredRows(self.store, self.rows)

    @property
    def frames(self) -> int:
        """Frames of a trajectory from the first on, `time_stride` apart."""
        return -(-(self.store.manifest.arrays["fields"].shape[1] - self.first) // self.time_stride)

    @property
    def windows(self) -> int:
        """One-step windows of a trajectory, starting at every frame of the store."""
        return self.store.manifest.arrays["fields"].shape[1] - self.history * self.time_stride

    @property
    def baselines(self) -> tuple[str, ...]:
        """A straight line needs two frames."""
        return ("persistence", "linear") if self.history > 1 else ("persistence",)

    def load(self, windows: Sequence[tuple[int, int]], length: int) -> Tensor:
        """`length` frames of each (row, first frame of the store): (window, length, C, H, W) float32."""
        wanted = [Window(int(row), int(start), length, self.time_stride) for row, start in windows]
        return torch.from_numpy(np.ascontiguousarray(self.store.read_windows("fields", wanted), dtype=np.float32))


@dataclass(frozen=True)
class OneStep:
    """Means over each trajectory's windows, (trajectory, field)."""

    errors: Errors
    #: Windows of each trajectory that were scored, of those that there are.
    windows: int
    available: int


@dataclass(frozen=True)
class Illustration:
    """Some frames of one rollout, to look at: (time, C, H, W)."""

    trajectory: str
    steps: tuple[int, ...]
    truth: NDArray[np.float32]
    prediction: NDArray[np.float32]
    #: For each field, where the model is calibrated.
    bands: tuple[BandStrip, ...] = ()


@dataclass(frozen=True)
class Rollouts:
    """Errors at every step, (trajectory, step, field), and what became of the conserved quantities."""

    errors: Errors
    #: By quantity: relative drift of the model's and the true frames, (trajectory, step).
    conservation: dict[str, dict[str, Floats]]
    #: Correlation with the truth by method, (trajectory, step, field).
    correlation: dict[str, Floats]
    #: Power by wavenumber at the first and at the last step.
    spectra: tuple[Spectra, ...]
    illustration: Illustration
    #: Whether all frames of a trajectory's rollout are finite.
    finite: NDArray[np.bool_]


def score_one_step(
    model: nn.Module, subset: Subset, *, batch_size: int, max_windows: int, progress: ProgressReport
) -> OneStep:
    """Score the frame after every window of `history` frames, or after an even choice of `max_windows` of them."""
    per_row = min(subset.windows, max(1, max_windows // len(subset.rows)))
    # Evenly spread, from the first window to the last.
    starts = np.unique(np.linspace(0, subset.windows - 1, per_row).round().astype(np.int64))
    windows = [(int(row), int(start)) for row in subset.rows for start in starts]
    parts: dict[tuple[str, str], list[Tensor]] = {}
    for begin in range(0, len(windows), batch_size):
        frames = subset.load(windows[begin : begin + batch_size], subset.history + 1).to(_device(model))
        context, target = frames[:, :-1], frames[:, -1]
        # Windows stand trajectory by trajectory.
        trajectories = np.arange(begin, begin + len(frames)) // len(starts)
        predictions = {"model": next_frame(model, context, subset.read.at(trajectories))}
        predictions |= {name: BASELINES[name](context, 1) for name in subset.baselines}
        for method, prediction in predictions.items():
            for metric, measure in METRICS.items():
                parts.setdefault((metric, method), []).append(_errors(measure, prediction, target))
        progress.advance(len(frames))
    shape = (len(subset.rows), len(starts), len(subset.about.fields))
    errors = _by_metric({key: torch.cat(found).numpy().reshape(shape).mean(axis=1) for key, found in parts.items()})
    return OneStep(errors, windows=len(starts), available=subset.windows)


def score_rollouts(
    model: nn.Module,
    subset: Subset,
    *,
    steps: int,
    batch_size: int,
    progress: ProgressReport,
    saved: ForecastArray | None = None,
    meter: BandMeter | None = None,
) -> Rollouts:
    """Score `steps` frames predicted from the first `history` frames of each trajectory, each fed back.

    `meter` gathers what bands are made or judged by.
    """
    conserved = invariants(subset.about)
    shown = frozenset(int(step) for step in np.unique(np.linspace(1, steps, min(steps, _FILMED)).round()))
    pictures: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    shape = (len(subset.rows), steps, len(subset.about.fields))
    table = {(metric, method): np.empty(shape) for metric in METRICS for method in ("model", *subset.baselines)}
    drifts = {(quantity.name, whose): np.empty(shape[:2]) for quantity in conserved for whose in ("model", "truth")}
    correlated = {method: np.empty(shape) for method in ("model", *subset.baselines)}
    powers: dict[tuple[int, str], list[Tensor]] = {}
    finite = np.ones(len(subset.rows), dtype=np.bool_)
    for begin in range(0, len(subset.rows), batch_size):
        rows = subset.rows[begin : begin + batch_size]
        here = slice(begin, begin + len(rows))
        context = subset.load([(int(row), subset.first) for row in rows], subset.history).to(_device(model))
        last = context[:, -1]
        read = subset.read.at(np.arange(begin, begin + len(rows)))
        forecast = rollout_with_spread(model, context, read, steps, draws=1 if meter is None else meter.draws)
        pairs = zip(forecast, _truth(subset, rows, steps), strict=True)
        for index, ((predicted, spread), true) in enumerate(pairs):
            target = true.to(predicted.device)
            methods = {"model": predicted, **{name: BASELINES[name](context, index + 1) for name in subset.baselines}}
            for (metric, method), values in table.items():
                values[here, index] = _errors(METRICS[metric], methods[method], target).numpy()
            for method, values in correlated.items():
                values[here, index] = correlation(methods[method], target).double().cpu().numpy()
            if index + 1 in {1, steps}:
                for whose, frame in (("model", predicted), ("truth", target)):
                    powers.setdefault((index + 1, whose), []).append(radial_power(frame).double().cpu())
            for quantity in conserved:
                for whose, frame in (("model", predicted), ("truth", target)):
                    drifts[quantity.name, whose][here, index] = relative(quantity, frame, last).cpu().numpy()
            finite[here] &= torch.isfinite(predicted).all(dim=(1, 2, 3)).cpu().numpy()
            if begin == 0 and index + 1 in shown:
                thin = max(1, -(-max(true.shape[-2:]) // _FILMED_POINTS))
                first_true, first_predicted = (frame[0, :, ::thin, ::thin].cpu().numpy() for frame in (true, predicted))
                pictures.append((first_true, first_predicted))
            if meter is not None:
                meter.record(here, index, predicted, target, spread)
            if saved is not None:
                saved.write(begin, index, predicted.cpu().numpy(), as_array(spread))
            progress.advance(len(rows))
    illustration = Illustration(
        trajectory=subset.store.manifest.row_ids[int(subset.rows[0])],
        steps=tuple(sorted(shown)),
        truth=np.stack([true for true, _ in pictures]),
        prediction=np.stack([predicted for _, predicted in pictures]),
    )
    spectra = tuple(
        Spectra(step, *(torch.cat(powers[step, whose]).numpy() for whose in ("model", "truth")))
        for step in sorted({1, steps})
    )
    return Rollouts(_by_metric(table), _by_metric(drifts), correlated, spectra, illustration, finite)


def _truth(subset: Subset, rows: NDArray[np.int64], steps: int) -> Iterator[Tensor]:
    """The frames after the first `history`, one by one, (row, C, H, W); read in blocks, to bound memory."""
    fields, height, width = subset.store.manifest.arrays["fields"].shape[2:]
    block = max(1, _READ_BYTES // (4 * len(rows) * fields * height * width))
    for begin in range(0, steps, block):
        first = subset.first + (subset.history + begin) * subset.time_stride
        frames = subset.load([(int(row), first) for row in rows], min(block, steps - begin))
        yield from frames.unbind(dim=1)


def _errors(measure: Metric, prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the errors in float64 on the CPU; the error of a frame that is not finite is infinite."""
    if float(target.abs().max()) > LARGEST_SIZE:
        # Their squares overflow in float32, and any error over infinity would be none.
        prediction, target = prediction.double(), target.double()
    return torch.nan_to_num(measure(prediction, target).double().cpu(), nan=torch.inf, posinf=torch.inf)


def _by_metric(table: dict[tuple[str, str], Floats]) -> dict[str, dict[str, Floats]]:
    nested: dict[str, dict[str, Floats]] = {}
    for (first, second), values in table.items():
        nested.setdefault(first, {})[second] = values
    return nested


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
