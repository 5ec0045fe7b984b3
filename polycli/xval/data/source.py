"""The interface by which `prepare` reads any source of records: blocks, which write their records to a writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from polycli.json_records import IF_GIVEN, JsonObject
from polycli.workflow import sources
from polycli.xval.data.flat_rows import FlatRows
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import Value


class RecordWriter(Protocol):
    """Takes what a block reads, record by record."""

    def add(self, value: Value, *, id: str, group: str | None = None) -> None:  # noqa: A002  # the field's word
        """One record.

        A float that is NaN or infinite becomes null, and is counted. A list or tuple is an array, a dict with text keys
        an object. `group`, where it is given, counts more than the recipe's `group_by`.

        Raises:
            RecordError: the value is nothing that JSON has, or is nested too deeply; `reject` it, or name the line.
        """
        ...

    def reject(self, *, id: str, reason: str) -> None:  # noqa: A002
        """A record that is left out, and why; the manifest lists it."""
        ...

    def count(self, what: str, n: int = 1) -> None:
        """A note for the coverage report, such as "empty lines" or "np.float64(...) read as the number inside"."""
        ...

    def characters(self, n: int) -> None:
        """Counts input characters that these records stand for, where the input is text."""
        ...


class Block(Protocol):
    """A fixed piece of a source, whatever the number of workers or parts. Picklable, and small when pickled."""

    @property
    def key(self) -> str:
        """Unique within the source and the same in every run: `planets-000003`, `data.jsonl@8388608`."""
        ...

    @property
    def source(self) -> str:
        """The origin of its records: a file name relative to the input, or the name of a generator."""
        ...

    @property
    def size(self) -> int:
        """Bytes of input or records to make: for progress and estimates alone, so of one unit within a source."""
        ...

    def load(self, writer: RecordWriter) -> None:
        """Write all records of this block, in order.

        Raises:
            SourceError: the input is malformed; the message names file, line and column.
        """
        ...


@runtime_checkable
class FlatBlock(Protocol):
    """A block of rows that can also be read column by column, which is quicker."""

    def flat(self) -> tuple[FlatRows, Callable[[int], Value]] | None:
        """All its rows, and a function that gives a row as `load` writes it; None where it must be read row by row."""
        ...


@dataclass(frozen=True, kw_only=True)
class SourceAbout:
    """Facts about data for the manifest. Each source has a record of its own, whose fields are the keys there."""

    def stated_units(self) -> Mapping[str, str]:
        """Maps key paths to the units that the source states."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ColumnAbout:
    """How a column of a table was read."""

    #: The key of its values, and their unit; None where none is stated.
    key: str
    unit: str | None
    read_as: Literal["number", "text"]
    #: Whether another reading is as likely; absent where it is not.
    undecided: bool | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class TableAbout(SourceAbout):
    """Facts about tables: their columns, units and what was decided."""

    #: By header; absent of files whose columns have types of their own.
    columns: Mapping[str, ColumnAbout] | None = field(default=None, metadata=IF_GIVEN)
    units: Mapping[str, str]
    #: What was decided, as the user was told.
    reports: Sequence[str] | None = field(default=None, metadata=IF_GIVEN)
    #: The column that counts rows and so names the records, where nobody said it.
    row_numbers: str | None = field(default=None, metadata=IF_GIVEN)

    def stated_units(self) -> Mapping[str, str]:
        """Maps key paths to the units of its columns."""
        return self.units


@dataclass(frozen=True)
class Opened:
    """A source that was looked at and cut into blocks, but not yet read."""

    blocks: tuple[Block, ...]
    #: Files that the blocks read, and what the manifest calls them: names relative to the input. None for a generator.
    files: tuple[Path, ...] = ()
    file_names: tuple[str, ...] = ()
    #: Facts about the data for the manifest: units per key path, constants of a generator, `synthetic: true`.
    about: SourceAbout = field(default_factory=SourceAbout)
    #: What decides the content besides the files: the resolved recipe section of this source.
    options: JsonObject = field(default_factory=dict)
    #: How many records there are, where the source can tell before reading them.
    records: int | None = None
    #: Seconds of work for one process, where the source can tell.
    seconds: float | None = None

    @property
    def named_files(self) -> tuple[tuple[Path, str], ...]:
        """The files with what the manifest calls them: as the source says, or their plain names."""
        names = self.file_names or tuple(path.name for path in self.files)
        return tuple(zip(self.files, names, strict=True))


#: What `polycli.workflow.sources` finds for this family. `limit` keeps at most that many records in all.
Source: TypeAlias = "sources.Source[PrepareRecipe, Opened]"
