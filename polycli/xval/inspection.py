"""Tells `polycli inspect` about xVal's stores and weights of the original code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.families import Inspector

if TYPE_CHECKING:
    from torch import Tensor


def _range(entry: Mapping[str, Any]) -> str:
    """`0.5 to 9.1 (60, affine)`: the range of a key path's numbers, how many there are, and how they are scaled."""
    try:
        return f"{entry['min']:g} to {entry['max']:g} ({entry['count']}, {entry['scaler']})"
    except (KeyError, TypeError, ValueError):
        return "not known"


class XvalInspector(Inspector):
    """Facts of this family, by their names."""

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:
        """Says at which key paths there are numbers, in which units, and what is held out of training."""
        source = about.get("source", {})
        keys = about.get("coverage", {}).get("keys", {})
        return {
            "numbers at": list(about.get("key_paths", ())),
            "units": source.get("units", {}),
            "ranges": {path: _range(entry) for path, entry in keys.items()},
            "text at": list(about.get("text_keys", ())),
            "held out": about.get("held_out"),
            "decided": source.get("reports"),
        }

    def rows(self, store: Path, count: int) -> Mapping[str, Sequence[object]]:
        """The first records as JSON, keys and values as the store has them."""
        from polycli.xval.data.store import open_records
        from polycli.xval.records.decode import decode_records

        opened = open_records(store)
        values = decode_records(opened.read(range(count)), opened.vocabulary)
        return {"record": [json.dumps(value, default=str, ensure_ascii=False) for value in values]}

    def records_file(self, path: Path) -> Mapping[str, object]:
        """Says by key path what `prepare xval` would find in a table or in JSON, and what it would decide."""
        from polycli.xval.sources.looking import look_at

        return look_at(path)

    def scores(self, scores: Mapping[str, Any]) -> Mapping[str, object]:
        """The error of all numbers by dataset, in standard deviations of their keys."""
        errors = {
            name: found.get("all", {}).get("standardised_mae", {}).get("model")
            for name, found in scores.get("datasets", {}).items()
        }
        return {
            "mean absolute error": [
                f"{name} {error:.3g} standard deviations" for name, error in errors.items() if isinstance(error, float)
            ]
        }

    def tensors(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Describes the sizes of a Numformer; None where the tensors are of no such model."""
        from polycli.xval.model.weights import LANDMARKS, infer_section

        if any(name not in tensors for name in LANDMARKS):
            return None
        return ", ".join(f"{name} {value}" for name, value in infer_section(tensors).items())
