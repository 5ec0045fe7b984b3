"""One nuisance at a time: what it tells by itself, what vectors tell of it, and what they are worth without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polycli.astroclip.scoring.audits.leaks import correlation_p
from polycli.astroclip.scoring.audits.nuisances import Floats, Nuisance, regressed_out
from polycli.astroclip.scoring.audits.objects import NEAREST, AuditedSide, ranks_across
from polycli.astroclip.scoring.audits.records import Told, WithoutNuisance
from polycli.astroclip.scoring.retrieval import Recall, recall_within
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Fit, ProbeSettings, predict_targets, r2_score


@dataclass(frozen=True)
class Regressions:
    """Both sides of an audit, and how their scores are made."""

    reference: AuditedSide
    test: AuditedSide
    probes: ProbeSettings
    bootstrap: Bootstrap

    def alone(self, train: Nuisance, test: Nuisance) -> tuple[Fit, Floats, Floats]:
        """R2 of the target by trees on a nuisance, and what they leave of it on either side."""
        said = [
            predict_targets("boosting", train.values, self.reference.target, side.values, self.probes)
            for side in (train, test)
        ]
        fit = r2_score(self.test.target, said[1], self.bootstrap)
        return fit, self.reference.target - said[0], self.test.target - said[1]

    def told(self, train: Nuisance, test: Nuisance, modality: str, permutations: int) -> Told:
        """How well a line through the vectors tells the nuisance."""
        vectors = self.reference.vectors[modality], self.test.vectors[modality]
        said = np.stack(
            [predict_targets("linear", vectors[0], values, vectors[1], self.probes) for values in train.values.T],
            axis=1,
        )
        fits = {
            name: r2_score(test.values[:, index], said[:, index], self.bootstrap)
            for index, name in enumerate(train.columns)
        }
        p = correlation_p(said, test.values, permutations=permutations, seed=self.bootstrap.seed)
        return Told(columns=fits, p=p)

    def without(
        self, cleaned: tuple[Floats, Floats], left: tuple[Floats, Floats], modality: str, whole: Floats
    ) -> WithoutNuisance:
        """Scores of the vectors that `cleaned` holds of either side; `left` is what the nuisance leaves of targets."""
        target, probes = self.reference.target, self.probes
        after = predict_targets("knn", cleaned[0], target, cleaned[1], probes)
        vectors = self.reference.vectors[modality], self.test.vectors[modality]
        added = predict_targets("knn", vectors[0], left[0], vectors[1], probes)
        # Of what is left, not of its variance: a nuisance may be off by a constant.
        error, before = (left[1] - added) ** 2, left[1] ** 2
        low, high = self.bootstrap.ratio(error, before).tolist()
        partial = Fit(r2=float(1 - error.mean() / before.mean()), interval=[1 - high, 1 - low])
        return WithoutNuisance(
            whole=r2_score(self.test.target, whole, self.bootstrap),
            left=r2_score(self.test.target, after, self.bootstrap),
            partial=partial,
        )

    def cleaned(self, train: Nuisance, test: Nuisance, modality: str) -> tuple[Floats, Floats]:
        """Vectors of either side, from which the nuisance was regressed out."""
        vectors = self.reference.vectors[modality], self.test.vectors[modality]
        return regressed_out(train.values, vectors[0], test.values, vectors[1])


def together(nuisances: Sequence[Nuisance], name: str) -> Nuisance:
    """Returns all columns as one nuisance."""
    columns = tuple(column for nuisance in nuisances for column in nuisance.columns)
    return Nuisance(name, columns, np.hstack([nuisance.values for nuisance in nuisances]))


def recalls(vectors: Mapping[str, Floats], count: int, bootstrap: Bootstrap) -> dict[str, Recall]:
    """Recall within the ten nearest, by direction, of aligned vectors."""
    found = ranks_across(vectors, count)
    return {name: recall_within(NEAREST, ranks, len(ranks), bootstrap) for name, ranks in found.items()}
