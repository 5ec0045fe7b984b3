"""Cuts a record that is longer than a context into several: its longest list is divided, all else is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from polycli.xval.records.values import Value

#: Where a list stands: keys and places from the top on.
Place = tuple[str | int, ...]


def pieces_of(value: Value, context: int, length_of: Callable[[Value], int]) -> list[Value] | None:
    """Records of at most `context` tokens that together hold the list's entries once, in order; None if it cannot be.

    What is cut is the list with the most tokens; entries stay whole. `length_of` counts the tokens of a value.
    """
    lists = [(place, found) for place, found in _lists(value, ()) if len(found) > 1]
    # The outermost of the longest: cutting inside an entry would tear what belongs together, such as one time step.
    for place, found in sorted(lists, key=lambda item: (len(item[0]), -length_of(item[1]))):
        frame = length_of(_with(value, place, []))
        room = context - frame
        sizes = [length_of(entry) + 1 for entry in found]
        if room > 0 and max(sizes) <= room:
            return [_with(value, place, part) for part in _parts(found, sizes, room)]
    return None


def _parts(entries: Sequence[Value], sizes: Sequence[int], room: int) -> Iterator[list[Value]]:
    """Runs of entries that fit into the room, as long as can be."""
    part: list[Value] = []
    used = 0
    for entry, size in zip(entries, sizes, strict=True):
        if part and used + size > room:
            yield part
            part, used = [], 0
        part.append(entry)
        used += size
    if part:
        yield part


def _lists(value: Value, place: Place) -> Iterator[tuple[Place, Sequence[Any]]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _lists(member, (*place, key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield place, value
        for number, member in enumerate(value):
            yield from _lists(member, (*place, number))


def _with(value: Any, place: Place, replacement: Value) -> Value:  # noqa: ANN401  # walks any value by its place
    """The value with another list at that place."""
    if not place:
        return replacement
    step, rest = place[0], place[1:]
    if isinstance(value, Mapping):
        return {key: _with(member, rest, replacement) if key == step else member for key, member in value.items()}
    return [_with(member, rest, replacement) if number == step else member for number, member in enumerate(value)]
