"""Files read as the data of the training were: settings of tables, names of rows, columns that are numbers or text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from polycli.console import first_few, note, warn
from polycli.errors import SourceError
from polycli.xval.data.reading import Reading, table_settings
from polycli.xval.data.source import SourceAbout, TableAbout
from polycli.xval.recipe.sources import TableSection
from polycli.xval.recipe.training import JsonSection
from polycli.xval.records.cells import split_header
from polycli.xval.records.limits import keys_beside
from polycli.xval.records.values import Value
from polycli.xval.sources.table import SUFFIXES, headers_of
from polycli.xval.sources.tables.csv_files import names_of

#: Names that a message shows.
_SHOWN = 8
#: Settings of JSON that are of records, wherever they lie.
_OF_RECORDS = ("id_key", "text_numbers")


def settings_for(paths: Sequence[Path], given: TableSection, reading: Reading) -> TableSection:
    """The settings for some tables: those of the training as far as these files have the columns, then `--set`.

    Raises:
        SourceError: a file cannot be read as a table at all.
    """
    settings = table_settings(given, reading)
    headers = _headers(paths, settings)
    changes: dict[str, object] = {}
    if settings.id_column not in {None, *headers} and "id_column" not in given.model_fields_set:
        note(f"there is no column {settings.id_column!r}, which named the rows of the training: rows are FILE:ROW")
        changes["id_column"] = None
    columns: dict[str, Literal["number", "decimal-comma", "text"]] = {
        header: kind for header, kind in settings.columns.items() if header in headers or header in given.columns
    }
    for header in headers:
        if reading.columns.get(key_of(header, settings)) == "text":
            columns.setdefault(header, "text")
    # What is asked for may be all that is a number: columns that are empty here were numbers in the training. Which
    # column names rows was decided there, too.
    return settings.model_copy(update={**changes, "columns": columns, "numbers": "optional", "row_numbers": "keep"})


def json_settings(given: JsonSection, reading: Reading) -> JsonSection:
    """The settings for JSON: what `--set` says, and else which texts were numbers, and named records, in the training.

    Where records lie in a file is of that file alone.
    """
    trained = JsonSection.model_validate({key: value for key, value in reading.options.items() if key in _OF_RECORDS})
    kept = {name: getattr(trained, name) for name in _OF_RECORDS if name not in given.model_fields_set}
    return given.model_copy(update=kept)


def refuse_other_kinds(about: SourceAbout, reading: Reading) -> None:
    """Return if what trained as numbers is read as numbers here, too.

    Raises:
        SourceError: a column is text here, because of how its numbers are written; the hint has the setting.
    """
    columns = about.columns if isinstance(about, TableAbout) else None
    for header, column in (columns or {}).items():
        if reading.columns.get(column.key) == "number" and column.undecided:
            raise SourceError(
                f"column {header!r} is numbers in the data that the model learned from, and read as text here",
                hint=f"--set 'table.columns={{{header}: number}}', or decimal-comma",
            )


def key_of(header: str, settings: TableSection) -> str:
    """The key of a column without its unit: `mass` of `mass (kg)`."""
    return split_header(header)[0] if settings.units else header.strip()


def say_lacking_keys(found: Collection[str], known: Collection[str]) -> None:
    """Say which keys that the model learned these records do not have."""
    lacking = [key for key in known if key not in found]
    if lacking:
        note(f"keys of the training that these records lack: {first_few(lacking, _SHOWN, repr)}")


def keys_split_off(reading: Reading | None, known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Maps keys of columns to the keys of limits and uncertainties that the training's tables had beside them.

    `known` are the keys that the model has seen: `mass_limit` is among them where some cell of `mass` had a `<`. Every
    row of such a table has the key, and null where its own cell is a plain number.
    """
    if reading is None or reading.source != "table":
        return {}
    beside = keys_beside(list(reading.columns))
    found = {key: tuple(name for name in names if name in known) for key, names in beside.items()}
    return {key: names for key, names in found.items() if names}


def with_keys_split_off(value: Value, beside: Mapping[str, Sequence[str]]) -> Value:
    """Returns a record with the keys that rows of the training had beside its own: null, as where there is no `<`.

    A list of the numbers of a whole file gets a list of nulls.

    >>> with_keys_split_off({"mass": 1.5, "name": "a"}, {"mass": ["mass_limit"]})
    {'mass': 1.5, 'mass_limit': None, 'name': 'a'}
    """
    if not isinstance(value, Mapping) or not any(key in value for key in beside):
        return value
    found: dict[str, Value] = {}
    for key, part in value.items():
        found[key] = part
        for name in beside.get(key, ()):
            if name not in value:
                found[name] = [None] * len(part) if isinstance(part, list | tuple) else None
    return found


class NumbersTurnedText:
    """Counts what stands at keys whose values the model learned as numbers, to say where there is nothing but text."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._texts = dict.fromkeys(keys, 0)

    def count(self, record: Mapping[str, object]) -> None:
        """Look at one record; a key at which it has a number is of no further concern."""
        for key in [key for key in self._texts if record.get(key) is not None]:
            if isinstance(record[key], str):
                self._texts[key] += 1
            else:
                del self._texts[key]

    def say(self) -> None:
        """Warn of every key that had text alone."""
        for key, count in self._texts.items():
            if count:
                warn(
                    f"{key!r} is text in all {count} records that have it, and the model learned numbers there: it is "
                    "not filled in, and misleads what is; name marks of unknown values by --set table.missing=[MARK]"
                )


def _headers(paths: Sequence[Path], settings: TableSection) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for path, name in names_of(paths, SUFFIXES):
        names = headers_of(path, name, settings)
        found |= dict.fromkeys(names)
    return tuple(found)
