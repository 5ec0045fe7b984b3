"""The columns that say how an object was observed and not what it is, in groups over bands, to regress on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.console import note

Floats = NDArray[np.float64]
#: Beginnings of names of columns that describe an observation.
_OBSERVATION = ("psf", "seeing", "noise", "depth", "galdepth", "sky", "ebv", "airmass", "exptime", "nobs", "nexp")
_BAND = re.compile(r"_(?:[ugrizy]|w[1-4])$")
#: The share of objects of which a column must be known.
_KNOWN = 0.5


@dataclass(frozen=True)
class Nuisance:
    """A group of columns of some objects."""

    name: str
    columns: tuple[str, ...]
    #: (n, columns).
    values: Floats

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Nuisance:
        """Returns the same of some of its objects."""
        return Nuisance(self.name, self.columns, self.values[rows])


def nuisance_columns(store: ObjectStore, asked: Sequence[str]) -> dict[str, list[str]]:
    """Columns of the catalogue that describe the observation, and those that were asked for, by group.

    A group holds one quantity in all bands and has its name.

    Raises:
        StoreError: one that was asked for is not there, or is text.
    """
    for name in asked:
        store.target(name, [0])
    numbers = [found.name for found in store.about.properties if found.kind in ("float", "integer")]
    names = dict.fromkeys([*(name for name in numbers if name.lower().startswith(_OBSERVATION)), *asked])
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_BAND.sub("", name.lower()), []).append(name)
    return groups


def read_nuisances(store: ObjectStore, rows: NDArray[np.int64], asked: Sequence[str]) -> list[Nuisance]:
    """The groups of columns of these objects, NaN where unknown; without columns that hardly say anything.

    Left out are columns that do not vary, which is no news, and those that are unknown of most objects, which is said.
    """
    found = []
    for group, names in nuisance_columns(store, asked).items():
        kept: dict[str, Floats] = {}
        for name in names:
            values = store.target(name, rows)
            known = np.isfinite(values)
            if known.mean() < _KNOWN:
                note(f"{store.name}: {name} is known of {known.sum()} of {len(rows)} objects: not audited")
            elif np.ptp(values[known]) > 0:
                kept[name] = values
        if kept:
            found.append(Nuisance(group, tuple(kept), np.stack(list(kept.values()), axis=1)))
    return found


class NormalScores:
    """Columns as normal scores of their ranks, and the squares of these: what a regression on a nuisance sees.

    Ranks make it indifferent to units and to the tails of a distribution, squares let it bend.
    """

    def __init__(self, values: Floats) -> None:
        from sklearn.preprocessing import QuantileTransformer

        self._scores = QuantileTransformer(
            n_quantiles=min(1000, len(values)), output_distribution="normal", subsample=None
        ).fit(values)

    def __call__(self, values: Floats) -> Floats:
        """(n, 1 + 2 columns): ones, scores, and squares of scores."""
        # The extremes are at 5.2, far out for a square: two and a half deviations say it too.
        scores = np.clip(self._scores.transform(values), -2.5, 2.5)
        return np.hstack([np.ones((len(values), 1)), scores, scores**2])


def regressed_out(train: Floats, values: Floats, asked: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Takes out of vectors what a regression on a nuisance explains.

    The vectors are `values` (m, d) of training objects and `other` (n, d) of test objects.
    The regression is learnt from the training objects alone; `train` (m, c) and `asked` (n, c) are their nuisances.
    """
    scores = NormalScores(train)
    design = scores(train)
    weights = np.linalg.lstsq(design, values, rcond=None)[0]
    return values - design @ weights, other - scores(asked) @ weights
