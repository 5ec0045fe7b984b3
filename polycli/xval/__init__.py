"""xVal (Golkar et al. 2023): text with numbers that stay numbers, one continuous token each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polycli.xval.model.weights import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562: torch is imported when a model is asked for, not before.
    if name == "load_model":
        from polycli.xval.model.weights import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
