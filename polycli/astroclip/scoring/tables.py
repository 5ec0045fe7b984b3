"""The tables of an AstroCLIP evaluation, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.astroclip.scoring.audits.tables import attention_table, attribution_table, audit_tables
from polycli.astroclip.scoring.comparisons.stein import AS_COMPARED, AS_TRAINED
from polycli.astroclip.scoring.morphology.tables import morphology_tables
from polycli.astroclip.scoring.posteriors.tables import coverage_table, posterior_table
from polycli.astroclip.scoring.redshifts.tables import neighbour_table, predicted_table, template_table
from polycli.astroclip.scoring.score_records import HeadScores, ObjectScores, RedshiftScores
from polycli.report.table import NOTHING, Table, interval, number

#: Inputs in the order of the tables.
INPUTS = {
    "image": "image",
    "spectrum": "spectrum",
    "image_among_spectra": "image, learnt from spectra",
    "spectrum_among_images": "spectrum, learnt from images",
    "image_unaligned": "image encoder before alignment",
    "spectrum_unaligned": "spectrum encoder before alignment",
    "spectrum_templates": "templates of the spectrum",
    "spectrum_shift": "likeliest shift of the templates",
    AS_TRAINED: "Stein et al.'s ResNet-50 as trained (96 px, 2048)",
    AS_COMPARED: "the same as AstroCLIP compared it (144 px, 128)",
    "photometry": "photometry",
    "image_by_hand": "image, measured by hand",
    "visible_truth": "noiseless magnitudes and shapes",
}
PROBES = {"knn": "k-NN", "mlp": "MLP", "boosting": "trees", "tuned_boosting": "tuned trees"}
OWN_HEAD = "the model's own head"
OWN_ANSWER = "own head"
DIRECTIONS = {
    "image_to_spectrum": "image to spectrum",
    "spectrum_to_image": "spectrum to image",
    "shared_truth": "true redshift, mass, sSFR and fibre magnitude",
    "image_to_image": "image to its second look",
    "spectrum_to_spectrum": "spectrum to its second look",
}
RECONSTRUCTED = {
    "line": "a straight line between both sides",
    "neighbours": "the mean of both sides",
    "mean": "the mean of the spectrum",
    "noise": "the noise that a perfect answer would have",
}


def overview(datasets: Mapping[str, ObjectScores]) -> list[Table]:
    """The tables that a terminal shows, and a report first."""
    tables = []
    for name, dataset in datasets.items():
        tables += [
            head_table(name, dataset),
            posterior_table(name, dataset),
            coverage_table(name, dataset),
            property_table(name, dataset),
            redshift_table(name, dataset),
            template_table(name, dataset.templates),
            predicted_table(name, dataset.neighbours),
            neighbour_table(name, dataset.by_neighbours, INPUTS),
            magnitude_table(name, dataset),
            label_table(name, dataset),
            *morphology_tables(name, dataset.morphology, INPUTS),
            retrieval_table(name, dataset),
            geometry_table(name, dataset),
            reconstruction_table(name, dataset),
            *audit_tables(name, dataset.audit, _recall_within_ten(dataset)),
            attribution_table(name, dataset.attribution),
            attention_table(name, dataset.attention),
        ]
    return [table for table in tables if table.rows]


def _recall_within_ten(dataset: ObjectScores) -> dict[str, float]:
    return {direction: scores.recall_at["10"].recall for direction, scores in dataset.retrieval.items()}


def property_table(name: str, dataset: ObjectScores) -> Table:
    """One row for each property and input: R2 by probe, with the interval of the first."""
    rows, ruled = [], set()
    heads = own_heads(dataset)
    for column, scores in dataset.read.properties.items():
        answered = {text: head.properties[column].fit for text, head in heads.items() if column in head.properties}
        for source, text in INPUTS.items():
            if source not in scores:
                continue
            probes = scores[source]
            first = next(iter(probes.values()))
            cells = [number(probes[probe].r2) if probe in probes else NOTHING for probe in PROBES]
            empty = [NOTHING] if heads else []
            rows.append([column, text, *cells, *empty, interval(first.interval)])
        unprobed = [NOTHING] * len(PROBES)
        rows += [[column, text, *unprobed, number(fit.r2), interval(fit.interval)] for text, fit in answered.items()]
        ruled.add(len(rows) - 1)
    return Table(
        f"{name}: R2 of properties",
        ["property", "from", *PROBES.values(), *([OWN_ANSWER] if heads else []), "95 % interval of the first"],
        rows,
        caption=f"{dataset.objects} objects, learnt from {dataset.reference_objects}.",
        labels=2,
        ruled=frozenset(ruled),
    )


def own_heads(dataset: ObjectScores) -> dict[str, HeadScores]:
    """Returns networks' own heads by their name in tables, the model's first; none without runs of `--baseline`."""
    if not dataset.baselines:
        return {}
    own = {} if dataset.head is None else {OWN_HEAD: dataset.head}
    return own | {
        f"baseline {label} ({' and '.join(head.modalities)})": head for label, head in dataset.baselines.items()
    }


def head_table(name: str, dataset: ObjectScores) -> Table:
    """Tabulates the R2 or accuracy of the model's own head for every column."""
    head = dataset.head or HeadScores(modalities=(), properties={}, redshift=None, labels={})
    rows = []
    for column, scores in head.properties.items():
        below = ", ".join(f"{quantile}: {number(share)}" for quantile, share in scores.below.items())
        rows.append([column, "R2", number(scores.fit.r2), interval(scores.fit.interval), below or NOTHING])
    for column, right in head.labels.items():
        score = f"{number(right.accuracy)} (most frequent class: {number(right.majority)})"
        rows.append([column, "accuracy", score, interval(right.interval), NOTHING])
    return Table(
        f"{name}: the model's own head",
        ["column", "score", "value", "95 % interval", "truth below quantile"],
        rows,
        caption=f"From {' and '.join(head.modalities)}.",
        labels=2,
    )


def redshift_table(name: str, dataset: ObjectScores) -> Table:
    """Bias, scatter and outliers of redshifts, by input and probe."""
    rows = []
    for source, probe, scores in _redshift_answers(dataset):
        rows.append(
            [
                source,
                probe,
                number(scores.errors.bias),
                interval(scores.errors.bias_interval),
                number(scores.errors.sigma_nmad),
                number(scores.errors.outlier_fraction),
                interval(scores.errors.outlier_interval),
            ]
        )
    columns = ["from", "by", "bias", "95 % interval", "sigma_NMAD", "outliers", "95 % interval"]
    return Table(
        f"{name}: redshift", columns, rows, caption="Of (z - z_true) / (1 + z_true); outliers beyond 0.15.", labels=2
    )


def magnitude_table(name: str, dataset: ObjectScores) -> Table:
    """Redshifts in bins of magnitude, of the first probe of what a model sees, beside photometry."""
    rows, ruled = [], set()
    compared = {INPUTS[source] for source in ("image", "spectrum", "photometry")} | {OWN_HEAD, *own_heads(dataset)}
    for source, probe, scores in _redshift_answers(dataset):
        if source not in compared or scores.by_magnitude is None:
            continue
        for part in scores.by_magnitude:
            low, high = part.magnitude
            rows.append(
                [
                    source,
                    probe,
                    f"{low:.2f} to {high:.2f}",
                    str(part.errors.objects),
                    number(part.errors.bias),
                    number(part.errors.sigma_nmad),
                    number(part.errors.outlier_fraction),
                    interval(part.errors.outlier_interval),
                ]
            )
        ruled.add(len(rows) - 1)
    columns = ["from", "by", "r [mag AB]", "objects", "bias", "sigma_NMAD", "outliers", "95 % interval"]
    return Table(f"{name}: redshift by magnitude", columns, rows, labels=2, ruled=frozenset(ruled))


def _redshift_answers(dataset: ObjectScores) -> list[tuple[str, str, RedshiftScores]]:
    """Lists each answer's input and method with its scores; the model's own head comes first."""
    head = None if dataset.head is None else dataset.head.redshift
    answers = [] if head is None else [(OWN_HEAD, NOTHING, head)]
    for source, probes in dataset.read.redshift.items():
        answers += [(INPUTS[source], PROBES[probe], scores) for probe, scores in probes.items()]
    beside = [(text, head.redshift) for text, head in own_heads(dataset).items() if text != OWN_HEAD]
    return answers + [(text, OWN_ANSWER, scores) for text, scores in beside if scores is not None]


def label_table(name: str, dataset: ObjectScores) -> Table:
    """Accuracy of every classification, beside that of naming the most frequent class."""
    rows = [
        [column, INPUTS[source], number(right.accuracy), interval(right.interval), number(right.majority)]
        for column, scores in dataset.read.labels.items()
        for source, right in scores.accuracy.items()
    ]
    rows += [
        [column, text, number(right.accuracy), interval(right.interval), number(right.majority)]
        for column in dataset.read.labels
        for text, head in own_heads(dataset).items()
        if (right := head.labels.get(column)) is not None
    ]
    columns = [
        "label",
        "from",
        "accuracy (k-NN)" if not own_heads(dataset) else "accuracy (k-NN, else own head)",
        "95 % interval",
        "most frequent class",
    ]
    return Table(f"{name}: classes", columns, rows, labels=2)


def retrieval_table(name: str, dataset: ObjectScores) -> Table:
    """Recall and median rank, by direction."""
    rows = []
    counts: list[str] = []
    for direction, text in DIRECTIONS.items():
        if direction not in dataset.retrieval:
            continue
        scores = dataset.retrieval[direction]
        counts = list(scores.recall_at)
        ten = scores.recall_at["10"]
        rows.append(
            [
                text,
                str(scores.candidates),
                *(number(entry.recall) for entry in scores.recall_at.values()),
                interval(ten.interval),
                number(ten.chance),
                number(scores.median_rank),
                number(scores.chance_rank),
            ]
        )
    columns = [
        "direction",
        "candidates",
        *(f"R@{count}" for count in counts),
        "95 % interval of R@10",
        "R@10 by chance",
        "median rank",
        "by chance",
    ]
    return Table(f"{name}: retrieval", columns, rows)


def geometry_table(name: str, dataset: ObjectScores) -> Table:
    """Tabulates the alignment and uniformity of vectors."""
    geometry = dataset.geometry
    rows = [[f"uniformity of {kind} vectors", number(value)] for kind, value in geometry.uniformity.items()]
    if geometry.alignment is not None:
        rows.insert(0, ["alignment of the two vectors of an object", number(geometry.alignment)])
    return Table(
        f"{name}: where vectors lie",
        ["", "value"],
        rows,
        caption="Mean squared distance, 0 to 4; log of the mean of exp(-2 d^2) over pairs: lower is more even.",
    )


def reconstruction_table(name: str, dataset: ObjectScores) -> Table:
    """Errors of what was hidden of spectra."""
    rows, weighed, found = [], False, dataset.reconstruction
    if found is not None:
        weighed = found.scores.masking.get("weight") == "ivar"
        rows = [
            [
                found.by if kind == "model" else RECONSTRUCTED[kind],
                number(error),
                interval(found.scores.interval.get(kind)),
            ]
            for kind, error in found.scores.error.items()
        ]
    return Table(
        f"{name}: hidden stretches of spectra",
        ["from", "mean squared error", "95 % interval"],
        rows,
        caption="In units of each spectrum's variance"
        + (", pixels weighed by the share of their variance that is not noise." if weighed else "."),
    )
