"""Boundary conditions of The Well's files: by the mask, which its loader goes by, before the type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.mpp.recipe.physics import Boundary
from polycli.mpp.sources.well.attributes import axes_of, strings, well_attribute

TYPES: dict[str, Boundary] = {"PERIODIC": "periodic", "WALL": "wall", "OPEN": "open"}
_ENDS = ("low", "high")


def find_boundaries(
    file: h5py.File, path: Path, points: Mapping[str, int], given: Mapping[str, Boundary]
) -> tuple[tuple[Boundary, Boundary], list[str]]:
    """The boundary along each of two dimensions, and remarks where masks and types disagree.

    As in The Well's loader, an end that no mask covers is open; a wall must cover all of an end, others any part.
    `points` are the dimensions with their lengths; `given` replaces, by dimension, what the file says.

    Raises:
        SourceError: an attribute is missing, a type or mask is none, or the two ends of a dimension differ.
    """
    ends: dict[tuple[str, str], Boundary] = {}
    claimed: dict[str, set[Boundary]] = {}
    for name, group in _groups(file, path):
        where = f"boundary_conditions/{name}"
        kind = " ".join(strings(well_attribute(path, group, "bc_type"))).upper()
        about = strings(well_attribute(path, group, "associated_dims"))
        if about and given.keys() >= set(about):
            continue
        if kind not in TYPES or not set(about) <= points.keys():
            raise SourceError(
                f"{path}: {where} is of type {kind} along {', '.join(about)}; {', '.join(TYPES)} along "
                f"{' or '.join(points)} were expected",
                hint="--set 'well.boundary={x: open, y: open}' says what holds in its place",
            )
        mask = _mask(path, where, group, tuple(points[dim] for dim in about))
        for place, dim in enumerate(about):
            for end, index in zip(_ENDS, (0, -1), strict=True):
                part = np.take(mask, index, axis=place)
                if part.all() if kind == "WALL" else part.any():
                    ends[dim, end] = TYPES[kind]
            # A mask inside the domain is of an obstacle, and says nothing of the ends.
            if len(about) == 1 or not mask.any():
                claimed.setdefault(dim, set()).add(TYPES[kind])
    found: list[Boundary] = []
    remarks = []
    for dim, axis in axes_of(points).items():
        if dim in given:
            found.append(given[dim])
            continue
        low, high = (ends.get((dim, end), "open") for end in _ENDS)
        if low != high:
            raise SourceError(
                f"{path}: the boundary along {dim} is {low} at the low end and {high} at the high end, one for both "
                "was expected",
                hint=f"--set 'well.boundary={{{axis}: {low}}}' says which to tell the model",
            )
        found.append(low)
        ignored = sorted(claimed.get(dim, set()) - {low})
        if ignored:
            remarks.append(
                f"bc_type says {' and '.join(ignored).upper()} along {dim}, and its mask does not cover its ends: "
                f"{low} is taken, as The Well's loader does; --set 'well.boundary={{{axis}: {ignored[0]}}}' says "
                "otherwise"
            )
    return (found[0], found[1]), remarks


def _groups(file: h5py.File, path: Path) -> Sequence[tuple[str, h5py.Group]]:
    if not isinstance(file.get("boundary_conditions"), h5py.Group):
        raise SourceError(f"{path}: there is no group 'boundary_conditions', which The Well's files have")
    return [(name, group) for name, group in file["boundary_conditions"].items() if isinstance(group, h5py.Group)]


def _mask(path: Path, where: str, group: h5py.Group, expected: tuple[int, ...]) -> NDArray[np.bool_]:
    array = group.get("mask")
    if not isinstance(array, h5py.Dataset):
        raise SourceError(f"{path}: {where} has no mask, which The Well's files have")
    mask = np.asarray(array[()]).astype(bool)
    # Masks may vary from trajectory to trajectory and over time; one for all is what can be told of a store.
    while mask.ndim > len(expected) and (mask == mask[:1]).all():
        mask = mask[0]
    if mask.shape != expected:
        raise SourceError(f"{path}: the mask of {where} is {array.shape}, {expected} was expected, the same throughout")
    return mask
