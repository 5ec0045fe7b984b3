"""Reads the attributes of The Well's files, in each of the types in which HDF5 keeps texts and flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError

#: Where a file is not as The Well's are.
OTHER_WAY = "--source arrays reads 2-D fields in HDF5 files of any layout, once their axes and fields are named"


def well_attribute(path: Path, node: h5py.Group | h5py.Dataset, name: str) -> Any:  # noqa: ANN401
    """An attribute that The Well's files have.

    Raises:
        SourceError: this one has not.
    """
    if name not in node.attrs:
        where = "it" if node.name == "/" else node.name.lstrip("/")
        raise SourceError(
            f"{path}: {where} has no attribute {name!r}, which The Well's files have",
            hint=OTHER_WAY,
        )
    return node.attrs[name]


def axes_of(dims: Iterable[str]) -> dict[str, Literal["x", "y"]]:
    """The axis of stores that each of two spatial dimensions becomes: its own name, or the first x, the second y."""
    first, second = dims
    if (first, second) == ("y", "x"):
        return {"y": "y", "x": "x"}
    return {first: "x", second: "y"}


def strings(value: object) -> list[str]:
    """A text, or texts, as a list: an empty list is one of numbers in HDF5, and a single text is none."""
    if isinstance(value, h5py.Empty):
        return []
    values = np.asarray(value).reshape(-1).tolist()
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in values]


def flag(path: Path, node: h5py.Dataset, name: str) -> bool:
    """Whether an attribute such as `time_varying` is set.

    Raises:
        SourceError: it is missing.
    """
    return bool(np.asarray(well_attribute(path, node, name)).all())


def number(path: Path, node: h5py.Group, name: str) -> int:
    """A whole number.

    Raises:
        SourceError: it is missing, or no whole number.
    """
    value = np.asarray(well_attribute(path, node, name))
    if value.size != 1 or value.dtype.kind not in "iuf" or not float(value.item()).is_integer() or value.item() < 0:
        raise SourceError(f"{path}: the attribute {name!r} is {value.tolist()!r}, a whole number was expected")
    return int(value.item())


def numbers(value: object) -> NDArray[np.float64] | None:
    """Numbers as one line of float64; None where they are none."""
    values = np.asarray(value)
    return values.astype(np.float64).reshape(-1) if values.dtype.kind in "fiub" and values.size else None


def components(name: str, values: NDArray[np.float64]) -> Mapping[str, float]:
    """A parameter of one number under its name, of several under `name_0`, `name_1` and so on."""
    if values.size == 1:
        return {name: float(values[0])}
    return {f"{name}_{place}": float(value) for place, value in enumerate(values)}
