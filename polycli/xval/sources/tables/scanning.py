"""The look at every cell of tables of text: how columns are read, which one counts rows, and where blocks begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from polycli.console import progress, say, terminal
from polycli.errors import SourceError
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.cells import same_unit
from polycli.xval.sources.tables.cell_chunks import cell_chunks
from polycli.xval.sources.tables.chunks import CHUNK_ROWS
from polycli.xval.sources.tables.columns import Column, Tally, decide
from polycli.xval.sources.tables.csv_files import CsvFile, Place
from polycli.xval.sources.tables.row_numbers import column_of_row_numbers

BLOCK_ROWS = CHUNK_ROWS
#: Of files that can only be read from their beginning on: so many times more rows make a block.
_LARGER = 32
#: Bytes from which on the look at all cells tells how far it is.
_MUCH = 2**23


@dataclass(frozen=True)
class CsvPiece:
    """A run of rows of one file."""

    file: CsvFile
    start: Place
    #: Number of the first row in its file, and how many there are.
    first: int
    count: int
    #: The byte behind the last one, where it is known.
    stop: int | None = None


def scan(
    files: Sequence[CsvFile], section: TableSection, limit: int | None
) -> tuple[TableSection, list[Column], list[CsvPiece], list[str]]:
    """Look at every cell: how columns are read, where blocks begin, and what to say of it.

    Where a column counts the rows, it is the `id_column` of the settings that come back.
    """
    tallies: dict[str, Tally] = {}
    pieces: list[CsvPiece] = []
    left = limit
    with _looking(files) as tell:
        for file in files:
            most = left if section.record == "row" else None
            counted = [tallies.setdefault(header, Tally()) for header in file.header]
            count, starts = _count_cells(file, counted, section, most, tell)
            if section.record == "row":
                stops = [*(start.byte for start in starts[1:]), None]
                pieces += [
                    CsvPiece(file, start, first, min(_block_rows(file), count - first), stop)
                    for start, stop, first in zip(starts, stops, range(0, count, _block_rows(file)), strict=True)
                ]
            else:
                pieces.append(CsvPiece(file, starts[0], 0, count))
            if left is not None:
                left -= count if section.record == "row" else 1
                if left <= 0:
                    break
    for name in (*section.columns, *([section.id_column] if section.id_column else [])):
        if name not in tallies:
            raise SourceError(f"there is no column {name!r}", hint=f"the files have {', '.join(tallies)}")
    counting = column_of_row_numbers({header: tally.counts for header, tally in tallies.items()})
    if counting is not None and section.id_column is None and (section.record, section.row_numbers) == ("row", "name"):
        section = section.model_copy(update={"id_column": counting})
    else:
        counting = None
    columns, reports = decide(tallies, section, _units_below(files))
    if counting is not None:
        reports.append(
            f"column {counting!r}: counts the rows, so it names the records and is no quantity; "
            "--set table.row_numbers=keep keeps it as numbers"
        )
    if section.numbers == "required" and not any(column.decimal and tallies[column.header].units for column in columns):
        cut = files[0].layout.delimiter
        raise SourceError(
            f"{files[0].name}: nothing in it is a number, in {len(columns)} columns cut at {cut!r} "
            f"({', '.join(list(tallies)[:4])}){': ' + reports[0] if reports else ''}",
            hint="--set table.delimiter=X, if it is cut wrongly; --set table.numbers=optional takes texts alone",
        )
    said = [f"{file.name}: {remark}" for file in files for remark in file.layout.remarks]
    return section, columns, pieces, [*said, *reports]


def _block_rows(file: CsvFile) -> int:
    return BLOCK_ROWS if file.seekable else BLOCK_ROWS * _LARGER


def _count_cells(
    file: CsvFile, tallies: Sequence[Tally], section: TableSection, most: int | None, tell: Callable[[int], None]
) -> tuple[int, list[Place]]:
    """Count the cells of a file; returns how many rows it has, and where blocks of them begin.

    Raises:
        SourceError: the file has no rows, or is malformed.
    """
    missing = section.marks
    starts: list[Place] = []
    count = 0
    for place, columns in cell_chunks(file, count=most, size=BLOCK_ROWS):
        if count % _block_rows(file) == 0:
            starts.append(place)
        for tally, cells in zip(tallies, columns, strict=True):
            tally.add(cells, missing, section.thousands)
        count += len(columns[0])
        tell(place.byte if file.seekable else 0)
    tell(file.path.stat().st_size if file.seekable else 0)
    if count == 0:
        raise SourceError(f"{file.name}: there are no rows below the header")
    return count, starts


@contextmanager
def _looking(files: Sequence[CsvFile]) -> Iterator[Callable[[int], None]]:
    """A report of progress where there is much to look at; it is told at which byte of a file the look is."""
    total = sum(file.path.stat().st_size for file in files if file.seekable)
    if total < _MUCH:
        yield lambda byte: None  # noqa: ARG005  # called by place
        return
    if not terminal():
        say(f"looking at all cells: {total / 1e6:,.0f} MB")  # A bar is there at once, a line of progress after a while.
    with progress(total, "looking at all cells (bytes)") as bar:
        last = 0

        def tell(byte: int) -> None:
            nonlocal last
            # A lower one than before is of the next file.
            bar.advance(byte - last if byte >= last else byte)
            last = byte

        yield tell


def _units_below(files: Sequence[CsvFile]) -> dict[str, str]:
    """Maps headers to the units of the rows below them.

    Raises:
        SourceError: two files state different units of one column.
    """
    found: dict[str, str] = {}
    for file in files:
        for header, unit in zip(file.header, file.layout.units or (), strict=False):
            if unit is not None and not same_unit(found.setdefault(header, unit), unit):
                raise SourceError(f"{file.name}: {header!r} is in {unit}, in other files in {found[header]}")
    return found
