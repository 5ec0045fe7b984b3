"""Units of numbers by key path, as far as the stores that a run was trained on state them and are still there."""

from __future__ import annotations

import json
from pathlib import Path

from polycli.errors import StoreError
from polycli.store.manifest import read_manifest
from polycli.xval.subject import Subject


def known_units(subject: Subject) -> dict[str, str]:
    """By pattern of key paths; empty where nothing is known."""
    listing = None if subject.run is None else subject.run / "data.json"
    if listing is None or not listing.is_file():
        return {}
    found: dict[str, str] = {}
    for entry in json.loads(listing.read_text(encoding="utf-8")).values():
        try:
            about = read_manifest(Path(entry["path"])).about
        except StoreError:
            continue  # The store has moved: its units are not known, which the records can do without.
        found |= about.get("source", {}).get("units", {})
    return found
