"""Tests whether a nuisance tells the target, by permutations: the share of false alarms is what was asked for.

What magnitudes leave of the target is regressed on a nuisance. Where the nuisance has nothing to do with an object,
its values could as well belong to any other one, so that permuting tells how much such a regression explains by
chance. Permutations stay within bins of magnitude: that faint objects were observed longer is no leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.scoring.audits.nuisances import Floats, NormalScores, Nuisance

#: Bins of magnitude with equal numbers of objects, and the fewest objects of one.
_BINS, _FEWEST = 10, 20
#: Permutations held in memory at once.
_BLOCK = 100


@dataclass(frozen=True)
class Explained:
    """The share of the target that a nuisance explains beyond magnitudes, and beyond nuisances named before it."""

    name: str
    share: float
    p: float


def magnitude_bins(magnitude: Floats) -> NDArray[np.int64]:
    """(n,) the number of each object's bin, of about equal numbers of objects; one bin where objects are few."""
    bins = max(1, min(_BINS, len(magnitude) // _FEWEST))
    place = np.argsort(np.argsort(magnitude, kind="stable"), kind="stable")
    return np.asarray(place * bins // max(1, len(magnitude)), np.int64)


def permuted(bins: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """(n,) rows in an order that is random within each bin, and such that each row stays in its bin."""
    rows = np.empty(len(bins), np.int64)
    rows[np.argsort(bins, kind="stable")] = np.lexsort((generator.random(len(bins)), bins))
    return rows


def enough_permutations(asked: int, groups: int, level: float) -> int:
    """Returns a number of permutations with which a p-value can reach the level, divided among the groups."""
    return max(asked, math.ceil(2 * groups / level) - 1)


def explained_beyond(
    target: Floats,
    magnitudes: Floats | None,
    bins: NDArray[np.int64],
    nuisances: Sequence[Nuisance],
    *,
    permutations: int,
    level: float,
    seed: int,
) -> list[Explained]:
    """How much each nuisance explains of the target, the largest share first.

    Once a nuisance is found, what it explains is taken away before the others are tested again, so that one which
    merely varies with it is not named too.

    Args:
        target: (n,).
        magnitudes: (n, bands); None where none are known.
        bins: (n,), of magnitude.
        nuisances: of the same objects.
        permutations: behind each p-value.
        level: the p-value, times the number of nuisances, at which one counts as found.
        seed: of the permutations.
    """
    generator = np.random.default_rng(seed)
    orders = [permuted(bins, generator) for _ in range(permutations)]
    known = np.ones((len(target), 1)) if magnitudes is None else _magnitude_terms(magnitudes)
    waiting = {nuisance.name: NormalScores(nuisance.values)(nuisance.values) for nuisance in nuisances}
    results: list[Explained] = []
    while waiting:
        left = target - known @ np.linalg.lstsq(known, target, rcond=None)[0]
        tested = [_explained(name, terms, left, orders) for name, terms in waiting.items()]
        best = max(tested, key=lambda one: (-one.p, one.share))
        if best.p * len(nuisances) > level:
            return results + sorted(tested, key=lambda one: -one.share)
        results.append(best)
        known = np.hstack([known, waiting.pop(best.name)])
    return results


def correlation_p(predicted: Floats, truth: Floats, *, permutations: int, seed: int) -> float:
    """How often chance correlates any column of `predicted` with that of `truth`, both (n, columns), as well."""
    ranked = [_standard(values) for values in (predicted, truth)]
    found = (ranked[0] * ranked[1]).mean(axis=0).max()
    generator = np.random.default_rng(seed)
    as_good = sum(
        (ranked[0] * ranked[1][generator.permutation(len(truth))]).mean(axis=0).max() >= found
        for _ in range(permutations)
    )
    return float((1 + as_good) / (1 + permutations))


def _explained(name: str, terms: Floats, left: Floats, orders: Sequence[NDArray[np.int64]]) -> Explained:
    """The share of `left` that lies in the space of `terms`, and how often it does where rows are permuted."""
    basis = _orthonormal(terms)
    total = float(left @ left) or 1.0
    share = float(((basis.T @ left) ** 2).sum()) / total
    as_good = 0
    for start in range(0, len(orders), _BLOCK):
        shuffled = left[np.stack(orders[start : start + _BLOCK], axis=1)]
        as_good += int((((basis.T @ shuffled) ** 2).sum(axis=0) / total >= share * (1 - 1e-12)).sum())
    return Explained(name, share, (1 + as_good) / (1 + len(orders)))


def _orthonormal(terms: Floats) -> Floats:
    """(n, rank) an orthonormal basis of what the columns reach, without their mean."""
    centred = terms[:, 1:] - terms[:, 1:].mean(axis=0)
    basis, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(basis[:, lengths > 1e-9 * max(float(lengths.max()), 1e-300)])


def _magnitude_terms(magnitudes: Floats) -> Floats:
    """(n, terms) all products of up to two magnitudes, on their standard scale."""
    from sklearn.preprocessing import PolynomialFeatures

    return np.asarray(PolynomialFeatures(2).fit_transform(_standard(magnitudes)), np.float64)


def _standard(values: Floats) -> Floats:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread == 0, 1, spread), np.float64)
