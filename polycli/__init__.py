"""polycli: scientific data in, pretrained foundation models, forecasts and embeddings out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # Whatever is asked for.
    """Imports what the package offers when it is asked for: the command line must answer at once."""
    if name == "embed_partition":
        return import_module("polycli.partitions").embed_partition
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
