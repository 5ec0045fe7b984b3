"""Tells the axes of an array from the other arrays of its file; what these leave open cannot be pasted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polycli.console import first_few
from polycli.mpp.recipe.arrays import ArraysSection, Axis
from polycli.mpp.sources.array_components import plain_name
from polycli.mpp.sources.array_files import ArrayFile, ArrayInfo

#: Usual names of axes, their own first.
NAMES: dict[Axis, tuple[str, ...]] = {
    "trajectory": ("trajectory", "trajectories", "sample", "batch", "ensemble", "member", "realization", "run"),
    "time": ("time", "t", "times"),
    "x": ("x", "lon", "longitude"),
    "y": ("y", "lat", "latitude"),
    "field": ("field", "fields", "channel", "variable", "component"),
}
_ORDER: tuple[Axis, ...] = ("trajectory", "time", "field", "x", "y")
_SHOWN = 12
#: Single numbers that are steps of the grid, and no parameters.
_STEPS = {"dt", "dx", "dy"}
#: What people add to the name of an axis, and what is left of a name without it.
_ADDED = re.compile(
    r"coordinates?|coords?|grid|axis|values?|vals?|points?|cent(?:er|re)s?|cells?|mesh|arr(?:ay)?|[^a-z]"
)
#: Steps that differ by less than this part of their mean are even: times in float32 are rounded.
_EVEN = 1e-2


@dataclass(frozen=True)
class Proposal:
    """Holds what is known of the axes of an array.

    An axis that cannot be told is a word such as `x|y`, which the settings refuse; no axes at all if they cannot be
    those of frames over time.
    """

    axes: tuple[str, ...]
    doubt: str

    @property
    def fields_open(self) -> bool:
        """Whether some axis may be that of fields, or not."""
        return any("|" in word and "field" in word for word in self.axes)


def axis_of(dimension: str) -> Axis | None:
    """The axis that a dimension's name means, by usual names."""
    return next((axis for axis, names in NAMES.items() if dimension.lower() in names), None)


def candidates(file: ArrayFile) -> dict[str, ArrayInfo]:
    """The arrays of a file that have enough axes to be frames over time."""
    return {name: info for name, info in file.arrays.items() if info.is_numeric and 3 <= len(info.shape) <= 5}


def listing(file: ArrayFile) -> str:
    """The arrays of a file with their shapes, for a sentence."""
    arrays = [f"{name!r} {_shape(info)} {info.dtype}" for name, info in file.arrays.items()]
    return first_few(arrays, _SHOWN) or "none"


def _shape(info: ArrayInfo) -> str:
    if info.dims is None:
        return str(info.shape)
    return f"({', '.join(f'{name}: {length}' for name, length in zip(info.dims, info.shape, strict=True))})"


def propose_axes(file: ArrayFile, name: str, section: ArraysSection) -> Proposal:
    """The axes of an array, as far as names of its dimensions and the lengths of other arrays tell them."""
    shape = file.arrays[name].shape
    found: dict[int, Axis] = {}
    for index, dimension in enumerate(file.arrays[name].dims or ()):
        if (axis := axis_of(dimension)) is not None and axis not in found.values():
            found[index] = axis
    possible = _possible(file, name, section, found)
    claims = _claims(file, name, section)
    for index, axis in claims.items():
        if index not in found and axis not in found.values():
            found[index] = axis
    missing: list[Axis] = [axis for axis in ("time", "x", "y") if axis not in found.values()]
    free = [index for index in range(len(shape)) if index not in found]
    extra: list[Axis] = [axis for axis in ("trajectory", "field") if axis in possible and axis not in found.values()]
    if not 0 <= len(free) - len(missing) <= len(extra):
        return Proposal((), "its dimensions are not those of frames over time")
    left = missing if len(free) == len(missing) else [axis for axis in _ORDER if axis in {*missing, *extra}]
    if len(free) == 1 and not missing and "trajectory" in extra and _one_a_run(file, name, free[0]):
        left = ["trajectory"]
    if len(free) == len(left) == 1:
        found[free[0]], free = left[0], []
    open_word = "|".join(left)
    places = [("1st", "2nd", "3rd", "4th", "5th")[index] for index in free]
    doubt = f"nothing tells which of the {_listed(places, 'and')} is {_listed(left, 'or')}" if len(free) > 1 else ""
    if len(free) == 1:
        doubt = f"nothing tells whether the {places[0]} is {_listed(left, 'or')}"
    return Proposal(
        tuple(found.get(index, open_word) for index in range(len(shape))),
        doubt or ("the lengths of other arrays fit" if claims else ""),
    )


def _possible(file: ArrayFile, name: str, section: ArraysSection, found: dict[int, Axis]) -> set[Axis]:
    """Return which axes there can be of those that may be absent; notes that of fields if arrays of scalars tell it."""
    shape, alike = file.arrays[name].shape, _in_group(file, name)
    if isinstance(section.fields, tuple) and section.fields:
        count = len(section.fields)
        places = [index for index, length in enumerate(shape) if length == count and index not in found]
        if len(places) == 1 and count > 1 and "field" not in found.values():
            found[places[0]] = "field"
        return {"trajectory", "field"} if places else {"trajectory"}
    shapes = {file.arrays[other].shape for other in alike if other != name}
    shorter = [index for index in range(len(shape)) if shape[:index] + shape[index + 1 :] in shapes]
    if len(shorter) == 1 and shorter[0] not in found and "field" not in found.values():
        # An array of scalars has all axes but that of an array of vectors.
        found[shorter[0]] = "field"
    return {"trajectory", "field"}


def _claims(file: ArrayFile, array: str, section: ArraysSection) -> dict[int, Axis]:
    """Return by axis what it is, as an array says that has the name of times or coordinates and its length alone."""
    shape = file.arrays[array].shape
    claims: list[tuple[int, Axis]] = []
    for name in lines_beside(file, array):
        length = file.arrays[name].shape[0]
        if shape.count(length) == 1 and (axis := line_of(file, name, section)) is not None:
            claims.append((shape.index(length), axis))
    once = dict.fromkeys(claims)
    # Two axes that one name fits, or one axis that two names fit, tell nothing.
    return {
        index: axis
        for index, axis in once
        if sum(index == other for other, _ in once) == 1 and sum(axis == other for _, other in once) == 1
    }


def _one_a_run(file: ArrayFile, array: str, index: int) -> bool:
    """Whether an axis has a number for each place along it, and several arrays of one shape are the fields."""
    shape = file.arrays[array].shape
    fields = [name for name in _in_group(file, array) if file.arrays[name].shape == shape]
    length = shape[index]
    numbers = [name for name in lines_beside(file, array) if file.arrays[name].shape == (length,)]
    return len(fields) > 1 and len(shape) == 4 and bool(numbers) and shape.count(length) == 1


def lines_beside(file: ArrayFile, array: str) -> list[str]:
    """Arrays of numbers with one axis, in the array's group or at the root."""
    groups = {"", array.rpartition("/")[0]}
    return [
        name
        for name, info in file.arrays.items()
        if info.is_numeric and len(info.shape) == 1 and info.shape[0] > 1 and name.rpartition("/")[0] in groups
    ]


def line_of(file: ArrayFile, name: str, section: ArraysSection) -> Axis | None:
    """The axis along which an array has the times or coordinates, as the settings or its name say; None else.

    Numbers that do not rise or fall are none, whatever their name.
    """
    if section.time == name:
        return "time"
    for axis, coordinates in section.coordinates.items():
        if coordinates == name:
            return axis
    steps = np.diff(file.read(name).astype(np.float64))
    hinted = _hinted(name.rpartition("/")[2])
    return hinted if (steps > 0).all() or (steps < 0).all() else None


def _hinted(name: str) -> Axis | None:
    """The axis of a name such as `t`, `tt`, `xgrid`, `x_coords` or `times`."""
    plain = name.lower()
    cut = _ADDED.sub("", plain)
    for word in (plain, cut, cut.removesuffix("s"), cut[:1] if len(set(cut)) == 1 else cut):
        axis = axis_of(word)
        if axis is not None and axis != "field":
            return axis
    return None


def rises_evenly(file: ArrayFile, name: str) -> bool:
    """Whether numbers rise or fall by equal steps, as times and coordinates do, and parameters of runs rarely do."""
    steps = np.diff(file.read(name).astype(np.float64))
    mean = steps.mean()
    return bool(np.isfinite(mean) and mean != 0 and np.abs(steps - mean).max() <= _EVEN * abs(mean))


def line_along(file: ArrayFile, array: str, axis: Axis, length: int, section: ArraysSection) -> str | None:
    """The one array that by its name, else by its length alone, has the times or coordinates along an axis."""
    fitting = [name for name in lines_beside(file, array) if file.arrays[name].shape == (length,)]
    hinted = [name for name in fitting if line_of(file, name, section) == axis]
    if hinted:
        return hinted[0] if len(hinted) == 1 else None
    shape = file.arrays[array].shape
    plain = [name for name in fitting if line_of(file, name, section) is None and rises_evenly(file, name)]
    return plain[0] if len(plain) == 1 and shape.count(length) == 1 else None


def parameters_of(file: ArrayFile, array: str, runs: int | None, section: ArraysSection) -> list[str]:
    """Arrays at the root that hold one number for each of several runs, or one for all."""
    named = {plain_name(name) for name in section.fields.values()} if isinstance(section.fields, dict) else set()
    per_run = [] if runs is None or file.arrays[array].shape.count(runs) > 1 else lines_beside(file, array)
    return [
        name
        for name, info in file.arrays.items()
        if info.is_numeric
        and "/" not in name
        and name not in named
        and ((info.shape == () and name not in _STEPS) or (name in per_run and info.shape == (runs,)))
        and (info.shape == () or line_of(file, name, section) is None)
    ]


def _in_group(file: ArrayFile, array: str) -> list[str]:
    group = array.rpartition("/")[0]
    return [name for name in candidates(file) if name.rpartition("/")[0] == group]


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]
