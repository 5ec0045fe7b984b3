"""Statistics of training vectors on disk: arrays in an npz file beside the weights, for these very weights alone.

`model.safetensors` has `model.novelty.npz` beside it, which names the weights by their SHA-256. What the arrays mean,
the family that wrote them knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import CheckpointError, SourceError
from polycli.files.numpy_files import npz_headers, read_npz

SUFFIX = ".novelty.npz"
#: The hint about statistics that cannot be used.
MADE_BY = "make them again with `polycli calibrate astroclip --set novelty=true --set overwrite=true`"
_HASH = "model_hash"


def statistics_beside(model_file: Path) -> Path:
    """The place of the statistics of a file of weights: `small.novelty.npz` for `small.safetensors`."""
    return model_file.with_suffix(SUFFIX)


def write_statistics(path: Path, arrays: Mapping[str, NDArray[Any]], model_hash: str) -> None:
    """Write arrays of numbers, with the hash of the weights that made the vectors."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_HASH: np.array(model_hash), **arrays})


def read_statistics(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """The arrays in a file, and the hash of the weights that they are of.

    Raises:
        CheckpointError: it is damaged, or no file of statistics.
    """
    try:
        arrays = {name: read_npz(path, name) for name in npz_headers(path)}
        model_hash = str(arrays.pop(_HASH))
    except (SourceError, KeyError) as error:
        why = f"has no {_HASH}" if isinstance(error, KeyError) else error
        raise damaged(path, str(why)) from error
    return arrays, model_hash


def damaged(path: Path, why: str) -> CheckpointError:
    """The error about a file of statistics that cannot be used."""
    return CheckpointError(f"{path}: no statistics of training vectors, or damaged ({why})", hint=MADE_BY)


def is_statistics(path: Path) -> bool:
    """Whether a file is one of statistics, whole or not: by its name, which nothing else has."""
    return path.is_file() and path.name.endswith(SUFFIX)
