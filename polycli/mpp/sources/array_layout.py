"""Which arrays of a file hold which fields, and along which axes; what is not said is refused with a line to paste."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polycli.console import first_few
from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import ArraysSection, Axis
from polycli.mpp.sources.array_components import component_of
from polycli.mpp.sources.array_files import ArrayFile, ArrayInfo
from polycli.mpp.sources.array_grids import SPACE, beside, coordinates_beside, coordinates_line
from polycli.mpp.sources.array_groups import pattern_of, patterns_of
from polycli.mpp.sources.array_proposals import (
    NAMES,
    axis_of,
    candidates,
    line_along,
    listing,
    parameters_of,
    propose_axes,
)
from polycli.mpp.sources.array_read import Placed

#: Names that a sentence gives.
_SHOWN = 4
_MOST_KNOWN = 12
#: A time between frames that nobody knows; it is refused when it is pasted.
_NO_DT = "--set arrays.dt=NUMBER"


@dataclass(frozen=True)
class Layout:
    """The arrays of one file, in the order of the fields."""

    arrays: tuple[Placed, ...]
    fields: tuple[str, ...]
    trajectories: int
    frames: int
    grid: tuple[int, int]
    #: What the file's own names of dimensions were taken for, where that is another word.
    meanings: tuple[str, ...]


def find_layout(
    file: ArrayFile, section: ArraysSection, *, dt_needed: bool, known_fields: Sequence[str] = ()
) -> Layout:
    """Combines the settings and the file's own names of dimensions into a layout.

    Raises:
        SourceError: they leave something open, or do not fit the file; all of it at once, with lines to paste.
    """
    chosen = _chosen(file, section)
    names = [name for name, _ in chosen]
    axes = {name: _axes(file, name, section) for name in names}
    gaps = _Gaps(file, section, known_fields)
    if len(names) > 1 and not isinstance(section.fields, dict):
        gaps.choose(names)
    gaps.axes([name for name in names if axes[name] is None])
    placed = tuple(Placed(name, found, part) for name, part in chosen if (found := axes[name]) is not None)
    fields = gaps.fields(names, placed)
    gaps.boundary()
    if dt_needed and section.dt is None:
        gaps.dt(names, placed)
    gaps.beside(names, placed)
    gaps.refuse()
    return _agreed(file, placed, fields)


def _chosen(file: ArrayFile, section: ArraysSection) -> list[tuple[str, int | None]]:
    """The arrays that hold the fields, with the component that is one; several candidates where nothing tells which."""
    if isinstance(section.fields, dict):
        if section.array is not None:
            raise SourceError("arrays.array and arrays.fields both name arrays", hint="leave arrays.array out")
        wanted = [component_of(name, file.arrays) for name in section.fields.values()]
    elif section.array is not None:
        wanted = [(section.array, None)]
    else:
        wanted = [(name, None) for name in candidates(file)]
        if not wanted:
            raise SourceError(
                f"{file.path}: no array of real numbers with 3 to 5 axes, as frames have; in it: {listing(file)}"
            )
    for name, _ in wanted:
        if name not in file.arrays:
            near = difflib.get_close_matches(name, file.arrays, n=1)
            raise SourceError(
                f"{file.path}: there is no array {name!r}; in it: {listing(file)}",
                hint=f"did you mean {near[0]}?" if near else None,
            )
        info = file.arrays[name]
        if not info.is_numeric:
            parts = "; its real and imaginary parts can be two fields" if info.dtype.kind == "c" else ""
            raise SourceError(f"{file.path}: the array {name!r} holds {info.dtype}, real numbers were expected{parts}")
    return wanted


def _axes(file: ArrayFile, name: str, section: ArraysSection) -> tuple[Axis, ...] | None:
    """The axes of an array: as the settings say, else by the file's own names of dimensions; None where neither do.

    Raises:
        SourceError: the settings name more or fewer axes than there are, or others than the file does.
    """
    info = file.arrays[name]
    own = tuple(axis_of(dimension) for dimension in info.dims or ())
    if not section.axes:
        found = tuple(axis for axis in own if axis is not None)
        whole = len(found) == len(own) == len(set(own)) and {"time", "x", "y"} <= set(found)
        return found if whole else None
    said = section.axes
    if isinstance(section.fields, dict) and len(said) == len(info.shape) + 1:
        # Beside an array of vectors, one of scalars has all axes but theirs.
        said = tuple(axis for axis in said if axis != "field")
    if len(said) != len(info.shape):
        raise SourceError(
            f"{file.path}: the array {name!r} is {info.shape}, which is {len(info.shape)} axes, and arrays.axes names "
            f"{len(section.axes)}: {', '.join(section.axes)}",
            hint=_more_axes(file, name, section),
        )
    for word, axis, dimension in zip(said, own, info.dims or (), strict=False):
        if axis is not None and axis != word and dimension.lower() == NAMES[axis][0]:
            raise SourceError(
                f"{file.path}: arrays.axes says {word} where the array {name!r} itself says {dimension}",
                hint=_axes_line(propose_axes(file, name, section).axes),
            )
    return said


def _axes_line(axes: tuple[str, ...]) -> str | None:
    return f"--set 'arrays.axes=[{', '.join(axes)}]'" if axes else None


def _more_axes(file: ArrayFile, name: str, section: ArraysSection) -> str | None:
    """The settings for an array of other axes than were said, component by component where it is one of vectors."""
    axes = propose_axes(file, name, section).axes
    line = _axes_line(axes)
    if line is None or "field" not in axes or not isinstance(section.fields, dict):
        return line
    return f"{line} {_components_line(section.fields, name, file.arrays[name].shape[axes.index('field')])}"


def _components_line(fields: Mapping[str, str], array: str, count: int) -> str:
    """The setting that takes an array component by component, and the others as they were said."""
    pairs: list[str] = []
    for field, name in fields.items():
        parts = [f"{field}_{index}: {_entry(f'{name}:{index}')}" for index in range(count)]
        pairs += parts if name == array else [f"{field}: {_entry(name)}"]
    return f"--set 'arrays.fields={{{', '.join(pairs)}}}'"


def _entry(name: str) -> str:
    return json.dumps(name) if "*" in name else name


def _check_components(file: ArrayFile, fields: Mapping[str, str], placed: tuple[Placed, ...]) -> None:
    """Return if each field has one number at each point, as far as the axes of its array are known.

    Raises:
        SourceError: an array of vectors stands for one field, or a component does not exist.
    """
    arrays = {(array.name, array.component): array for array in placed}
    for field, name in fields.items():
        array = arrays.get(component_of(name, file.arrays))
        if array is None:
            continue
        count = file.arrays[array.name].shape[array.axes.index("field")] if "field" in array.axes else None
        if count is not None and array.component is None:
            raise SourceError(
                f"{file.path}: {field} is one field, and the array {name!r} has {count} entries along its axis field",
                hint=_components_line(fields, name, count),
            )
        if array.component is not None and array.component >= (count or 0):
            found = f"{count} entries along its axis field" if count else "no axis field"
            raise SourceError(
                f"{file.path}: {field} is {name!r}, and the array {array.name!r} has {found}",
                hint="entries are counted from 0" if count else "arrays.axes says which axis is field",
            )


class _Gaps:
    """Collects everything that is not said about a file, and lines that would say it."""

    def __init__(self, file: ArrayFile, section: ArraysSection, known_fields: Sequence[str]) -> None:
        self._file, self._section, self._known_fields = file, section, known_fields
        self._problems: list[str] = []
        self._lines: list[str] = []
        #: Arrays whose names are none of the fields that are known.
        self._unknown: list[str] = []

    def choose(self, names: list[str]) -> None:
        """Which of several arrays."""
        self._problems.append(f"which of the arrays {first_few(names, _SHOWN, repr)} to take is not said")
        if (pattern := pattern_of(names)) is not None:
            self._problems[-1] += ", or whether each is a trajectory"
            self._lines.append(f"--set 'arrays.array=\"{pattern}\"'")
        elif not self._pairs(names):
            self._lines.append(f"--set arrays.array={self._largest(names)}")

    def axes(self, names: list[str]) -> None:
        """Which axis is what."""
        if not names:
            return
        name = self._largest(names)
        info = self._file.arrays[name]
        proposal = propose_axes(self._file, name, self._section)
        doubt = f" ({proposal.doubt})" if proposal.doubt else ""
        self._problems.append(f"the axes of {name!r} {_dimensions(info)} are not said{doubt}")
        if line := _axes_line(proposal.axes):
            self._lines.append(line)

    def fields(self, names: list[str], placed: tuple[Placed, ...]) -> tuple[str, ...]:
        """The names of the fields; what is wrong with them is noted."""
        said, file = self._section.fields, self._file
        if isinstance(said, dict):
            _check_components(file, said, placed)
            return tuple(said)
        if len(names) > 1 and pattern_of(names) is None:
            if pairs := self._pairs(names):
                self._lines.append(f"--set 'arrays.fields={{{', '.join(pairs)}}}'")
            return said
        found = placed[0].length("field", file.arrays[names[0]]) if placed else None
        if found is None:
            proposal = propose_axes(file, names[0], self._section)
            shape = file.arrays[names[0]].shape
            found = shape[proposal.axes.index("field")] if "field" in proposal.axes else 1
            if said:
                return said
        if len(said) != found:
            array = f"the array {names[0]!r} is {file.arrays[names[0]].shape}, so {found} field{'s' * (found > 1)}"
            if not placed and propose_axes(file, names[0], self._section).fields_open:
                array = f"how many fields the array {names[0]!r} has is not told by its shape"
            self._problems.append(f"{array}, and {len(said)} names were given")
            plain = self._field_name(names[0])
            proposed = [plain] if found == 1 else [f"{plain}_{index}" for index in range(found)]
            self._lines.append(f"--set 'arrays.fields=[{', '.join(proposed)}]'")
        return said

    def _field_name(self, array: str) -> str:
        """Return a name for the field of an array: the one that the checkpoint knows so, else one of the user's own."""
        plain = array.rpartition("/")[2] or self._file.path.stem
        known = [name for name in self._known_fields if name.rpartition(".")[2].lower() == plain.lower()]
        if len(known) == 1:
            return known[0]
        self._unknown.append(array)
        return "my." + "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in plain)

    def _largest(self, names: list[str]) -> str:
        """The first of those with the most axes."""
        return max(names, key=lambda name: len(self._file.arrays[name].shape))

    def _pairs(self, names: list[str]) -> list[str]:
        """A name for each field of several arrays, component by component for vectors; none if not all fit together."""
        shapes = {name: self._file.arrays[name].shape for name in names}
        largest = self._largest(names)
        axes, whole = propose_axes(self._file, largest, self._section).axes, shapes[largest]
        place = axes.index("field") if "field" in axes else None
        scalar = whole if place is None else whole[:place] + whole[place + 1 :]
        pairs: list[str] = []
        for shown, name in (patterns_of(names) or dict(zip(names, names, strict=True))).items():
            field = self._field_name(name)
            if shapes[name] == scalar:
                pairs.append(f"{field}: {_entry(shown)}")
            elif place is not None and shapes[name] == whole:
                pairs += [f"{field}_{index}: {_entry(f'{shown}:{index}')}" for index in range(whole[place])]
            else:
                return []
        return pairs

    def boundary(self) -> None:
        """Notes that the boundary conditions are missing, if they are."""
        if set(self._section.boundary) != {"x", "y"}:
            self._problems.append("an array does not say its boundary conditions (periodic, wall or open)")
            said = self._section.boundary
            pairs = [f"{axis}: {said.get(axis, 'periodic|wall|open')}" for axis in SPACE]
            self._lines.append(f"--set 'arrays.boundary={{{', '.join(pairs)}}}'")

    def dt(self, names: list[str], placed: tuple[Placed, ...]) -> None:
        """The time between frames."""
        file, section = self._file, self._section
        numbers = {name: info for name, info in file.arrays.items() if info.is_numeric}
        if section.time:
            return
        if section.time is None and (
            any(name.rpartition("/")[2] in NAMES["time"] for name in numbers)
            or (placed and beside(file, placed[0], "time") in numbers)
        ):
            return
        array = placed[0].name if placed else self._largest(names)
        lengths = self._lengths(array, placed)
        if section.time is None and "/" not in array and "time" in lengths:
            times = line_along(file, array, "time", lengths["time"], section)
            if times is not None:
                self._problems.append(f"whether {times!r} has the times of the frames is not said")
                self._lines.append(f"--set arrays.time={times}")
                return
        self._problems.append("no numbers of times (time or t) are in it, and arrays.dt is not given")
        one = [name for name, info in numbers.items() if name == "dt" and info.shape in {(), (1,)}]
        self._lines.append(f"--set arrays.dt={float(file.read(one[0]).reshape(())):.6g}" if one else _NO_DT)

    def beside(self, names: list[str], placed: tuple[Placed, ...]) -> None:
        """Lines for coordinates and parameters, which a file may have under any name."""
        file, section = self._file, self._section
        array = placed[0].name if placed else self._largest(names)
        if "/" in array or not self._problems:
            return
        lengths = self._lengths(array, placed)
        pairs = coordinates_beside(file, array, lengths, section)
        if pairs:
            self._lines.append(coordinates_line(pairs))
        names = parameters_of(file, array, lengths.get("trajectory"), section)
        if names and not section.parameters:
            self._lines.append(f"--set 'arrays.parameters={{{', '.join(f'{name}: {name}' for name in names)}}}'")

    def _lengths(self, array: str, placed: tuple[Placed, ...]) -> dict[str, int]:
        """Return lengths by axis, as far as axes are known or can be told."""
        axes = placed[0].axes if placed else propose_axes(self._file, array, self._section).axes
        return dict(zip(axes, self._file.arrays[array].shape, strict=False))

    def refuse(self) -> None:
        """Raise for what is open."""
        if self._problems:
            line = " ".join(self._lines)
            if self._known_fields and self._unknown:
                more = ", ..." if len(self._known_fields) > _MOST_KNOWN else ""
                shown = ", ".join(self._known_fields[:_MOST_KNOWN]) + more
                self._problems.append(f"which of the checkpoint's fields {self._unknown[0]!r} is ({shown}) is not said")
            choose = ", one of the words between |" if "|" in line else ""
            raise SourceError(
                f"{self._file.path}: {'; '.join(self._problems)}. In it: {listing(self._file)}",
                hint=f"set what is right{choose}, such as: {line}",
            )


def _agreed(file: ArrayFile, placed: tuple[Placed, ...], fields: tuple[str, ...]) -> Layout:
    """The lengths that all arrays share.

    Raises:
        SourceError: they differ, or an axis is too short.
    """
    first = placed[0]
    axes: tuple[Axis, ...] = ("trajectory", "time", "x", "y")
    lengths = {axis: first.length(axis, file.arrays[first.name]) for axis in axes}
    for other in placed[1:]:
        for axis, length in lengths.items():
            if (found := other.length(axis, file.arrays[other.name])) != length:
                raise SourceError(
                    f"{file.path}: the array {other.name!r} has {found} along {axis}, {first.name!r} has {length}",
                    hint="all fields of a store lie on one grid, at the same times",
                )
    for axis, length in lengths.items():
        if length < (1 if axis == "trajectory" else 2):
            raise SourceError(
                f"{file.path}: the array {first.name!r} is {file.arrays[first.name].shape}, {length} along {axis}; "
                "at least 2 were expected"
            )
    seen = dict(zip(file.arrays[first.name].dims or (), first.axes, strict=False))
    meanings = tuple(f"{name} is {axis}" for name, axis in seen.items() if name != axis)
    return Layout(placed, fields, lengths["trajectory"], lengths["time"], (lengths["x"], lengths["y"]), meanings)


def _dimensions(info: ArrayInfo) -> str:
    return str(info.shape) if info.dims is None else f"({', '.join(info.dims)}) {info.shape}"
