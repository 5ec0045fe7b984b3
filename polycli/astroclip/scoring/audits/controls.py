"""Negative controls: scores that must vanish, whatever the model; where they do not, the evaluation itself leaks."""

from __future__ import annotations

import numpy as np

from polycli.astroclip.scoring.audits.leaks import magnitude_bins, permuted
from polycli.astroclip.scoring.audits.nuisances import Floats
from polycli.astroclip.scoring.audits.objects import NEAREST, AuditedSide, ranks_across
from polycli.astroclip.scoring.audits.records import Controls, PermutedLabels, ShuffledPairs
from polycli.astroclip.scoring.retrieval import recall_within
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import ProbeSettings

#: How often labels are permuted; the p-value of shuffled pairs at which they fail.
_TIMES, _RARE = 19, 1e-3


def controls(
    reference: AuditedSide, test: AuditedSide, probes: ProbeSettings, bootstrap: Bootstrap, *, count: int | None
) -> Controls:
    """Labels of neighbours permuted within bins of magnitude, and pairs shuffled among the first `count` objects.

    `count` is None where modalities are not aligned.
    """
    return Controls(
        permuted_labels={name: _permuted_labels(reference, test, name, probes) for name in test.vectors},
        shuffled_pairs={} if count is None else _shuffled_pairs(test, count, bootstrap),
    )


def _permuted_labels(reference: AuditedSide, test: AuditedSide, modality: str, probes: ProbeSettings) -> PermutedLabels:
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    both = magnitude_bins(np.concatenate([reference.brightness, test.brightness]))
    bins, asked = np.split(both, [len(reference.rows)])
    generator = np.random.default_rng(probes.seed)
    labels = np.stack([reference.target[permuted(bins, generator)] for _ in range(_TIMES)], axis=1)
    scaler = StandardScaler().fit(reference.vectors[modality])
    neighbours = KNeighborsRegressor(min(probes.neighbours, len(labels)), weights="distance")
    neighbours.fit(scaler.transform(reference.vectors[modality]), labels)
    said = neighbours.predict(scaler.transform(test.vectors[modality]))
    scores = [_r2(test.target, values) for values in said.T]
    # Nothing that knows an object's bin alone can do better than the mean of the test objects in that bin.
    sums, counts = np.bincount(asked, test.target), np.bincount(asked)
    limit = _r2(test.target, (sums / np.maximum(counts, 1))[asked])
    return PermutedLabels(r2=float(np.mean(scores)), bins=limit, holds=bool(np.min(scores) <= limit))


def _shuffled_pairs(test: AuditedSide, count: int, bootstrap: Bootstrap) -> dict[str, ShuffledPairs]:
    from scipy.stats import binom

    image, spectrum = (test.vectors[name][:count] for name in ("image", "spectrum"))
    order = np.random.default_rng(bootstrap.seed).permutation(len(image))
    controls: dict[str, ShuffledPairs] = {}
    for name, found in ranks_across({"image": image, "spectrum": spectrum[order]}, count).items():
        recall = recall_within(NEAREST, found, len(found), bootstrap)
        hits = round(recall.recall * len(found))
        p = float(binom.sf(hits - 1, len(found), recall.chance))
        controls[name] = ShuffledPairs(recall=recall, p=p, holds=p > _RARE)
    return controls


def _r2(truth: Floats, said: Floats) -> float:
    return float(1 - ((truth - said) ** 2).mean() / (truth.var() or 1.0))
