"""Times and coordinates of any file: even times give the time step, rising coordinates the edges of the domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.mpp.sources.frames import UNEVEN


def refuse_uneven(path: Path, name: str, times: NDArray[np.float64], dtype: np.dtype[Any]) -> None:
    """Return if times rise in equal steps, as far as the type that the file keeps them in can tell.

    Raises:
        SourceError: they are not finite, fall, or are uneven.
    """
    if times.size < 2:
        return
    steps = np.diff(times)
    hint = "models take equal steps: write frames at equal times into the file"
    if not np.isfinite(times).all():
        raise SourceError(f"{path}: the times {name!r} are not finite", hint=hint)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise SourceError(
            f"{path}: the times {name!r} do not increase after frame {at}: {times[at]:g}, then {times[at + 1]:g}",
            hint=hint,
        )
    median = float(np.median(steps))
    if np.abs(steps - median).max() > UNEVEN * median + rounding(times, dtype):
        raise SourceError(
            f"{path}: the times {name!r} are uneven: steps of {steps.min():.4g} to {steps.max():.4g}", hint=hint
        )


def domain_edges(
    path: Path, name: str, axis: str, values: NDArray[np.float64], dtype: np.dtype[Any]
) -> tuple[tuple[float, float], str | None]:
    """The edges of a domain along an axis whose cells have their middles at `values`, and what is strange about these.

    Raises:
        SourceError: they fall or stand still.
    """
    steps = np.diff(values)
    if not np.isfinite(values).all():
        raise SourceError(
            f"{path}: the coordinates {name!r} are not finite",
            hint="write finite ones into the file; for arrays of one's own, arrays.coordinates names others",
        )
    if values.size < 2 or (steps <= 0).any():
        raise SourceError(
            f"{path}: the coordinates {name!r} fall or stand still, from {values[0]:g} to {values[-1]:g}; rising "
            "ones were expected",
            hint=f"turn {axis} round, in the fields too (vectors along {axis} change their sign)",
        )
    strange = None
    if np.abs(steps / np.median(steps) - 1).max() > UNEVEN + rounding(values, dtype) / np.median(steps):
        strange = f"stretched grid: steps along {axis} are {steps.min():.4g} to {steps.max():.4g}"
    half = (values[-1] - values[0]) / (values.size - 1) / 2
    return (float(f"{values[0] - half:.9g}"), float(f"{values[-1] + half:.9g}")), strange


def rounding(values: NDArray[np.float64], dtype: np.dtype[Any]) -> float:
    """How far the difference of two neighbours may be off because of the type that they are kept in."""
    if dtype.kind != "f":
        return 0.0
    return 2 * float(np.finfo(dtype).eps) * float(np.abs(values).max())
