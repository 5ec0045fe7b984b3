"""Columns beside the data: integers stay integers and text stays text, also where some objects lack a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import NULL_SUFFIX, PROPERTY_PREFIX, PropertyDescription, PropertyKind
from polycli.errors import SourceError, StoreError

#: By numpy's letter.
_KINDS: dict[str, PropertyKind] = {"f": "float", "i": "integer", "b": "boolean", "O": "text"}


@dataclass(frozen=True)
class Column:
    """One property of all objects, with its unit and where it comes from."""

    name: str
    #: float32, float64, int64, bool, or object holding str.
    values: NDArray[Any]
    unit: str = ""
    source: str = ""
    #: False where an object lacks the value; None where none does. Floats say so by NaN instead.
    valid: NDArray[np.bool_] | None = None

    @property
    def kind(self) -> PropertyKind:
        """The kind of the values: integer, float, text or truth value."""
        return _KINDS[self.values.dtype.kind]

    @property
    def nullable(self) -> bool:
        """Whether some objects may lack a value."""
        return self.kind == "float" or self.valid is not None

    def describe(self, name: str, array: str) -> PropertyDescription:
        """Returns the manifest's entry for this column, which is called `name` and lies in the store as `array`."""
        return PropertyDescription(
            name=name, array=array, unit=self.unit, kind=self.kind, nullable=self.nullable, source=self.source
        )

    def take(self, places: NDArray[np.int64]) -> Column:
        """The column at these rows; -1 is an object that has none of it."""
        missing = places < 0
        if not missing.any():
            valid = None if self.valid is None else self.valid[places]
            return Column(self.name, self.values[places], self.unit, self.source, valid)
        values = np.full(len(places), _filler(self.kind), dtype=self.values.dtype)
        values[~missing] = self.values[places[~missing]]
        if self.kind == "float":
            return Column(self.name, values, self.unit, self.source)
        valid = np.zeros(len(places), dtype=np.bool_)
        valid[~missing] = True if self.valid is None else self.valid[places[~missing]]
        return Column(self.name, values, self.unit, self.source, valid)

    def renamed(self, name: str) -> Column:
        """The same column under another name."""
        return Column(name, self.values, self.unit, self.source, self.valid)

    def slice(self, start: int, stop: int) -> Column:
        """Some consecutive rows; a column that may lack values stays one."""
        valid = None if self.valid is None else self.valid[start:stop]
        return Column(self.name, self.values[start:stop], self.unit, self.source, valid)


def column_of(name: str, values: Any, *, unit: str = "", source: str = "") -> Column | None:  # noqa: ANN401
    """A column from whatever a file reader returned: numpy, masked or not, big or little endian; None for vectors.

    Unsigned integers that 64 signed bits do not hold become texts, digit for digit.
    """
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    plain: NDArray[Any] = np.asarray(np.ma.getdata(values))
    if plain.ndim != 1:
        return None
    valid = None if mask is None or not mask.any() else ~mask
    kind = plain.dtype.kind
    if kind == "f":
        exact = plain.astype(np.float32 if plain.dtype.itemsize <= 4 else np.float64)
        if valid is not None:
            exact[~valid] = np.nan
        return Column(name, exact, unit, source)
    if kind == "b":
        return Column(name, plain.astype(np.bool_), unit, source, valid)
    if kind == "u" and plain.size and int(plain.max()) > np.iinfo(np.int64).max:
        plain, kind = plain.astype(object), "O"
    if kind in "iu":
        return Column(name, plain.astype(np.int64), unit, source, valid)
    return Column(name, as_text(plain), unit, source, valid) if kind in "SUO" else None


def as_text(values: NDArray[Any]) -> NDArray[np.object_]:
    """Bytes as UTF-8, the padding of fixed widths dropped; text as it is."""
    result = np.empty(len(values), dtype=object)
    result[:] = [
        value.decode("utf-8", "replace").rstrip("\0 ") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    ]
    return result


def as_ids(values: Any, *, what: str) -> NDArray[Any]:  # noqa: ANN401
    """Ids as int64 or as an object array of str, exactly.

    Raises:
        SourceError: they are floats, which cannot hold a 64-bit id, or have gaps or several axes.
    """
    column = column_of("id", values, source=what)
    if column is None:
        raise SourceError(f"{what}: ids are {np.asarray(values).shape}, one id for each object was expected")
    if column.kind in ("float", "boolean"):
        raise SourceError(
            f"{what}: ids are {np.asarray(values).dtype}, integers or text were expected",
            hint="a float has 53 bits and changes ids such as 39633297352951412: write them as int64 or text",
        )
    if column.valid is not None:
        raise SourceError(f"{what}: {int((~column.valid).sum())} objects have no id")
    return column.values


def joined(columns: Sequence[Column], others: Sequence[Column], *, suffix: str) -> list[Column]:
    """Both lists; a name that is there already gets the suffix."""
    taken = {column.name for column in columns}
    result = list(columns)
    for column in others:
        name = column.name
        while name in taken:
            name = f"{name}{suffix}"
        taken.add(name)
        result.append(column.renamed(name))
    return result


def stacked(parts: Sequence[Sequence[Column]], lengths: Sequence[int]) -> list[Column]:
    """Columns of several files, one behind the other; a file that lacks one has gaps there.

    Raises:
        SourceError: a column is text in one file and numbers in another, or in another unit.
    """
    names = list(dict.fromkeys(column.name for part in parts for column in part))
    total = sum(lengths)
    result = []
    for name in names:
        found = [next((column for column in part if column.name == name), None) for part in parts]
        present = [column for column in found if column is not None]
        kinds = {column.kind for column in present}
        if len(kinds) > 1 and "text" in kinds:
            text = next(column for column in present if column.kind == "text")
            raise SourceError(f"column {name} is text in {text.source} and numbers in another file")
        first = next((column for column in present if column.unit.strip()), present[0])
        for other in present:
            if other_unit(first.unit, other.unit):
                raise SourceError(
                    f"column {name} is in {first.unit} in {first.source} and in {other.unit} in {other.source}",
                    hint="prepare these files one by one, or bring the column to one unit",
                )
        dtype = np.dtype(object) if "text" in kinds else np.result_type(*(column.values.dtype for column in present))
        kind = _KINDS[dtype.kind]
        values = np.full(total, _filler(kind), dtype=dtype)
        valid = np.zeros(total, np.bool_)
        start = 0
        for column, length in zip(found, lengths, strict=True):
            if column is not None:
                values[start : start + length] = column.values
                if kind == "float" and column.valid is not None:
                    # Whole numbers that have gaps in one file, and floats in another.
                    values[start : start + length][~column.valid] = np.nan
                valid[start : start + length] = True if column.valid is None else column.valid
            start += length
        gaps = kind != "float" and not valid.all()
        result.append(Column(name, values, first.unit, present[0].source, valid if gaps else None))
    return result


def other_unit(one: str, other: str) -> bool:
    """Whether two units that are stated are not one and the same, however they are written.

    >>> other_unit("nJy", "uJy"), other_unit("uJy", "microJansky"), other_unit("nJy", "")
    (True, False, False)
    """
    if not one.strip() or not other.strip() or one.strip() == other.strip():
        return False
    from astropy import units

    first, second = (units.Unit(text, parse_strict="silent") for text in (one, other))
    return bool(first != second)


def one_unit(name: str, said: Mapping[str, str]) -> str:
    """Finds the unit of a column of several stores, which is empty where none states it.

    Args:
        name: of the column.
        said: its unit by store.

    Raises:
        StoreError: two stores state different ones.
    """
    place, unit = next(((place, unit) for place, unit in said.items() if unit), ("", ""))
    for another, theirs in said.items():
        if other_unit(unit, theirs):
            raise StoreError(
                f"{another}: column {name} is in {theirs}, and in {unit} in {place}",
                hint="prepare both with the column in one unit",
            )
    return unit


def array_names(columns: Sequence[Column]) -> list[str]:
    """Names the columns' arrays: the columns' names as far as letters, digits and underscores go."""
    taken: set[str] = set()
    names = []
    for column in columns:
        plain = PROPERTY_PREFIX + re.sub(r"[^A-Za-z0-9]+", "_", column.name).strip("_")
        name, number = plain, 2
        while name.lower() in taken or name.endswith((NULL_SUFFIX, "_offsets")):
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _filler(kind: PropertyKind) -> Any:  # noqa: ANN401
    return {"float": np.nan, "integer": 0, "boolean": False, "text": ""}[kind]
