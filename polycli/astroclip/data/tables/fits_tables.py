"""Tables of FITS files, read in pieces of some megabytes, of which the columns that were asked for are kept.

astropy says what the columns are. It would hold the whole table in memory, so the rows are read here, where the header
says that they lie; in a compressed file, from its beginning.
"""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, column_of
from polycli.astroclip.data.tables.choosing import chosen_part
from polycli.astroclip.data.tables.table import CHUNK, Field, LoadedTable, Reading, Table
from polycli.errors import SourceError
from polycli.files.fits_files import GZIP, open_fits

#: What is added to signed integers that stand for unsigned ones, by bytes.
_UNSIGNED = {2: 2**15, 4: 2**31, 8: 2**63}


@dataclass(frozen=True)
class _Stored:
    """How the header says that the values of a column are stored."""

    unit: str
    logical: bool
    #: TNULL of integers; None where no integer is a gap.
    null: int | None
    scale: float
    zero: float


@dataclass(frozen=True)
class FitsTable:
    """One binary table, whose header was read."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    #: Position of the rows in the file once it is unpacked, their number and their layout.
    offset: int
    rows: int
    layout: np.dtype[Any]
    #: By name of a column.
    stored: Mapping[str, _Stored] = field(repr=False)

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        kept = {name: np.empty(self.rows, self.layout[name]) for name in names}
        step = max(1, CHUNK // max(1, self.layout.itemsize))
        with _unpacked(self.path) as file:
            file.seek(self.offset)
            for start in range(0, self.rows, step):
                count = min(step, self.rows - start)
                data = file.read(count * self.layout.itemsize)
                if len(data) < count * self.layout.itemsize:
                    raise SourceError(f"{self.path}: the FITS file is truncated: row {start} and more are not there")
                piece = np.frombuffer(data, self.layout)
                for name, values in kept.items():
                    values[start : start + count] = piece[name]
        for name in names:
            yield _decoded(name, kept.pop(name), self.stored[name], self.path.name)


def open_fits_table(path: Path, reading: Reading) -> Table:
    """Read the header of a table, and compare the file with its checksums.

    Raises:
        SourceError: the file is damaged, has no table, or not the one that was asked for.
    """
    from astropy.io import fits
    from astropy.units import UnitsWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        with open_fits(path) as file:
            tables = [unit for unit in file if isinstance(unit, fits.BinTableHDU | fits.TableHDU)]
            if not tables:
                raise SourceError(
                    f"{path}: has no table HDU, only {', '.join(unit.name or 'PRIMARY' for unit in file)}"
                )
            names = {number: unit.name for number, unit in enumerate(file) if unit in tables}
            number, remarks = chosen_part(path, reading.part, names, what="table HDU", key="hdu")
            unit = file[number]
            if not isinstance(unit, fits.BinTableHDU):
                return _of_text(path, unit, remarks)
            header, columns, place = unit.header, unit.columns, unit.fileinfo()
            stored = {column.name: _stored(column) for column in columns}
            if len(stored) < len(columns):
                raise SourceError(f"{path}: HDU {number} has columns of one name", hint="give each its own name")
            layout = columns.dtype.newbyteorder(">")
            rows, width = int(header["NAXIS2"]), int(header["NAXIS1"])
            fields = [_field(column, layout[column.name]) for column in columns]
            sums = {key: str(header[key]) for key in ("DATASUM", "CHECKSUM") if key in header}
    if layout.itemsize != width:
        raise SourceError(f"{path}: HDU {number} has rows of {width} bytes, {layout.itemsize} follow from its columns")
    start, data, end = place["hdrLoc"], place["datLoc"], place["datLoc"] + place["datSpan"]
    _check_sums(path, sums, (start, data, end))
    return FitsTable(path, fields, remarks, data, rows, layout, stored)


def _of_text(path: Path, unit: Any, remarks: Sequence[str]) -> LoadedTable:  # noqa: ANN401
    """A table of characters (XTENSION TABLE), which astropy reads as a whole."""
    from astropy.table import Table as AstropyTable

    table = AstropyTable.read(unit)
    columns = {
        name: column_of(name, table[name].data, unit=str(table[name].unit or ""), source=path.name)
        for name in table.colnames
    }
    found = {name: column for name, column in columns.items() if column is not None}
    return LoadedTable(path, [Field(column.name, column.unit) for column in found.values()], remarks, found)


def _stored(column: Any) -> _Stored:  # noqa: ANN401
    return _Stored(
        unit=str(column.unit or ""),
        logical=str(column.format).lstrip("1") == "L",
        null=None if column.null in (None, "") else int(column.null),
        scale=1 if column.bscale in (None, "") else column.bscale,
        zero=column.bzero or 0,
    )


def _field(column: Any, kind: np.dtype[Any]) -> Field:  # noqa: ANN401  # astropy's objects
    unit = str(column.unit or "")
    if "P" in str(column.format) or "Q" in str(column.format):
        return Field(column.name, unit, "lists of different lengths")
    if kind.shape:
        return Field(column.name, unit, f"{int(np.prod(kind.shape))} values in each row")
    return Field(column.name, unit, "complex numbers" if kind.kind == "c" else "")


def _decoded(name: str, raw: NDArray[Any], stored: _Stored, source: str) -> Column:
    """Numbers as TNULL, TSCAL and TZERO of the header say, texts up to their first zero byte, T and F as booleans."""
    unit = stored.unit
    if raw.dtype.kind == "S":
        ended = np.array([value.partition(b"\0")[0] for value in raw.tolist()], raw.dtype)
        found = column_of(name, ended, unit=unit, source=source)
    elif stored.logical:
        unknown = (raw != ord("T")) & (raw != ord("F"))
        found = column_of(name, np.ma.masked_array(raw == ord("T"), unknown), unit=unit, source=source)
    else:
        missing: Any = np.ma.nomask
        if stored.null is not None and raw.dtype.kind in "iu":
            missing = raw == stored.null
        values = _scaled(raw, stored.scale, stored.zero)
        found = column_of(name, np.ma.masked_array(values, missing), unit=unit, source=source)
    if found is None:
        raise SourceError(f"{source}: column {name} does not hold one value in each row")
    return found


def _scaled(raw: NDArray[Any], scale: float, zero: float) -> NDArray[Any]:
    """Integers whose offset makes them unsigned, or signed bytes, exactly; all else that is scaled as float64."""
    if scale == 1 and zero == 0:
        return raw
    bits = raw.dtype.itemsize
    if scale == 1 and raw.dtype.kind == "i" and zero == _UNSIGNED.get(bits):
        unsigned = raw.astype(f"i{bits}").view(f"u{bits}")
        return np.asarray(unsigned ^ unsigned.dtype.type(zero))
    if scale == 1 and raw.dtype == np.uint8 and zero == -128:
        return raw.astype(np.int64) - 128
    return np.asarray(raw.astype(np.float64) * scale + zero)


def _check_sums(path: Path, sums: dict[str, str], places: tuple[int, int, int]) -> None:
    """Compare the bytes of an HDU with its checksums, a piece at a time (FITS standard 4.0, section 4.4.2.7).

    Raises:
        SourceError: they differ.
    """
    if not sums:
        return
    start, data, end = places
    with _unpacked(path) as file:
        file.seek(start)
        of_header = _sum(file, data - start)
        of_data = _sum(file, end - data)
    wrong = []
    if sums.get("DATASUM", "").strip().isdigit() and int(sums["DATASUM"]) != of_data:
        wrong.append("Datasum")
    if "CHECKSUM" in sums and set(sums["CHECKSUM"]) != {"0"} and _folded(of_header + of_data) != 2**32 - 1:
        wrong.append("Checksum")
    if wrong:
        raise SourceError(
            f"{path}: the FITS file is truncated or damaged: {wrong[0]} verification failed", hint="fetch it again"
        )


def _sum(file: IO[bytes], count: int) -> int:
    total = 0
    while count > 0:
        piece = file.read(min(CHUNK, count))
        if not piece:
            break
        count -= len(piece)
        total = _folded(total + int(np.frombuffer(piece, ">u4").sum(dtype=np.uint64)))
    return total


def _folded(total: int) -> int:
    """Adds the carries of a sum of 32-bit numbers back to it, as ones' complement does."""
    while total >> 32:
        total = (total & (2**32 - 1)) + (total >> 32)
    return total


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return io.BufferedReader(gzip.open(path, "rb"), CHUNK) if packed else path.open("rb")
