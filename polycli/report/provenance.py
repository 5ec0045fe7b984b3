"""Shows the origin of an evaluation's numbers, as the last block of every report.html."""

from __future__ import annotations

from collections.abc import Iterable

from polycli.report.html import Facts
from polycli.requests import JsonDocument


def provenance_block(scores: JsonDocument, *, rows_are: str, compared: Iterable[tuple[str, str]] = ()) -> Facts:
    """Checkpoint, stores, version and settings of scores.json; `rows_are` is trajectories, records or objects.

    `compared` are facts about what the model is compared with, which stand behind those about the model.
    """
    overlap = scores["overlap"]
    seen = "not known: the checkpoint does not say what it was trained on"
    if overlap["checked"]:
        seen = f"{overlap[rows_are]} of the scored {rows_are}{', allowed' if overlap['allowed'] else ''}"
    facts = [
        ("checkpoint", scores["checkpoint"]),
        ("chosen as", scores["selected_by"]),
        ("SHA-256 of the model", scores["model_hash"]),
        *compared,
        *((f"hash of store {name}", digest) for name, digest in scores["store_hash"].items()),
        ("trained on", seen),
        ("polycli", scores["version"]),
        ("settings", ", ".join(f"{key} {value}" for key, value in scores["settings"].items())),
    ]
    return Facts("Checkpoint, data, version", facts)
