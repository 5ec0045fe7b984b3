"""Scores vectors of test objects by those of training objects: properties, redshifts, retrieval, and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.photometry import image_features, photometry, with_colours
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.data.tables.spellings import says_what_a_store_has
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.comparisons.stein import AS_COMPARED, AS_TRAINED
from polycli.astroclip.scoring.kinds import are_alike
from polycli.astroclip.scoring.redshift import binned_redshift_scores, redshift_scores
from polycli.astroclip.scoring.retrieval import (
    RetrievalScores,
    alignment,
    ranks,
    ranks_by_distance,
    retrieval_scores,
    uniformity,
)
from polycli.astroclip.scoring.score_records import (
    GeometryScores,
    LabelScores,
    PropertyScores,
    RedshiftScores,
)
from polycli.console import note, warn
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import (
    Accuracy,
    Fit,
    Floats,
    Probe,
    ProbeSettings,
    accuracy_score,
    predict_labels,
    predict_targets,
    r2_score,
)

#: Probes of each input; trees alone see nothing in directions of a space, and networks take seconds for each.
PROBES: dict[str, tuple[Probe, ...]] = {
    "image": ("knn", "mlp"),
    "spectrum": ("knn", "mlp"),
    "image_among_spectra": ("knn",),
    "spectrum_among_images": ("knn",),
    "image_unaligned": ("knn",),
    "spectrum_unaligned": ("knn",),
    "spectrum_templates": ("knn",),
    "spectrum_shift": ("knn",),
    AS_TRAINED: ("knn",),
    AS_COMPARED: ("knn",),
    "photometry": ("knn", "mlp", "boosting", "tuned_boosting"),
    "image_by_hand": ("knn", "boosting"),
    "visible_truth": ("boosting",),
}
RECALL_AT = (1, 5, 10, 100)
#: Columns that say how bright an object is, or how it was observed: no properties to be proud of predicting.
_NUISANCE = ("mag_", "flux_", "fiberflux_", "fibermag_", "fibertotflux_", "psf", "noise_", "snr", "ebv", "redshift_")
#: What a perfect image without noise would show, where a simulated survey has it.
_VISIBLE = ("mag_g", "mag_r", "mag_z", "b_over_t", "axis_ratio")
#: What image and spectrum of a simulated galaxy both tell, and by which error queries are off, about that of an image.
_SHARED = {"redshift": 0.03, "logm": 0.1, "ssfr": 0.25, "fibermag_r": 0.02}
_MOST_CLASSES = 20


@dataclass(frozen=True)
class Side:
    """Objects of one kind, the reference (training) or the test ones, and what was made of them."""

    rows: NDArray[np.int64]
    #: By input: (n, d).
    inputs: Mapping[str, NDArray[Any]]
    #: By modality: vectors of the same objects seen again; of test objects alone.
    again: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def first(self, count: int) -> Side:
        """Returns the first `count` objects."""
        return Side(
            self.rows[:count],
            {name: values[:count] for name, values in self.inputs.items()},
            {name: values[:count] for name, values in self.again.items()},
        )


@dataclass
class Guesses:
    """The true and the predicted values of test objects, which the report draws."""

    truth: dict[str, Floats] = field(default_factory=dict)
    #: By property and input.
    predicted: dict[str, dict[str, Floats]] = field(default_factory=dict)


def has_photometry(store: ObjectStore, rows: NDArray[np.int64]) -> bool:
    """Whether the catalogue has the magnitudes of all of these objects; says so where it has those of some."""
    magnitudes = store.magnitudes(rows)
    if magnitudes is None:
        return False
    unknown = int((~np.isfinite(magnitudes)).any(axis=1).sum())
    if unknown:
        instead = "measured on the cutouts" if store.has_images else "left out"
        warn(f"{store.name}: {unknown} of {len(rows)} objects lack a magnitude: photometry is {instead}")
    return unknown == 0


def simple_inputs(
    store: ObjectStore, rows: NDArray[np.int64], batches: Sequence[NDArray[np.int64]], *, catalogue: bool
) -> dict[str, Floats]:
    """The baselines' inputs: photometry, measurements on the cutouts, and what a simulation knows.

    `catalogue`: photometry is the catalogue's. It must be the same for what probes learn from and what they are asked.
    """
    found: dict[str, Floats] = {}
    magnitudes = store.magnitudes(rows) if catalogue else None
    if magnitudes is not None:
        found["photometry"] = with_colours(magnitudes)
    if store.has_images:
        parts = [store.read_images(batch) for batch in batches]
        found["image_by_hand"] = np.concatenate([image_features(part) for part in parts])
        found.setdefault("photometry", np.concatenate([photometry(part) for part in parts]))
    if set(_VISIBLE) <= set(store.columns):
        found["visible_truth"] = np.stack([store.target(name, rows) for name in _VISIBLE], axis=1)
        if set(_SHARED) <= set(store.columns):
            found["shared_truth"] = np.stack([store.target(name, rows) / _SHARED[name] for name in _SHARED], axis=1)
    return found


def property_names(store: ObjectStore, asked: Sequence[str]) -> list[str]:
    """The columns to predict as numbers.

    Raises:
        StoreError: one that was asked for is not there, or is text.
    """
    if asked:
        for name in asked:
            store.target(name, [0])
        return list(asked)
    floats = [found.name for found in store.about.properties if found.kind == "float"]
    known = [name for name in floats if says_what_a_store_has(name)]
    if known:
        note(f"{store.name}: not scored, as ids, positions or redshifts: {', '.join(known)}; `properties` scores them")
    return ["redshift", *(name for name in floats if name not in known and not name.lower().startswith(_NUISANCE))]


def label_names(store: ObjectStore, asked: Sequence[str]) -> list[str]:
    """The columns to classify.

    Raises:
        StoreError: one that was asked for is not there, or is of floats.
    """
    if asked:
        for name in asked:
            store.labels(name, [0])
        return list(asked)
    texts = [found.name for found in store.about.properties if found.kind == "text"]
    return [name for name in texts if 2 <= len(store.labels(name)[1]) <= _MOST_CLASSES]


def score_properties(
    store: ObjectStore, reference: Side, test: Side, settings: EvalSettings, bootstrap: Bootstrap
) -> tuple[PropertyScores, Guesses]:
    """R2 of every property from every input; for redshift also what surveys ask."""
    probes = ProbeSettings(settings.neighbours, settings.seed)
    properties: dict[str, dict[str, dict[str, Fit]]] = {}
    redshift: dict[str, dict[str, RedshiftScores]] = {}
    guesses = Guesses()
    brightness = r_magnitudes(store, test)
    for name in property_names(store, settings.properties):
        known_train = store.target(name, reference.rows)
        known_test = store.target(name, test.rows)
        learn, judge = np.isfinite(known_train), np.isfinite(known_test)
        if not _enough(store, name, learn, judge):
            continue
        guesses.truth[name], guesses.predicted[name] = known_test[judge], {}
        properties[name] = {}
        for source, (train, seen) in _inputs(reference, test).items():
            properties[name][source] = {}
            for probe in PROBES[source]:
                predicted = predict_targets(probe, train[learn], known_train[learn], seen[judge], probes)
                properties[name][source][probe] = r2_score(known_test[judge], predicted, bootstrap)
                guesses.predicted[name].setdefault(source, predicted)
                if name == "redshift":
                    errors = redshift_scores(known_test[judge], predicted, bootstrap)
                    redshift.setdefault(source, {})[probe] = RedshiftScores(errors=errors)
            if name == "redshift" and brightness is not None:
                first, answers = PROBES[source][0], guesses.predicted[name][source]
                bins = binned_redshift_scores(known_test[judge], answers, brightness[judge], bootstrap)
                redshift[source][first] = replace(redshift[source][first], by_magnitude=bins)
    labels = {
        name: _label_scores(store, name, reference, test, probes=probes, bootstrap=bootstrap)
        for name in label_names(store, settings.labels)
    }
    return PropertyScores(properties=properties, redshift=redshift, labels=labels), guesses


def r_magnitudes(store: ObjectStore, side: Side) -> Floats | None:
    """(n,) in r, by which spectroscopic targets are chosen: the catalogue's, else as measured on the cutouts."""
    magnitudes = store.magnitudes(side.rows)
    if magnitudes is not None:
        return magnitudes[:, 1]
    if "r" not in store.bands or "photometry" not in side.inputs:
        return None
    measured: Floats = side.inputs["photometry"][:, store.bands.index("r")]
    return measured


def score_retrieval(test: Side, *, aligned: bool, bootstrap: Bootstrap) -> dict[str, RetrievalScores]:
    """Recall and ranks: across modalities where they are aligned, and of the same object seen again.

    Of a simulation, what is known of the truth stands beside the former: `shared_truth`, in units of its errors.
    """
    directions: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    if aligned:
        directions["image_to_spectrum"] = (test.inputs["image"], test.inputs["spectrum"])
        directions["spectrum_to_image"] = (test.inputs["spectrum"], test.inputs["image"])
    for name, vectors in test.again.items():
        directions[f"{name}_to_{name}"] = (vectors, test.inputs[name])
    found = {
        name: retrieval_scores(ranks(queries, candidates), RECALL_AT, bootstrap)
        for name, (queries, candidates) in directions.items()
    }
    truth = test.inputs.get("shared_truth")
    if aligned and truth is not None and np.isfinite(truth).all():
        errors = np.random.default_rng(bootstrap.seed).standard_normal(truth.shape)
        found["shared_truth"] = retrieval_scores(ranks_by_distance(truth + errors, truth), RECALL_AT, bootstrap)
    return found


def score_geometry(test: Side, *, aligned: bool) -> GeometryScores:
    """Measures how near the two vectors of an object are, and how evenly vectors fill their sphere."""
    there = [name for name in ("image", "spectrum") if name in test.inputs]
    return GeometryScores(
        uniformity={name: uniformity(test.inputs[name]) for name in there},
        constant=[name for name in there if are_alike(test.inputs[name])] or None,
        alignment=alignment(test.inputs["image"], test.inputs["spectrum"]) if aligned else None,
    )


def _inputs(reference: Side, test: Side) -> dict[str, tuple[Floats, Floats]]:
    """Maps each input of a probe to the features that it learns from, and those that it is asked about."""
    pairs = {name: (name, name) for name in PROBES if name in test.inputs}
    widths = {test.inputs[name].shape[1] for name in ("image", "spectrum") if name in test.inputs}
    if {"image", "spectrum"} <= test.inputs.keys() and len(widths) == 1:
        pairs |= {"image_among_spectra": ("spectrum", "image"), "spectrum_among_images": ("image", "spectrum")}
    return {
        name: (
            reference.inputs[pairs[name][0]].astype(np.float64),
            test.inputs[pairs[name][1]].astype(np.float64),
        )
        for name in PROBES
        if name in pairs
    }


def _enough(store: ObjectStore, name: str, learn: NDArray[np.bool_], judge: NDArray[np.bool_]) -> bool:
    """Whether a column is known of at least two objects of either kind; says so where it is not."""
    counts = int(learn.sum()), int(judge.sum())
    if min(counts) < 2:
        warn(f"{store.name}: {name} is known of {counts[0]} training and {counts[1]} test objects: left out")
    return min(counts) >= 2


def _label_scores(
    store: ObjectStore, name: str, reference: Side, test: Side, *, probes: ProbeSettings, bootstrap: Bootstrap
) -> LabelScores:
    train, classes = store.labels(name, reference.rows)
    truth, _ = store.labels(name, test.rows)
    learn, judge = train >= 0, truth >= 0
    accuracy: dict[str, Accuracy] = {}
    if _enough(store, name, learn, judge):
        for source, (seen, asked) in _inputs(reference, test).items():
            predicted = predict_labels(seen[learn], train[learn], asked[judge], probes)
            accuracy[source] = accuracy_score(truth[judge], predicted, bootstrap)
    return LabelScores(classes=list(classes), accuracy=accuracy)
