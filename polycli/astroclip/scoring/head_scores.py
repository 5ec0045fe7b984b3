"""Scores the answers of a finetuned model's own head: its numbers, its quantiles, its classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.answers import Answers, middle
from polycli.astroclip.scoring.posteriors.calibrated import CalibratedIntervals
from polycli.astroclip.scoring.posteriors.distributions import Distributions, levels_of
from polycli.astroclip.scoring.posteriors.measure import SortedBy, coverage_of, score_posterior
from polycli.astroclip.scoring.posteriors.records import Coverage, PosteriorScores
from polycli.astroclip.scoring.redshift import binned_redshift_scores, redshift_scores
from polycli.astroclip.scoring.score_records import HeadColumn, HeadScores, RedshiftScores
from polycli.console import warn
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Accuracy, Floats, accuracy_score, r2_score

#: Under this name the head stands among what properties are predicted from.
HEAD = "head"


def score_head(
    store: ObjectStore,
    rows: NDArray[np.int64],
    answers: Answers,
    section: PropertySection,
    bootstrap: Bootstrap,
    *,
    brightness: Floats | None = None,
    intervals: CalibratedIntervals | None = None,
) -> tuple[HeadScores, dict[str, tuple[Floats, Floats]]]:
    """Scores by column, and by column of numbers its true and predicted values.

    `below` of a quantile is the fraction of objects whose true value lies below it: as large as the quantile, where
    the head knows how much it does not know. Columns that the store has not are left out. `answers` are those at
    `levels_of` the head. `brightness` are the objects' magnitudes, by which redshifts are scored in bins too, and
    `intervals` those of a calibration.
    """
    properties: dict[str, HeadColumn] = {}
    labels: dict[str, Accuracy] = {}
    redshift: RedshiftScores | None = None
    drawn: dict[str, tuple[Floats, Floats]] = {}
    for name in (*section.regression, *section.classification):
        if name not in store.columns:
            warn(f"{store.name}: has no {name}, which the model predicts: not scored")
    by = _sorted_by(store, rows, answers, section, brightness)
    magnitude = None if intervals is None else intervals.magnitudes_of(store, rows)
    for name in (column for column in section.regression if column in store.columns):
        truth = store.target(name, rows)
        known = np.isfinite(truth)
        if known.sum() < 2:
            warn(f"{store.name}: {name} is known of {known.sum()} of the objects: the head's is not scored")
            continue
        best = _best(answers[name], section)[known]
        binned = None if magnitude is None else magnitude[known]
        column = _Column(name, section, truth[known], answers[name][known], by.of(known), binned)
        properties[name] = HeadColumn(
            fit=r2_score(truth[known], best, bootstrap),
            below=column.below(),
            posterior=column.posterior(bootstrap),
            calibrated=column.held(intervals),
        )
        drawn[name] = truth[known], best
        if name == "redshift":
            bins = None
            if brightness is not None:
                bins = binned_redshift_scores(truth[known], best, brightness[known], bootstrap)
            redshift = RedshiftScores(errors=redshift_scores(truth[known], best, bootstrap), by_magnitude=bins)
    for name in (column for column in section.classification if column in store.columns):
        classes = section.classification[name]
        codes, names = store.labels(name, rows)
        # A class that the model has never met is one that it gets wrong.
        order = np.array([classes.index(label) if label in classes else len(classes) for label in names], np.int64)
        known = codes >= 0
        if known.sum() < 2:
            warn(f"{store.name}: {name} is known of {known.sum()} of the objects: the head's is not scored")
            continue
        labels[name] = accuracy_score(order[codes[known]], answers[name][known].argmax(axis=1), bootstrap)
    scores = HeadScores(modalities=list(section.modalities), properties=properties, redshift=redshift, labels=labels)
    return scores, drawn


def _best(answers: NDArray[np.float32], section: PropertySection) -> Floats:
    """The quantile nearest to the median of each object, or its mean."""
    place = levels_of(section).index(section.quantiles[middle(section)]) if section.quantiles else 0
    return answers[:, place].astype(np.float64)


@dataclass(frozen=True)
class _Column:
    """One column of the objects whose value is known: the truth, and what the head answers."""

    name: str
    section: PropertySection
    truth: Floats
    answers: NDArray[np.float32]
    by: SortedBy
    #: The catalogue's, where intervals are calibrated in bins of it.
    magnitude: Floats | None

    def below(self) -> dict[str, float]:
        """The share of true values below each of the head's own quantiles."""
        levels, quantiles = levels_of(self.section), self.answers.astype(np.float64)
        return {f"{q:g}": float((self.truth < quantiles[:, levels.index(q)]).mean()) for q in self.section.quantiles}

    def posterior(self, bootstrap: Bootstrap) -> PosteriorScores | None:
        """The scores of its posteriors; None where the head predicts a mean alone."""
        if len(self.section.quantiles) < 2:
            return None
        found = Distributions(levels_of(self.section), self.answers.astype(np.float64))
        return score_posterior(self.truth, found, self.by, bootstrap)

    def held(self, intervals: CalibratedIntervals | None) -> Coverage | None:
        """The shares that calibrated intervals hold; None where there are none."""
        ends = {} if intervals is None else intervals.around(self.name, self.section, self.answers, self.magnitude)
        return coverage_of(self.truth, ends, self.by) if ends else None


def _sorted_by(
    store: ObjectStore, rows: NDArray[np.int64], answers: Answers, section: PropertySection, brightness: Floats | None
) -> SortedBy:
    """Magnitudes and redshifts by whose thirds coverage is counted; the head's own redshift where it predicts one."""
    if "redshift" in section.regression:
        return SortedBy(brightness, _best(answers["redshift"], section), predicted=True)
    known = store.target("redshift", rows) if "redshift" in store.columns else None
    return SortedBy(brightness, known, predicted=False)
