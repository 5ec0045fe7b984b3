"""Lines to paste for what an array file leaves open: guesses that are shown, and never taken by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polycli.mpp.recipe.arrays import ArraysSection, Axis
from polycli.mpp.sources.array_files import ArrayFile, ArrayInfo

#: Usual names of axes, their own first.
NAMES: dict[Axis, tuple[str, ...]] = {
    "trajectory": ("trajectory", "trajectories", "sample", "batch", "ensemble", "member", "realization", "run"),
    "time": ("time", "t", "times"),
    "x": ("x", "lon", "longitude"),
    "y": ("y", "lat", "latitude"),
    "field": ("field", "fields", "channel", "variable", "component"),
}
#: The order that most files have, and the most fields that a short axis is taken for.
_ORDER: tuple[Axis, ...] = ("trajectory", "time", "field", "x", "y")
_MOST_FIELDS = 8
_SHOWN = 12


@dataclass(frozen=True)
class Proposal:
    """A guess at the axes of an array, and why it is no more than a guess."""

    axes: tuple[Axis, ...]
    doubt: str


def axis_of(dimension: str) -> Axis | None:
    """The axis that a dimension's name means, by usual names."""
    return next((axis for axis, names in NAMES.items() if dimension.lower() in names), None)


def candidates(file: ArrayFile) -> dict[str, ArrayInfo]:
    """The arrays of a file that have enough axes to be frames over time."""
    return {name: info for name, info in file.arrays.items() if info.is_numeric and 3 <= len(info.shape) <= 5}


def listing(file: ArrayFile) -> str:
    """The arrays of a file with their shapes, for a sentence."""
    shown = [f"{name!r} {_shape(info)} {info.dtype}" for name, info in list(file.arrays.items())[:_SHOWN]]
    more = len(file.arrays) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "none"


def _shape(info: ArrayInfo) -> str:
    if info.dims is None:
        return str(info.shape)
    return f"({', '.join(f'{name}: {length}' for name, length in zip(info.dims, info.shape, strict=True))})"


def propose_axes(file: ArrayFile, name: str, section: ArraysSection) -> Proposal:
    """A guess at the axes of an array, from names of its dimensions and from lengths of other arrays."""
    shape = file.arrays[name].shape
    fields = len(section.fields) if isinstance(section.fields, tuple) and section.fields else None
    found: dict[Axis, int] = {}
    for index, dimension in enumerate(file.arrays[name].dims or ()):
        if (axis := axis_of(dimension)) is not None and axis not in found:
            found[axis] = index
    for axis, length in _known_lengths(file, name, fields).items():
        places = [index for index, entries in enumerate(shape) if entries == length and index not in found.values()]
        if axis not in found and len(places) == 1:
            found[axis] = places[0]
    guessed = {axis: index for axis, index in _rest(shape, found, fields).items() if axis not in found}
    named = {index: axis for axis, index in {**found, **guessed}.items()}
    if set(named) != set(range(len(shape))) or not {"time", "x", "y"} <= set(named.values()):
        return Proposal((), "its dimensions are not those of frames over time")
    return Proposal(tuple(named[index] for index in range(len(shape))), _doubt(shape, guessed))


def _known_lengths(file: ArrayFile, array: str, fields: int | None) -> dict[Axis, int]:
    """Lengths that axes must have, from arrays of times and coordinates and from the number of field names."""
    known: dict[Axis, int] = {} if fields is None else {"field": fields}
    group = array.rpartition("/")[0]
    for axis in ("time", "x", "y"):
        for place in [path for name in NAMES[axis] for path in ((f"{group}/{name}", name) if group else (name,))]:
            if place in file.arrays and len(file.arrays[place].shape) == 1:
                known.setdefault(axis, file.arrays[place].shape[0])
    return known


def _rest(shape: tuple[int, ...], found: Mapping[Axis, int], fields: int | None) -> dict[Axis, int]:
    """The axes that are left, in the usual order; of those of an array with four axes, fields where one is short."""
    free = [index for index in range(len(shape)) if index not in found.values()]
    wanted: set[Axis] = {"time", "x", "y", *found}
    guessed: dict[Axis, int] = {}
    short = [index for index in free if shape[index] <= _MOST_FIELDS]
    if len(wanted) < len(shape) and "field" not in wanted and short and (len(shape) == 5 or fields != 1):
        place = min(short, key=lambda index: (shape[index] != fields, shape[index], -index))
        # A short first axis is rather a few trajectories.
        if len(shape) == 5 or shape[place] == fields or place > 0:
            guessed["field"] = place
            free.remove(place)
            wanted.add("field")
    for axis in ("trajectory", "field"):
        if len(wanted) < len(shape):
            wanted.add(axis)
    left = [axis for axis in _ORDER if axis in wanted and axis not in found and axis not in guessed]
    return {**guessed, **dict(zip(left, free, strict=False))}


def _doubt(shape: tuple[int, ...], guessed: Mapping[Axis, int]) -> str:
    """Which axes cannot be told apart; an axis that alone is left can only be one thing."""
    if not guessed:
        return ""
    places = [("1st", "2nd", "3rd", "4th", "5th")[index] for index in sorted(guessed.values())]
    kinds = [axis for axis in _ORDER if axis in guessed]
    if len(places) == 1:
        return f"the {places[0]} is {kinds[0]} if the others are right" if len(shape) > 3 else ""
    return f"nothing tells which of the {_listed(places, 'and')} is {_listed(kinds, 'or')}"


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
