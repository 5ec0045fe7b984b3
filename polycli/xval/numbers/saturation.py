"""Says which numbers lie beyond the band in which plain xVal tells numbers apart: in training and in prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.console import first_few, warn
from polycli.xval.numbers.scaling import SPAN, Scaling

#: Key paths that a warning shows.
_SHOWN = 5


class Saturation:
    """Counts numbers beyond the band, by key path, as records go by."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self._met: Counter[str] = Counter()
        self._beyond: Counter[str] = Counter()

    def add(self, values: NDArray[np.float64], number_keys: NDArray[np.int32], key_paths: Sequence[str]) -> None:
        """Count more numbers; NaN, which asks for one, is none."""
        known = ~np.isnan(values)
        beyond = np.abs(self._scaling.apply(values, number_keys, key_paths)) > SPAN
        for counter, chosen in ((self._met, known), (self._beyond, beyond)):
            for key, count in zip(*np.unique(number_keys[chosen], return_counts=True), strict=True):
                counter[key_paths[key]] += int(count)

    def say(self) -> None:
        """Warn once of all key paths that have such numbers."""
        warn_of_saturation({path: count / self._met[path] for path, count in self._beyond.items()}, self._scaling)


def warn_of_saturation(shares: Mapping[str, float], scaling: Scaling) -> None:
    """Name the key paths of which a share of the numbers is beyond the band, those with the largest share first."""
    if not shares:
        return
    worst = [
        f"{path} ({share:.2%}, scaled by {scaling.of(path).kind})"
        for path, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    warn(f"numbers beyond {SPAN:g} after scaling, where plain xVal hardly tells them apart: {first_few(worst, _SHOWN)}")
