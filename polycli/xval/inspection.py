"""Tells `polycli inspect` about xVal's stores and weights of the original code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polycli.families import Inspector

if TYPE_CHECKING:
    from torch import Tensor


class XvalInspector(Inspector):
    """Facts of this family, by their names."""

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:
        """Says at which key paths there are numbers, in which units, and what is held out of training."""
        units = about.get("source", {}).get("units", {})
        return {
            "numbers at": list(about.get("key_paths", ())),
            "units": units,
            "text at": list(about.get("text_keys", ())),
            "held out": about.get("held_out"),
        }

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
