"""The interface by which a catalogue is read: which columns a file has, and those that were asked for, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column

#: Bytes that are looked at together, where a file's columns lie between each other.
CHUNK = 8 * 2**20
#: What comes behind the name of a column of truth values that says where another column has no value (astropy's).
_MASK = ".mask"


@dataclass(frozen=True)
class Field:
    """One column of a file, before it is read."""

    name: str
    unit: str = ""
    #: Why it cannot be a property, such as `3 values in each row`; empty where it can.
    unusable: str = ""


@dataclass(frozen=True)
class Reading:
    """Settings for reading a table that its file does not tell."""

    #: The HDU, table or group: its name, or its number from 0.
    part: str | int | None = None
    #: Texts that mark a missing value, beside those that everybody uses.
    marks: tuple[str, ...] = ()


class Table(Protocol):
    """One table of a file."""

    @property
    def path(self) -> Path:
        """The file that the table is in."""
        ...

    @property
    def fields(self) -> Sequence[Field]:
        """Its columns, in order."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences for the user: which of several tables this is, and what was guessed."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names in this order, whole; of others nothing is kept in memory."""
        ...


@dataclass(frozen=True)
class LoadedTable:
    """A table of a format that is read as a whole."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    columns: Mapping[str, Column]

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        return (self.columns[name] for name in names)


def usable(fields: Sequence[Field]) -> list[str]:
    """The names of the columns that hold one value in each row, without the masks of others."""
    masks = masks_of(fields)
    return [field.name for field in fields if not field.unusable and field.name not in masks.values()]


def masks_of(fields: Sequence[Field]) -> dict[str, str]:
    """The column `NAME.mask` of each that has one, by which astropy says where there is no value."""
    names = {field.name for field in fields}
    return {name: name + _MASK for name in names if name + _MASK in names}


def without_masked(column: Column, masked: NDArray[np.bool_]) -> Column:
    """The column with gaps where it is masked."""
    if not masked.any():
        return column
    return column.take(np.where(masked, -1, np.arange(len(masked))).astype(np.int64))
