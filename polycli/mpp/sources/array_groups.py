"""Files in which each trajectory has a group of its own: `arrays.array=*/u` names them all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from polycli.errors import SourceError
from polycli.mpp.recipe.arrays import ArraysSection
from polycli.mpp.sources.array_components import plain_name
from polycli.mpp.sources.array_files import ArrayFile


def one_by_one(file: ArrayFile, section: ArraysSection) -> list[tuple[str, ArraysSection]]:
    """The settings for each group that a `*` in a name stands for, with what it stands for; else the settings alone.

    Raises:
        SourceError: no array has such a name, or the groups are not alike.
    """
    patterns = [name for name in _names(section) if "*" in name]
    if not patterns:
        return [("", section)]
    first = plain_name(patterns[0])
    expression = re.compile("(.+)".join(map(re.escape, first.split("*", 1))).replace(r"\*", ".+"))
    found = sorted(match.group(1) for name in file.arrays if (match := expression.fullmatch(name)))
    if not found:
        raise SourceError(f"{file.path}: no array has a name like {first!r}; in it: {', '.join(list(file.arrays)[:8])}")
    return [(group, _filled(section, group)) for group in found]


def pattern_of(names: Iterable[str]) -> str | None:
    """`*/u` for `run0/u`, `run1/u`: the pattern of arrays that have one name in groups of their own."""
    parts = [name.rpartition("/") for name in names]
    alike = len({name for _, _, name in parts}) == 1 and len({group for group, _, _ in parts}) == len(parts) > 1
    return f"*/{parts[0][2]}" if alike and all(group for group, _, _ in parts) else None


def patterns_of(names: Iterable[str]) -> dict[str, str] | None:
    """`*/u` and `*/v`, with the first array of each, where groups have arrays of the same names."""
    parts = [name.rpartition("/") for name in names]
    groups = dict.fromkeys(group for group, _, _ in parts)
    leaves = {f"*/{leaf}": f"{group}/{leaf}" for group, _, leaf in reversed(parts)}
    if len(groups) < 2 or not all(groups) or len(parts) != len(groups) * len(leaves):
        return None
    return dict(reversed(leaves.items()))


def _names(section: ArraysSection) -> list[str]:
    fields = section.fields.values() if isinstance(section.fields, dict) else ()
    return [*([section.array] if section.array else []), *fields]


def _filled(section: ArraysSection, group: str) -> ArraysSection:
    def fill(name: str) -> str:
        return name.replace("*", group)

    def fill_all(names: Mapping[Any, object]) -> dict[str, object]:
        return {key: fill(name) if isinstance(name, str) else name for key, name in names.items()}

    return section.model_copy(
        update={
            "array": None if section.array is None else fill(section.array),
            "fields": fill_all(section.fields) if isinstance(section.fields, dict) else section.fields,
            "time": None if section.time is None else fill(section.time),
            "split": None if section.split is None else fill(section.split),
            "coordinates": fill_all(section.coordinates),
            "parameters": fill_all(section.parameters),
        }
    )
