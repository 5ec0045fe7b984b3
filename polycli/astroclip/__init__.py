"""AstroCLIP (Lanusse et al. 2023, Parker et al. 2024): galaxy images and spectra in one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polycli.astroclip.data.store import open_objects
    from polycli.astroclip.model.weights import load_model

__all__ = ["load_model", "open_objects"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562: torch is imported when a model is asked for, not before.
    if name == "load_model":
        from polycli.astroclip.model.weights import load_model

        return load_model
    if name == "open_objects":
        from polycli.astroclip.data.store import open_objects

        return open_objects
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
