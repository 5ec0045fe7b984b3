"""Reads what array files say of each trajectory beside its fields: parameters, and the split that it belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import ArraysSection
from polycli.mpp.sources.array_files import ArrayFile
from polycli.mpp.sources.array_proposals import listing
from polycli.requests import Split

#: Attributes that a message names.
_SHOWN = 8
#: Usual words for the splits.
_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


def find_parameters(file: ArrayFile, section: ArraysSection, count: int) -> dict[str, NDArray[np.float64]]:
    """Maps each parameter that is an array or an attribute to `count` numbers, one per trajectory; a single number
    holds for all of them.

    Raises:
        SourceError: there is no such array, or it is not of the trajectories.
    """
    found = {}
    for parameter, name in section.parameters.items():
        if not isinstance(name, str):
            continue
        if name in file.attributes:
            found[parameter] = np.full(count, file.attributes[name])
            continue
        values = _array(file, name, f"arrays.parameters.{parameter}")
        if values.dtype.kind not in "fiu" or values.size not in {1, count}:
            raise SourceError(
                f"{file.path}: the parameter {parameter}, array {name!r}, is {values.dtype} {values.shape}; one "
                f"number, or ({count},) for its trajectories, was expected"
            )
        found[parameter] = np.broadcast_to(values.reshape(-1).astype(np.float64), (count,))
    return found


def find_splits(file: ArrayFile, section: ArraysSection, count: int) -> tuple[Split, ...] | None:
    """The split of each trajectory, where `arrays.split` names an array of them.

    Raises:
        SourceError: there is no such array, it is not of the trajectories, or holds other words.
    """
    if section.split is None:
        return None
    values = _array(file, section.split, "arrays.split").reshape(-1)
    words = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]
    if len(words) == 1:
        words *= count
    if len(words) != count:
        raise SourceError(
            f"{file.path}: the splits {section.split!r} are {len(words)}, {count} were expected, one a trajectory"
        )
    unknown = [word for word in words if word.strip().lower() not in _SPLITS]
    if unknown:
        raise SourceError(
            f"{file.path}: the splits {section.split!r} hold {unknown[0]!r}; train, validation and test were expected"
        )
    return tuple(_SPLITS[word.strip().lower()] for word in words)


def _array(file: ArrayFile, name: str, key: str) -> NDArray[np.generic]:
    if name not in file.arrays:
        attributes = f"; attributes {', '.join(list(file.attributes)[:_SHOWN])}" if file.attributes else ""
        raise SourceError(f"{file.path}: {key} names {name!r}, which is not in it; in it: {listing(file)}{attributes}")
    return file.read(name)
