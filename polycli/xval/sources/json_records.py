"""Finds the records in what a JSON file holds: below a key, in layouts of pandas, with numbers written as texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polycli.errors import SourceError
from polycli.xval.data.source import RecordWriter
from polycli.xval.recipe.training import JsonSection
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path
from polycli.xval.records.lookup import text_at, value_at
from polycli.xval.records.values import RecordError, Value
from polycli.xval.sources.json_text import number_of

_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
#: The only key of an object that MongoDB writes for a number.
_EXTENDED = re.compile(r"\$number[A-Z]\w*")
#: Records of each block in which texts that are numbers are looked for.
_LOOKED_AT = 100
#: Lists of so many objects may be the records.
_FEWEST = 2


@dataclass(frozen=True)
class JsonForm:
    """The way in which records lie in JSON."""

    section: JsonSection

    def records(self, name: str, value: Value) -> Iterator[tuple[str, Value]]:
        """The records of one value, with their names.

        Raises:
            SourceError: it has nothing at the key path, or is not of the layout, that the settings name.
        """
        path, layout = self.section.records, self.section.layout
        if path is None and layout == "records":
            yield name, value
            return
        below = value if path is None else value_at(value, path)
        if layout == "records":
            if not isinstance(below, list):
                raise SourceError(f"{name}: json_lines.records is {path}, and there is no list", hint=_hint(value))
            yield from ((f"{name}:{index}", member) for index, member in enumerate(below, start=1))
            return
        rows = _split(below) if layout == "split" else _by_column(below)
        if rows is None:
            raise SourceError(f"{name}: it is not in the layout {layout} of pandas", hint=_hint(value))
        yield from ((f"{name}:{index}", row) for index, row in rows)

    def write(self, writer: RecordWriter, value: Value, name: str, number: int) -> None:
        """Write one record under the name that it gives itself, if it does; what cannot be one is rejected.

        `number` counts the records of a block: the first ones are searched for numbers in texts, which are noted.
        """
        patterns = KeyPatterns(self.section.text_numbers)
        if self.section.text_numbers:
            value = _read(value, patterns, TOP)
        elif number < _LOOKED_AT:
            for path in sorted(set(_numbers_in_texts(value, TOP))):
                shown = json.dumps([path], ensure_ascii=False)
                writer.count(
                    f"texts that are numbers at {path}, kept as texts; --set 'json_lines.text_numbers={shown}'"
                )
        own = text_at(value, self.section.id_key) if self.section.id_key is not None else None
        try:
            writer.add(value, id=name if own is None else own)
        except RecordError as error:
            writer.reject(id=name, reason=str(error))


def proposal(value: Value) -> str | None:
    """The setting that makes records of what looks like many records in one; None where nothing does."""
    if not isinstance(value, Mapping):
        return None
    if _split(value) is not None:
        return "json_lines.layout=split"
    rows = _by_column(value)
    if rows is not None:
        return "json_lines.layout=columns"
    lists = {path: len(found) for path, found in _lists(value, TOP)}
    return f"json_lines.records={max(lists, key=lambda path: lists[path])}" if lists else None


def _hint(value: Value) -> str | None:
    found = proposal(value)
    return None if found is None else f"--set {found}"


def _lists(value: Value, path: str) -> Iterator[tuple[str, Sequence[Value]]]:
    """Key paths of lists of objects, not below other lists."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _lists(member, child_path(path, key))
    elif isinstance(value, list) and len(value) >= _FEWEST and all(isinstance(member, Mapping) for member in value):
        yield path, value


def _split(value: Value) -> list[tuple[object, Value]] | None:
    """Rows of `{"columns": [...], "index": [...], "data": [[...], ...]}`."""
    if not isinstance(value, Mapping) or not {"columns", "data"} <= set(value) <= {"columns", "data", "index"}:
        return None
    names, data, index = value["columns"], value["data"], value.get("index")
    if not isinstance(names, list) or not isinstance(data, list):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        return None
    rows = [dict(zip(map(str, names), row, strict=True)) for row in data]
    named = index if isinstance(index, list) and len(index) == len(rows) else range(1, len(rows) + 1)
    return list(zip(named, rows, strict=True))


def _by_column(value: Value) -> list[tuple[object, Value]] | None:
    """Rows of `{"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}`."""
    if not isinstance(value, Mapping) or len(value) < _FEWEST:
        return None
    columns = {key: column for key, column in value.items() if isinstance(column, Mapping)}
    first = list(next(iter(columns.values()), {}))
    if len(columns) < len(value) or len(first) < _FEWEST or any(list(column) != first for column in columns.values()):
        return None
    return [(name, {key: column[name] for key, column in columns.items()}) for name in first]


def _read(value: Value, patterns: KeyPatterns, path: str) -> Value:
    """The value with numbers where texts at these key paths, or objects in the place of texts, write one."""
    text = _written(value)
    if text is not None and patterns.match(path):
        return int(text) if _INTEGER.fullmatch(text) and len(text) < 310 else number_of(text)
    if isinstance(value, Mapping):
        return {key: _read(member, patterns, child_path(path, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [_read(member, patterns, path) for member in value]
    return value


def _numbers_in_texts(value: Value, path: str) -> Iterator[str]:
    if _written(value) is not None:
        yield path
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _numbers_in_texts(member, child_path(path, key))
    elif isinstance(value, list):
        for member in value:
            yield from _numbers_in_texts(member, path)


def _written(value: Value) -> str | None:
    """The number that a text holds, or an object such as `{"$numberDecimal": "1.10"}`."""
    if isinstance(value, Mapping) and len(value) == 1:
        key, member = next(iter(value.items()))
        value = member if _EXTENDED.fullmatch(str(key)) else None
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    return value
