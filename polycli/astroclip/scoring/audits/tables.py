"""The tables of audits in an AstroCLIP evaluation: nuisances, controls, and scores by group."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.astroclip.scoring.audits.records import (
    AttentionScores,
    AttributionScores,
    AuditScores,
    NuisanceAudit,
)
from polycli.astroclip.scoring.retrieval import Recall
from polycli.report.table import NOTHING, Table, interval, number

_DIRECTIONS = {"image_to_spectrum": "image to spectrum", "spectrum_to_image": "spectrum to image"}


def audit_tables(name: str, audit: AuditScores | None, whole: Mapping[str, float]) -> list[Table]:
    """The tables of one dataset; none without an audit. `whole`: by direction, recall within ten of the vectors."""
    if audit is None:
        return []
    return [_nuisances(name, audit), _retrieval(name, audit, whole), _controls(name, audit), _shift(name, audit)]


def _nuisances(name: str, audit: AuditScores) -> Table:
    rows, ruled = [], set()
    for nuisance, found in audit.nuisances.items():
        for modality, scores in found.without.items():
            rows.append(
                [
                    nuisance,
                    modality,
                    number(found.alone.r2),
                    NOTHING if found.beyond_magnitude is None else number(found.beyond_magnitude),
                    number(found.p),
                    number(_best_told(found, modality)),
                    number(found.told[modality].p),
                    number(scores.whole.r2),
                    number(scores.left.r2),
                    interval(scores.left.interval),
                    number(scores.partial.r2),
                    "LEAK" if modality in found.leaks else NOTHING,
                ]
            )
        ruled.add(len(rows) - 1)
    return Table(
        f"{name}: {audit.target} without nuisances",
        [
            "nuisance",
            "vectors",
            "R2 from it alone",
            "beyond magnitudes",
            "p",
            "R2 of it from vectors",
            "p",
            "R2 from vectors",
            "left without it",
            "95 % interval",
            "partial R2",
            "",
        ],
        rows,
        caption=f"{audit.permutations} permutations within bins of magnitude, seed {audit.seed}; a clean survey has an "
        f"alarm with probability {number(audit.level)}. {audit.test_objects} test objects.",
        labels=2,
        ruled=frozenset(ruled),
    )


def _best_told(found: NuisanceAudit, modality: str) -> float | None:
    known = [fit.r2 for fit in found.told[modality].columns.values() if fit.r2 is not None]
    return max(known, default=None)


def _retrieval(name: str, audit: AuditScores, whole: Mapping[str, float]) -> Table:
    rows = [
        [nuisance, _DIRECTIONS[direction], number(whole.get(direction)), *_recall(recall)]
        for nuisance, found in audit.nuisances.items()
        for direction, recall in found.retrieval.items()
    ]
    columns = ["nuisance", "direction", "R@10", "left without it", "95 % interval", "by chance"]
    return Table(f"{name}: retrieval without nuisances", columns, rows, labels=2)


def _controls(name: str, audit: AuditScores) -> Table:
    rows = [
        ["labels permuted within bins of magnitude", f"{modality}: R2", number(found.r2), number(found.bins)]
        for modality, found in audit.controls.permuted_labels.items()
    ]
    rows += [
        ["shuffled pairs", f"{_DIRECTIONS[direction]}: R@10", number(found.recall.recall), number(found.recall.chance)]
        for direction, found in audit.controls.shuffled_pairs.items()
    ]
    return Table(f"{name}: controls that must vanish", ["control", "score", "value", "at most about"], rows, labels=2)


def _shift(name: str, audit: AuditScores) -> Table:
    rows, ruled = [], set()
    for division, groups in audit.shift.items():
        for group, scores in groups.items():
            for modality, fit in scores.fit.items():
                recall = scores.retrieval.get(f"{modality}_to_{'spectrum' if modality == 'image' else 'image'}")
                cells = [NOTHING] * 3 if recall is None else _recall(recall)
                rows.append(
                    [division, group, str(scores.objects), modality, number(fit.r2), interval(fit.interval), *cells[:2]]
                )
        ruled.add(len(rows) - 1)
    return Table(
        f"{name}: {audit.target} by group of objects",
        ["divided by", "group", "objects", "from", "R2", "95 % interval", "R@10", "95 % interval"],
        rows,
        labels=2,
        ruled=frozenset(ruled),
    )


def attribution_table(name: str, scores: Mapping[str, AttributionScores] | None) -> Table:
    """The share of attribution that falls on lines, or on the galaxy, beside that of chance."""
    rows = [
        [*_share(modality, found, of_spectra="stretches with a line"), str(found.objects)]
        for modality, found in (scores or {}).items()
    ]
    columns = ["vectors", "where", "share of attribution", "95 % interval", "by chance", "objects"]
    return Table(f"{name}: attribution by occlusion", columns, rows, labels=2)


def attention_table(name: str, scores: Mapping[str, AttentionScores] | None) -> Table:
    """The share of the heads' attention that falls on lines, or on the galaxy, beside that of chance."""
    rows = [
        [*_share(modality, found, of_spectra="pieces with a line"), number(found.elsewhere), str(found.objects)]
        for modality, found in (scores or {}).items()
    ]
    columns = ["head", "where", "share of attention", "95 % interval", "by chance", "on no place", "objects"]
    return Table(f"{name}: attention of the heads", columns, rows, labels=2)


def _share(modality: str, found: AttributionScores | AttentionScores, *, of_spectra: str) -> list[str]:
    """The cells that both tables have: the share where it is expected, and that of chance."""
    where = of_spectra if modality == "spectrum" else "within two half-light radii"
    return [modality, where, number(found.share), interval(found.interval), number(found.chance)]


def _recall(recall: Recall) -> list[str]:
    return [number(recall.recall), interval(recall.interval), number(recall.chance)]
