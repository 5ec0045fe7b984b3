"""Scores the answers of a finetuned model's own head: its numbers, its quantiles, its classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.answers import Answers, middle
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
) -> tuple[HeadScores, dict[str, tuple[Floats, Floats]]]:
    """Scores by column, and by column of numbers its true and predicted values.

    `below` of a quantile is the fraction of objects whose true value lies below it: as large as the quantile, where
    the head knows how much it does not know. Columns that the store has not are left out. `brightness` are the objects'
    magnitudes, by which redshifts are scored in bins too.
    """
    properties: dict[str, HeadColumn] = {}
    labels: dict[str, Accuracy] = {}
    redshift: RedshiftScores | None = None
    drawn: dict[str, tuple[Floats, Floats]] = {}
    for name in (*section.regression, *section.classification):
        if name not in store.columns:
            warn(f"{store.name}: has no {name}, which the model predicts: not scored")
    for name in (column for column in section.regression if column in store.columns):
        truth = store.target(name, rows)
        known = np.isfinite(truth)
        if known.sum() < 2:
            warn(f"{store.name}: {name} is known of {known.sum()} of the objects: the head's is not scored")
            continue
        quantiles = answers[name][known].astype(np.float64)
        best = quantiles[:, middle(section)]
        properties[name] = HeadColumn(
            fit=r2_score(truth[known], best, bootstrap),
            below={
                f"{quantile:g}": float((truth[known] < quantiles[:, index]).mean())
                for index, quantile in enumerate(section.quantiles)
            },
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
