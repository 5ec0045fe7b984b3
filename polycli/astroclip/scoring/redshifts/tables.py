"""Tables of redshifts by other neighbours than the paper's, and by templates alone."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.astroclip.scoring.redshifts.records import NeighbourScores, TemplateScores
from polycli.report.table import Table, interval, number

SEARCHED = {"image": "image", "spectrum": "spectrum", "both": "image and spectrum side by side"}
WEIGHTS = {"distance": "inverse distance", "uniform": "all alike", "kernel": "Gaussian kernel"}


def neighbour_table(
    name: str,
    scores: Mapping[str, Mapping[str, Mapping[str, NeighbourScores]]] | None,
    inputs: Mapping[str, str],
) -> Table:
    """One row for each input, number of neighbours and way to weigh them; `inputs` has the inputs' names."""
    rows, ruled = [], set()
    for source, by_count in (scores or {}).items():
        for count, by_weights in by_count.items():
            for weights, one in by_weights.items():
                cells = [number(one.fit.r2), interval(one.fit.interval), number(one.sigma_nmad)]
                rows.append([inputs[source], count, WEIGHTS[weights], *cells, number(one.outlier_fraction)])
        ruled.add(len(rows) - 1)
    return Table(
        f"{name}: redshift by number and weights of neighbours",
        ["from", "neighbours", "weighed by", "R2", "95 % interval", "sigma_NMAD", "outliers"],
        rows,
        caption="The width of the kernel is the one that predicts training objects best from each other.",
        labels=3,
        ruled=frozenset(ruled),
    )


def predicted_table(name: str, scores: Mapping[str, NeighbourScores] | None) -> Table:
    """One row for each kind of vectors that neighbours are searched by, as `predict` answers without a head."""
    rows = [
        [SEARCHED[searched], number(one.fit.r2), interval(one.fit.interval), number(one.sigma_nmad),
         number(one.outlier_fraction)]
        for searched, one in (scores or {}).items()
    ]  # fmt: skip
    return Table(
        f"{name}: redshift as predict makes it without a head",
        ["neighbours by", "R2", "95 % interval", "sigma_NMAD", "outliers"],
        rows,
        caption="The weighted mean of the nearest neighbours by unit vectors; the k-NN above is by standardised ones.",
    )


def template_table(name: str, scores: TemplateScores | None) -> Table:
    """One row: redshifts by the templates' likeliest shift and one constant."""
    rows = []
    if scores is not None:
        rows.append(
            [
                number(scores.fit.r2),
                interval(scores.fit.interval),
                number(scores.bias),
                number(scores.sigma_nmad),
                number(scores.outlier_fraction),
                interval(scores.outlier_interval),
            ]
        )
    return Table(
        f"{name}: redshift by the templates' likeliest shift",
        ["R2", "95 % interval", "bias", "sigma_NMAD", "outliers", "95 % interval"],
        rows,
        caption="Labels give one number, the constant that all shifts share: the median over the training objects.",
    )
