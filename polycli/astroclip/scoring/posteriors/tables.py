"""The tables of posteriors in an AstroCLIP evaluation: scores, and coverage over all and in thirds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polycli.astroclip.scoring.posteriors.records import Coverage, HeldShare, PosteriorScores
from polycli.astroclip.scoring.score_records import ObjectScores
from polycli.report.table import Table, interval, number


def posterior_table(name: str, dataset: ObjectScores) -> Table:
    """CRPS and the distance of PIT from a uniform distribution, by column."""
    rows = [
        [
            column,
            number(found.crps),
            interval(found.crps_interval),
            number(found.pit.ks),
            number(found.pit.p_value),
            str(sum(found.pit.counts)),
        ]
        for column, found in _posteriors(dataset)
    ]
    return Table(
        f"{name}: posteriors of the model's own head",
        ["column", "CRPS", "95 % interval", "KS of PIT", "p", "objects"],
        rows,
        caption="CRPS in the unit of the column. PIT is uniform where posteriors are right: p is how often one so "
        "far off would come by chance.",
    )


def coverage_table(name: str, dataset: ObjectScores) -> Table:
    """Shares of true values within central intervals, the head's own and the calibrated ones."""
    rows, ruled, nominal = [], set(), list[float]()
    for column, kind, coverage in _coverages(dataset):
        nominal = nominal or [entry.nominal for entry in coverage.all]
        for part, shares in _parts(coverage):
            by_level = {entry.nominal: entry for entry in shares}
            cells = [cell for level in nominal for cell in _cells(by_level.get(level))]
            rows.append([column, kind, part, str(shares[0].objects) if shares else "0", *cells])
        ruled.add(len(rows) - 1)
    heads = [cell for level in nominal for cell in (f"of {100 * level:g} %", "binomial", "width")]
    return Table(
        f"{name}: coverage of intervals",
        ["column", "intervals", "objects that are", "objects", *heads],
        rows,
        caption="Shares of true values in percent, with 95 % binomial intervals; mean width in the unit of the column.",
        labels=3,
        ruled=frozenset(ruled),
    )


def _posteriors(dataset: ObjectScores) -> Iterator[tuple[str, PosteriorScores]]:
    properties = {} if dataset.head is None else dataset.head.properties
    for column, scores in properties.items():
        if scores.posterior is not None:
            yield column, scores.posterior


def _coverages(dataset: ObjectScores) -> Iterator[tuple[str, str, Coverage]]:
    properties = {} if dataset.head is None else dataset.head.properties
    for column, scores in properties.items():
        if scores.posterior is not None and scores.posterior.coverage.all:
            yield column, "own", scores.posterior.coverage
        if scores.calibrated is not None:
            yield column, "calibrated", scores.calibrated


def _parts(coverage: Coverage) -> Iterator[tuple[str, Sequence[HeldShare]]]:
    yield "all", coverage.all
    for part in coverage.by_magnitude or ():
        yield f"r {number(part.between[0])} to {number(part.between[1])}", part.levels
    for part in coverage.by_redshift or ():
        yield f"{coverage.redshift} z {number(part.between[0])} to {number(part.between[1])}", part.levels


def _cells(entry: HeldShare | None) -> list[str]:
    if entry is None:
        return [number(None), interval(None), number(None)]
    share = None if entry.measured is None else 100 * entry.measured
    ends = None if entry.interval is None else [None if end is None else 100 * end for end in entry.interval]
    return [number(share), interval(ends), number(entry.width)]
