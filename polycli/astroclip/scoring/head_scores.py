"""Scores the answers of a finetuned model's own head: its numbers, its quantiles, its classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.answers import Answers, middle
from polycli.astroclip.scoring.redshift import binned_redshift_scores, redshift_scores
from polycli.console import warn
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Floats, accuracy_score, r2_score
from polycli.requests import JsonDocument

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
) -> tuple[JsonDocument, dict[str, tuple[Floats, Floats]]]:
    """Scores by column, and by column of numbers its true and predicted values.

    `below` of a quantile is the fraction of objects whose true value lies below it: as large as the quantile, where
    the head knows how much it does not know. Columns that the store has not are left out. `brightness` are the objects'
    magnitudes, by which redshifts are scored in bins too.
    """
    scores: JsonDocument = {"modalities": list(section.modalities), "properties": {}, "redshift": None, "labels": {}}
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
        found = answers[name][known].astype(np.float64)
        best = found[:, middle(section)]
        scores["properties"][name] = {
            **r2_score(truth[known], best, bootstrap),
            "below": {
                f"{quantile:g}": float((truth[known] < found[:, index]).mean())
                for index, quantile in enumerate(section.quantiles)
            },
        }
        drawn[name] = truth[known], best
        if name == "redshift":
            scores["redshift"] = redshift_scores(truth[known], best, bootstrap)
            if brightness is not None:
                bins = binned_redshift_scores(truth[known], best, brightness[known], bootstrap)
                scores["redshift"]["by_magnitude"] = bins
    for name in (column for column in section.classification if column in store.columns):
        classes = section.classification[name]
        codes, names = store.labels(name, rows)
        # A class that the model has never met is one that it gets wrong.
        order = np.array([classes.index(label) if label in classes else len(classes) for label in names], np.int64)
        known = codes >= 0
        if known.sum() < 2:
            warn(f"{store.name}: {name} is known of {known.sum()} of the objects: the head's is not scored")
            continue
        scores["labels"][name] = accuracy_score(order[codes[known]], answers[name][known].argmax(axis=1), bootstrap)
    return scores, drawn
