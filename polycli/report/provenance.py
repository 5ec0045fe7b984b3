"""Shows the origin of an evaluation's numbers, as the last block of every report.html."""

from __future__ import annotations

from collections.abc import Iterable

from polycli.report.html import Facts
from polycli.report.scores import DatasetScores, Scores


def provenance_block(
    scores: Scores[DatasetScores], *, rows_are: str, compared: Iterable[tuple[str, str]] = ()
) -> Facts:
    """Checkpoint, stores, version and settings of scores.json; `rows_are` is trajectories, records or objects.

    `compared` are facts about what the model is compared with, which stand behind those about the model.
    """
    overlap, model = scores.overlap, scores.provenance
    seen = "not known: the checkpoint does not say what it was trained on"
    if overlap.checked:
        seen = f"{overlap.trained[rows_are]} of the scored {rows_are}{', allowed' if overlap.allowed else ''}"
    facts = [
        ("checkpoint", model.checkpoint),
        ("chosen as", model.selected_by),
        ("SHA-256 of the model", model.model_hash),
        *compared,
        *((f"hash of store {name}", digest) for name, digest in scores.store_hash.items()),
        ("trained on", seen),
        ("polycli", model.version),
        ("settings", ", ".join(f"{key} {value}" for key, value in scores.settings.items())),
    ]
    return Facts("Checkpoint, data, version", facts)
