"""Decides how each column of CSV files is read, once from all of its cells; the manifest says it.

A column of which it cannot be told what its cells mean stays text, and the reason is reported with the setting that
decides it: nothing is guessed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import yaml

from polycli.xval.data.source import ColumnAbout
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import (
    Cell,
    grouping_of,
    is_statistic,
    mark_of,
    read_cell,
    same_unit,
    split_header,
    ungrouped,
)
from polycli.xval.records.limits import keys_beside
from polycli.xval.records.texts import Texts, among, as_texts, kept
from polycli.xval.records.values import NumberLiteral, Value
from polycli.xval.sources.json_text import number_of
from polycli.xval.sources.tables.plain_numbers import plain_numbers
from polycli.xval.sources.tables.row_numbers import RowCount

#: Digits of an integer that float64 could hold.
_LONGEST_INTEGER = 310
#: What every number has.
_DIGIT = re.compile(r"\d")
#: Examples of cells that a report shows.
_EXAMPLES = 3
#: Numbers in which a mark can be nothing but a decimal one, though their column has another: three digits behind it may
#: be a group.
_LONE_MARK = {mark: re.compile(rf"[+-]?\d*[{mark}](?:\d{{0,2}}|\d{{4,}})(?:[eEdD][+-]?\d+)?") for mark in ".,"}


@dataclass
class Tally:
    """Counts of the kinds of cells in a column, over all of its rows."""

    cells: int = 0
    missing: int = 0
    text: int = 0
    errors: int = 0
    #: Limits by how they are written: how many, and the first of them.
    limits: dict[tuple[str | bool | None, ...], tuple[int, str]] = field(default_factory=dict)
    marks: Counter[str] = field(default_factory=Counter)
    #: None stands for cells with a number and no unit.
    units: Counter[str | None] = field(default_factory=Counter)
    #: Cells that are text, each with the row at which it stands first.
    examples: dict[str, int] = field(default_factory=dict)
    #: Cells whose digits are in groups, by what stands between these, and one of them.
    groups: Counter[str] = field(default_factory=Counter)
    grouped: str = ""
    #: Whether the cells are integers that count rows from 0 or 1 on, and the next of them.
    counts: RowCount = field(default_factory=RowCount, compare=False)

    def add(self, cells: Sequence[str] | Texts, missing: frozenset[str], thousands: str | None = None) -> None:
        """Counts more cells, those of the next rows."""
        texts = as_texts(cells)
        self.counts.add(texts)
        known = kept(texts, ~among(texts, missing))
        plain = None if thousands is not None else plain_numbers(known)
        if plain is not None:
            self.missing += len(texts) - len(known)
            counts = {"whole": plain.whole, "zeros": plain.zeros, "dot": plain.dots}
            self.marks.update({mark: count for mark, count in counts.items() if count})
            self.units[None] += len(known)
        else:
            met = texts.value_counts()
            for text, count in zip(met.field(0).to_pylist(), met.field(1).to_pylist(), strict=True):
                self._count(text, count, missing, thousands, lambda text=text: texts.index(text).as_py() + 1)  # type: ignore[misc]
        self.cells += len(texts)

    def _count(
        self, text: str, count: int, missing: frozenset[str], thousands: str | None, row: Callable[[], int]
    ) -> None:
        """Counts equal cells; `row` says at which of the rows that are counted now the first of them stands."""
        if text.strip() in missing:
            self.missing += count
            return
        if thousands is not None:
            text = ungrouped(text, thousands)
        cell = read_cell(text) if _DIGIT.search(text) else None
        if cell is None:
            self.text += count
            if len(self.examples) < _EXAMPLES and text not in self.examples:
                self.examples[text] = self.cells + row()
            groups = grouping_of(text)
            if groups is not None:
                self.groups[groups] += count
                self.grouped = self.grouped or text
            return
        if cell.limit is not None:
            read = (_with_decimal(cell, mark) is not None for mark in ".,")
            manner = (cell.unit, *read, *(mark in cell.number for mark in ".,"))
            before, first = self.limits.get(manner, (0, text.strip()))
            self.limits[manner] = (before + count, first)
        self.errors += count * (cell.error is not None)
        self.marks.update(dict.fromkeys(cell.marks, count))
        self.units[cell.unit] += count


@dataclass(frozen=True)
class Column:
    """The way in which one column is read."""

    header: str
    key: str
    unit: str | None
    #: None: its cells are text, all of them.
    decimal: str | None
    #: Whether `5 kg` is 5; the unit is then `unit`.
    unit_in_cells: bool = False
    limits: bool = False
    errors: bool = False
    #: Whether its cells are text because it cannot be told what its numbers mean.
    undecided: bool = False
    #: What stands between groups of three digits.
    thousands: str | None = None
    #: Keys of what is split off its cells.
    error_key: str = ""
    limit_key: str = ""

    def values(self, text: str, missing: frozenset[str]) -> dict[str, Value]:
        """Returns the values that a cell adds to its record, by key."""
        if text.strip() in missing:
            value: Value = None
            cell = None
        else:
            plain = text if self.thousands is None else ungrouped(text, self.thousands)
            cell = None if self.decimal is None else self._numeric(plain)
            value = text if cell is None else _value(cell.number, self.decimal)
        found = {self.key: value}
        if self.errors:
            found[self.error_key] = _value(cell.error, self.decimal) if cell and cell.error else None
        if self.limits:
            found[self.limit_key] = cell.limit if cell and cell.limit else None
        return found

    @property
    def number_keys(self) -> tuple[str, ...]:
        """Keys of a record at which its numbers stand."""
        return (self.key, self.error_key) if self.errors else (self.key,)

    def _numeric(self, text: str) -> Cell | None:
        """The cell, where everything in it is something that this column takes for a number."""
        cell = read_cell(text)
        if cell is None or (cell.unit is not None) > self.unit_in_cells:
            return None
        if (cell.limit is not None) > self.limits or (cell.error is not None) > self.errors:
            return None
        return _with_decimal(cell, self.decimal)

    def limits_of(self, tally: Tally) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Counts the limits that are numbers in this column, and those that stay text, each with one of them."""
        numbers, texts = list[tuple[int, str]](), list[tuple[int, str]]()
        for count, first in tally.limits.values():
            (texts if self._numeric(first) is None else numbers).append((count, first))
        return numbers, texts

    def described(self) -> ColumnAbout:
        """Returns the entry of the column in the manifest."""
        return ColumnAbout(
            key=self.key,
            unit=self.unit,
            read_as="text" if self.decimal is None else "number",
            undecided=True if self.undecided else None,
        )


def decide(
    tallies: Mapping[str, Tally], section: TableSection, below: Mapping[str, str] | None = None
) -> tuple[list[Column], list[str]]:
    """Decides how each column is read, by header, and says what the user should know about those that are not plain.

    `below` has units that stand in a row below the header.
    """
    commas = {header for header, tally in tallies.items() if _decimal_comma(tally, section)}
    names = _keys(list(tallies), section)
    beside = keys_beside([key for key, _ in names.values()])
    found, reports = [], []
    for header, tally in tallies.items():
        decimal, reason = _decimal(header, tally, section, others_use_commas=bool(commas - {header}))
        key, unit = names[header]
        unit = unit or (below or {}).get(header)
        in_cells = None
        if decimal is not None and section.units and len(tally.units) == 1 and not tally.text:
            in_cells = next(iter(tally.units))
        conflict = None
        if unit is not None and in_cells is not None and not same_unit(unit, in_cells):
            # `mass (kg)` over cells of `5 g`: neither is to be believed alone.
            conflict, in_cells = f"the header says {unit}, the cells say {in_cells}", None
        column = Column(
            header=header,
            key=key,
            unit=unit or in_cells,
            decimal=decimal,
            unit_in_cells=in_cells is not None,
            limits=section.limits == "value" and bool(tally.limits) and decimal is not None,
            errors=section.uncertainties == "value" and tally.errors > 0 and decimal is not None,
            undecided=decimal is None and bool(tally.marks) and header not in section.columns,
            thousands=section.thousands,
            error_key=beside[key][0],
            limit_key=beside[key][1],
        )
        found.append(column)
        reports += [
            f"column {header!r}: {text}"
            for text in (reason, conflict, _grouped(column, tally), *_remarks(column, tally))
            if text
        ]
        if is_statistic(header, list(tallies)):
            reports.append(f"column {header!r}: min is the smallest there, as others have max or mean; no unit")
        if column.error_key != f"{key}_error" and column.errors:
            reports.append(
                f"column {header!r}: its uncertainties are {column.error_key!r}: there is a column {key}_error"
            )
    return found, reports


def _keys(headers: Sequence[str], section: TableSection) -> dict[str, tuple[str, str | None]]:
    """Key and unit by header; `m (kg)` and `m (g)` keep their headers, or they would be one key."""
    plain = {header for header in headers if is_statistic(header, headers)}
    split = {
        header: split_header(header) if section.units and header not in plain else (header.strip(), None)
        for header in headers
    }
    uses = Counter(key for key, _ in split.values())
    return {header: (key, unit) if uses[key] == 1 else (header.strip(), unit) for header, (key, unit) in split.items()}


def _decimal_comma(tally: Tally, section: TableSection) -> bool:
    """Whether nothing but a decimal comma explains the column."""
    return section.decimal != "." and tally.marks["comma"] > 0 and tally.marks["dot"] == 0


def _decimal(
    header: str, tally: Tally, section: TableSection, *, others_use_commas: bool
) -> tuple[str | None, str | None]:
    """The decimal mark, None for text; and why, where that is worth saying."""
    marks = tally.marks
    if header in section.columns:
        return {"number": ".", "decimal-comma": ",", "text": None}[section.columns[header]], None
    if not marks and tally.text:
        return None, None  # Text alone: a decimal mark that was said of numbers is none of its business.
    if section.decimal != "auto":
        wrong = marks["comma"] + marks["grouped"] if section.decimal == "." else marks["dot"]
        wrong -= _limits_with_another_mark(tally, section.decimal) if section.limits == "value" else 0
        return section.decimal, f"{wrong} cells have another decimal mark and stay text" if wrong else None
    setting = f"--set {_column_setting(header)}, or number, says what it is"
    rules = (
        (not marks, None, None),
        (marks["zeros"], None, "numbers with leading zeros, as identifiers have: the column stays text"),
        (marks["comma"] and marks["dot"], None, f"decimal points and commas: the column stays text; {setting}"),
        (marks["comma"], ",", f"decimal comma in {marks['comma'] + marks['grouped']} cells"),
        (
            marks["grouped"],
            None,
            f"`1,500` may be 1.5 or 1500: the column stays text; {setting}"
            "; --set 'table.thousands=\",\"' says that commas group digits"
            + ("; --set 'table.decimal=\",\"' says it of all columns" if others_use_commas else ""),
        ),
        (
            marks["dot"] and others_use_commas,
            None,
            f"decimal points, while other columns have decimal commas: the column stays text; {setting}",
        ),
    )
    return next(((mark, reason) for applies, mark, reason in rules if applies), (".", None))


def _column_setting(header: str) -> str:
    """Returns the value for `--set` that says how one column is read, quoted for YAML and for a shell."""
    value = f"{{{header}: decimal-comma}}"
    try:
        plain = yaml.safe_load(value) == {header: "decimal-comma"}
    except yaml.YAMLError:
        plain = False
    if not plain:
        value = f"{{{json.dumps(header, ensure_ascii=False)}: decimal-comma}}"
    return shlex.quote(f"table.columns={value}")


def _remarks(column: Column, tally: Tally) -> list[str]:
    if column.decimal is None:
        return []
    remarks = []
    units = {unit: count for unit, count in tally.units.items() if unit is not None}
    if column.unit_in_cells:
        remarks.append(f"the unit {next(iter(units))} was taken off {sum(units.values())} cells")
    elif units:
        others = ", others without" if None in tally.units or tally.text else ""
        remarks.append(f"{sum(units.values())} cells with units ({', '.join(units)}){others}: they stay text")
    numbers, texts = column.limits_of(tally)
    otherwise = "table.limits=value takes the number, and its < or >"
    if column.limits:
        otherwise = "their numbers are not written as those of the column"
    remarks += [
        f"{sum(count for count, _ in found)} limits such as {found[0][1]} {fate}"
        for found, fate in ((numbers, "are numbers"), (texts, f"stay text; {otherwise}"))
        if found
    ]
    if tally.errors:
        remarks.append(f"{tally.errors} values with an uncertainty " + ("are split" if column.errors else "stay text"))
    if tally.text:
        examples = ", ".join(f"{example!r} (row {row})" for example, row in tally.examples.items())
        marks = ", ".join(json.dumps(example.strip(), ensure_ascii=False) for example in tally.examples)
        way = "; marks of unknown values are named by " + shlex.quote(f"table.missing=[..., {marks}]")
        remarks.append(f"{tally.text} of {tally.cells} cells are text, such as {examples}{'' if tally.groups else way}")
    return remarks


def _with_decimal(cell: Cell, decimal: str | None) -> Cell | None:
    """The cell in a column of this decimal mark; None where another is in it, which limits alone may have.

    Instruments print `<0.5` as one word in tables of `12,5`; with three digits behind the point it may be a thousand.
    """
    wrong = "," if decimal == "." else "."
    if wrong not in cell.number and wrong not in (cell.error or ""):
        return cell
    if decimal is None or cell.limit is None or cell.error is not None or not _LONE_MARK[wrong].fullmatch(cell.number):
        return None
    return replace(cell, number=cell.number.replace(wrong, decimal))


def _limits_with_another_mark(tally: Tally, decimal: str) -> int:
    """Counts the limits that are numbers though they have another decimal mark than their column."""
    wrong = "," if decimal == "." else "."
    cells = ((count, read_cell(first)) for count, first in tally.limits.values())
    return sum(count for count, cell in cells if cell and wrong in cell.number and _with_decimal(cell, decimal))


def _grouped(column: Column, tally: Tally) -> str | None:
    """Names the setting that reads digits in groups, where that is what most texts of a column are."""
    if not tally.groups or 2 * tally.groups.total() < tally.text:
        return None
    mark, count = tally.groups.most_common(1)[0]
    if column.decimal is not None and mark == column.decimal:
        return None
    setting = shlex.quote(f"table.thousands={json.dumps(mark)}")
    return f"{count} cells have digits in groups, such as {tally.grouped!r}, and are text; --set {setting} reads them"


def _value(number: str, decimal: str | None) -> Value:
    """Converts a number to a JSON value: whole numbers stay whole; one that float64 cannot hold stays as it was
    written.
    """
    if len(number) > _LONGEST_INTEGER:
        return NumberLiteral(number)  # Python refuses to read what has thousands of digits.
    number = number.replace("d", "e").replace("D", "e")
    if mark_of(number) == "whole" or (mark_of(number) == "zeros" and number.lstrip("+-").isdigit()):
        return -0.0 if number.startswith("-") and int(number) == 0 else int(number)
    return number_of(number.replace(",", ".") if decimal == "," else number)
