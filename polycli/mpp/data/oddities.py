"""Finds what is strange in a trajectory or a store that is kept: prepare says it, and the manifest lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.console import warn
from polycli.store.statistics import FieldSums

#: Fields that no physics has at zero and below. Pressure is one of them where there is a density beside it.
_POSITIVE = ("density", "pressure")
#: Below this spread the 1e-7 that NRMSE and VRMSE add to a mean square is a tenth of it; above, squares may overflow.
SMALLEST_SPREAD, LARGEST_SIZE = 1e-3, 1e12


class ZeroFrames:
    """Counts the frames of a trajectory in which every field is zero everywhere: a simulation that was cut off."""

    def __init__(self) -> None:
        self._seen = 0
        self._places: list[int] = []

    def update(self, block: NDArray[Any]) -> None:
        """Look at the next frames, (time, field, x, y)."""
        zero = ~block.reshape(len(block), -1).any(axis=1)
        self._places += (self._seen + np.flatnonzero(zero)).tolist()
        self._seen += len(block)

    @property
    def flag(self) -> str | None:
        """The sentence to say; None where no frame is zero, or all are, which the check for constant fields says."""
        if not self._places or len(self._places) == self._seen:
            return None
        some = f"{len(self._places)}, first frame {self._places[0]}" if len(self._places) > 1 else f"{self._places[0]}"
        return f"zero frames: {some}"


def field_flags(sums: FieldSums) -> list[str]:
    """Fields that do not vary, and densities and pressures that are zero or less."""
    flags = [
        f"constant field: {name} is {moments['values']['mean']:g} everywhere"
        for name, moments in sums.items()
        if moments["values"]["minimum"] == moments["values"]["maximum"]
    ]
    for name, moments in sums.items():
        physics, _, quantity = name.partition(".")
        if quantity not in _POSITIVE or f"{physics}.density" not in sums:
            continue
        if (lowest := moments["values"]["minimum"]) <= 0:
            flags.append(f"{quantity} not above zero: {name} falls to {lowest:g}")
    return flags


def scale_warnings(statistics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each field whose numbers are so small, or so large, that errors of it are not measured right."""
    sentences = []
    for name, found in statistics.items():
        spread, size = found["std"], max(abs(found["min"]), abs(found["max"]))
        if 0 < spread < SMALLEST_SPREAD or size > LARGEST_SIZE:
            factor = 10.0 ** -floor(log10(spread if spread > 0 else size))
            wrong = "vanish beside the 1e-7 in NRMSE and VRMSE" if size <= LARGEST_SIZE else "overflow when squared"
            sentences.append(
                f"{name} varies by {spread:.2g} around {found['mean']:.2g}: such numbers {wrong}; in units in which it "
                f"is multiplied by {factor:g} they do not"
            )
    return sentences


def warn_of_scale(name: str, statistics: Mapping[str, Mapping[str, float]]) -> None:
    """Say it of a store on stderr, wherever one is made or used."""
    for sentence in scale_warnings(statistics):
        warn(f"{name}: {sentence}")


def flags_of(sums: FieldSums, zeros: ZeroFrames) -> Sequence[str]:
    """All that is strange in one trajectory."""
    return [*field_flags(sums), *([zeros.flag] if zeros.flag else [])]
