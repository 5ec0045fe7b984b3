"""Filled-in records: answers put where nulls were, in the same order, and files of them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from polycli.console import counted, note
from polycli.errors import UserError
from polycli.names import cell, is_formula
from polycli.outputs import OutputKind
from polycli.requests import JsonDocument
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path, printable
from polycli.xval.records.units import unit_of
from polycli.xval.records.values import FreeText, NumberLiteral, Value

SUFFIXES = (".jsonl", ".json", ".csv")
#: Beside the keys of a record that is an object: its name, and what was filled in.
ID_KEY, FILLED_KEY = "_id", "_filled"
#: Candidates of a class whose probabilities have columns of their own, the commonest in training first.
MOST_PROBABILITIES = 20


@dataclass(frozen=True)
class Filled:
    """One null that became a number, or a class."""

    #: RFC 6901, where in the record it stands; and its key path.
    pointer: str
    key_path: str
    value: Value
    #: Low and high, where the model gives intervals.
    interval: tuple[float, float] | None
    unit: str | None
    #: Of a class, how likely the model holds it to be.
    probability: float | None = None
    #: The same of each candidate, the likeliest first, where the model has a choice of some.
    probabilities: Mapping[Value, float] | None = None

    def document(self) -> JsonDocument:
        """Returns the value as JSON output has it."""
        document: JsonDocument = {
            "key_path": self.key_path,
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "unit": self.unit,
        }
        if self.probability is not None:
            document["probability"] = self.probability
        if self.probabilities is not None:
            document["probabilities"] = {_cell(value): share for value, share in self.probabilities.items()}
        return document


@dataclass(frozen=True)
class FilledRecord:
    """A record with its nulls filled in."""

    id: str
    value: Any
    filled: tuple[Filled, ...]


@dataclass(frozen=True)
class Answer:
    """The model's answer for one null: a value, and what bounds or probability it gives."""

    value: Value
    interval: tuple[float, float] | None
    probability: float | None = None
    probabilities: Mapping[Value, float] | None = None


@dataclass(frozen=True)
class Asked:
    """The places at which a null is filled in."""

    #: Key paths of numbers.
    nulls: KeyPatterns
    #: Key paths of classes; nulls in lists are none.
    classes: frozenset[str] = frozenset()
    #: The mark in free text that stands for a number.
    gap: str | None = None


def fill_in(name: str, value: Value, answers: Iterator[Answer], asked: Asked, units: Mapping[str, str]) -> FilledRecord:
    """Put answers where nulls are, in the order in which a record is walked; everything else stays."""
    filled: list[Filled] = []

    def take(path: str, pointer: str) -> Value:
        answer = next(answers)
        if isinstance(answer.value, float) and not math.isfinite(answer.value):
            return None
        said = (answer.interval, unit_of(path, units), answer.probability, answer.probabilities)
        filled.append(Filled(pointer, path, answer.value, *said))
        return answer.value

    def write(text: str, path: str, pointer: str) -> str:
        """Free text with answers in place of its gaps."""
        if asked.gap is None or not asked.nulls.match(path):
            return text
        first, *others = text.split(asked.gap)
        parts = [first]
        for number, part in enumerate(others):
            answer = take(path, f"{pointer}/{number}")
            parts += [asked.gap if answer is None else _cell(answer), part]
        return "".join(parts)

    def walk(item: Value, path: str, pointer: str, *, listed: bool = False) -> Any:  # noqa: ANN401  # by kind
        if item is None or (isinstance(item, float) and not math.isfinite(item)):
            wanted = asked.nulls.match(path) or (not listed and path in asked.classes)
            return take(path, pointer) if wanted else None
        if isinstance(item, FreeText):
            return write(item.text, path, pointer)
        if isinstance(item, NumberLiteral):
            exact = item.value()
            return exact if isinstance(exact, int) or math.isfinite(exact) else item.text
        if isinstance(item, Mapping):
            return {key: walk(part, child_path(path, key), f"{pointer}/{_escaped(key)}") for key, part in item.items()}
        if isinstance(item, Sequence) and not isinstance(item, str):
            return [walk(part, path, f"{pointer}/{index}", listed=True) for index, part in enumerate(item)]
        return item

    return FilledRecord(name, walk(value, TOP, ""), tuple(filled))


class FilledWriter(Protocol):
    """Takes filled records one after the other."""

    def write(self, record: FilledRecord) -> None:
        """Writes one more record."""
        ...

    def close(self) -> None:
        """Ends the file: no more records will come."""
        ...


def _is_filled(path: Path) -> bool:
    """Whether a file begins as filled-in records do: with `_filled` in its first record, or as its last column."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                header = next(csv.reader(file), [])
                return len(header) > 1 and (header[0].lstrip("_"), header[-1].lstrip("_")) == ("record", "filled")
            if path.suffix == ".json":
                file.readline()  # The bracket; each record has a line of its own.
            first = json.loads(file.readline().rstrip().removesuffix(","))
            return isinstance(first, dict) and FILLED_KEY in first
    except (OSError, ValueError, csv.Error):
        return False


FILLED_RECORDS = OutputKind("records", SUFFIXES, _is_filled)


@dataclass(frozen=True)
class Extras:
    """The columns that a table has beside each column that can be filled in."""

    patterns: KeyPatterns
    #: Ends of the names of the columns, such as `mass_low`.
    sides: tuple[str, ...]
    #: By key path of a class: its candidates, each of which has a column with its probability.
    classes: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        patterns: KeyPatterns,
        *,
        interval: bool,
        probability: bool,
        classes: Mapping[str, Sequence[Value]] | None = None,
    ) -> Extras:
        """Builds the extras of a model that gives intervals, probabilities, or neither."""
        return cls(patterns, ("low", "high") * interval + ("probability",) * probability, classes or {})

    def ends(self, path: str) -> list[str]:
        """Ends of the names of the columns beside the one of a key path."""
        if path in self.classes:
            shown = self.classes[path][:MOST_PROBABILITIES]
            return ["probability", *(f"probability_{_cell(value)}" for value in shown)]
        return list(self.sides) if self.patterns.match(path) else []

    def cells(self, path: str, item: Filled | None) -> list[str]:
        """Extra cells (bounds, probabilities) for one column of one row."""
        found: dict[str, float | None] = {}
        if item is not None:
            low, high = item.interval or (None, None)
            found = {"low": low, "high": high, "probability": item.probability}
            found |= {f"probability_{_cell(value)}": share for value, share in (item.probabilities or {}).items()}
        return [_cell(found.get(end)) for end in self.ends(path)]


def writer_for(
    suffix: str,
    file: TextIO,
    units: Mapping[str, str],
    extras: Extras,
    *,
    headers: Mapping[str, str] | None = None,
    quote_formulas: bool = False,
) -> FilledWriter:
    """Returns a writer of the format that a suffix names; `headers`, by key, and `quote_formulas` are for tables."""
    if suffix == ".csv":
        return CsvWriter(file, units, extras, headers or {}, quote_formulas=quote_formulas)
    return JsonWriter(file, lines=suffix == ".jsonl")


class JsonWriter:
    """JSON lines, or one array. An object gets `_id` and `_filled`, by JSON pointer; all else is wrapped."""

    def __init__(self, file: TextIO, *, lines: bool) -> None:
        self._file, self._lines, self._count = file, lines, 0

    def write(self, record: FilledRecord) -> None:
        """One line, or one item of the array."""
        filled = {item.pointer: item.document() for item in record.filled}
        if isinstance(record.value, dict) and not {ID_KEY, FILLED_KEY} & set(record.value):
            document = {**record.value, ID_KEY: record.id, FILLED_KEY: filled}
        else:
            document = {"id": record.id, "record": record.value, FILLED_KEY: filled}
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        if printable(text) != text:
            # Half a character, which JSON can write as an escape alone.
            text = json.dumps(document, allow_nan=False)
        before = "" if self._lines else ",\n" if self._count else "[\n"
        self._file.write(f"{before}{text}{chr(10) if self._lines else ''}")
        self._count += 1

    def close(self) -> None:
        """Ends the array, where the file is one."""
        if not self._lines:
            self._file.write("\n]\n" if self._count else "[]\n")


class CsvWriter:
    """One row for each record, which must be flat; units in the header, as they came.

    Behind the columns of the first record stand those of intervals, `x_low` and `x_high`, or of the probability of a
    class, for columns that can be filled in, and `_filled`, which names those that were. All records must have the
    columns of the first. Texts that a table program would compute stay as they came, which is said, or are quoted.
    """

    def __init__(
        self,
        file: TextIO,
        units: Mapping[str, str],
        extras: Extras,
        headers: Mapping[str, str],
        *,
        quote_formulas: bool,
    ) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._quote, self._formulas = quote_formulas, 0
        self._units, self._extras, self._headers = units, extras, headers
        self._columns: list[str] | None = None
        #: Key paths of the columns that can be filled in.
        self._paths: list[str] = []

    def write(self, record: FilledRecord) -> None:
        """One row.

        Raises:
            UserError: the record is no object of plain values, or has other keys than the first.
        """
        value = record.value
        flat = isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())
        if not flat:
            raise UserError(
                f"{record.id}: a record with lists or objects in it does not fit a row", hint="--output FILE.jsonl"
            )
        if self._columns is None:
            self._begin(list(value))
        if list(value) != self._columns:
            strange = sorted(set(value) ^ set(self._columns or []))
            raise UserError(
                f"{record.id}: its keys are not those of the first record, {', '.join(strange[:3])} differ",
                hint="--output FILE.jsonl",
            )
        filled = {item.key_path: item for item in record.filled}
        cells = [self._own(item) for item in value.values()]
        for path in self._paths:
            cells += self._extras.cells(path, filled.get(path))
        self._writer.writerow([cell(printable(record.id)), *cells, ";".join(filled)])

    def close(self) -> None:
        """Says how many texts a table program would compute; a CSV file itself needs no end."""
        if self._formulas:
            texts = counted(self._formulas, "text begins", "texts begin")
            note(
                f"{texts} as formulas do, with =, +, - or @, and came back as they were: a spreadsheet would compute "
                "them; --set quote_formulas=true puts a quote before each"
            )

    def _own(self, item: Value) -> str:
        """A cell of the user's own, or a filled one."""
        text = _cell(item)
        if not isinstance(item, str) or not is_formula(text):
            return text
        if self._quote:
            return cell(text)
        self._formulas += 1
        return text

    def _begin(self, columns: list[str]) -> None:
        self._columns = columns
        paths = {column: child_path(TOP, column) for column in columns}
        units = [unit_of(path, self._units) for path in paths.values()]
        plain = [column if unit is None else f"{column} ({unit})" for column, unit in zip(columns, units, strict=True)]
        named = [self._headers.get(column, name) for column, name in zip(columns, plain, strict=True)]
        fillable = [column for column, path in paths.items() if self._extras.ends(path)]
        self._paths = [paths[column] for column in fillable]
        named = [printable(name) for name in named]
        # A file that was filled in before has columns of the names that are added here.
        header = [_unused("_record", named), *named]
        ends = [f"{column}_{end}" for column in fillable for end in self._extras.ends(paths[column])]
        for name in (*ends, "_filled"):
            header.append(_unused(printable(name), header))
        self._writer.writerow(map(cell, header))


def _unused(name: str, used: Collection[str]) -> str:
    while name in used:
        name = f"_{name}"
    return name


def _cell(value: Any) -> str:  # noqa: ANN401  # A plain JSON value.
    if value is None:
        return ""
    return printable(value) if isinstance(value, str) else json.dumps(value)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
