"""Reads tables, FITS, Parquet, CSV or HDF5, into columns: integers exactly, gaps as gaps."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polycli.astroclip.data.columns import Column, column_of
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits
from polycli.files.hdf5 import open_hdf5
from polycli.files.parquet import open_parquet
from polycli.files.plain import check_plain, reason_of

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fits.fz")
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")


def read_table(path: Path) -> list[Column]:
    """The columns with one value for each row, in order; vectors are left out.

    Raises:
        SourceError: there is no such file, it is damaged, of an unknown kind, or holds no table.
    """
    name = path.name.lower()
    check_plain(path)
    try:
        if name.endswith(FITS_SUFFIXES):
            found = _fits(path)
        elif name.endswith((".parquet", ".pq")):
            found = _parquet(path)
        elif name.endswith((".csv", ".csv.gz", ".tsv")):
            found = _csv(path)
        elif name.endswith(HDF5_SUFFIXES):
            found = _hdf5(path)
        else:
            raise SourceError(f"{path}: a table in FITS, Parquet, CSV or HDF5 was expected, by the ending of the name")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise SourceError(f"{path}: the table cannot be read: {reason_of(error)}") from error
    columns = [column for column in found if column is not None]
    if not columns:
        raise SourceError(f"{path}: holds no table with one value for each row")
    return columns


def find_column(columns: Sequence[Column], names: Iterable[str], *, path: Path, what: str) -> Column:
    """The first of the named columns that is there.

    Raises:
        SourceError: none is; the nearest names are in the sentence.
    """
    wanted = list(names)
    by_name = {column.name: column for column in columns}
    for name in wanted:
        if name in by_name:
            return by_name[name]
    raise SourceError(
        f"{path}: has no column {' or '.join(wanted)} ({what})", hint=nearest_names(wanted[0], list(by_name))
    )


def nearest_names(wanted: str, names: Sequence[str]) -> str:
    """Suggests names that may have been meant by `wanted`."""
    lower = {name.lower(): name for name in reversed(names)}
    near = [lower[name] for name in difflib.get_close_matches(wanted.lower(), lower, n=3, cutoff=0.5)]
    inside = [name for name in names if wanted.lower() in name.lower() and name not in near][:2]
    if near or inside:
        return f"did you mean {' or '.join([*near, *inside][:3])}?"
    shown = ", ".join(names[:12])
    return f"it has {shown}{' and others' if len(names) > 12 else ''}"


def _fits(path: Path) -> list[Column | None]:
    from astropy.io import fits
    from astropy.table import Table
    from astropy.units import UnitsWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        with open_fits(path, checksums=True) as file:
            tables = [hdu for hdu in file if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            if not tables:
                raise SourceError(f"{path}: has no table HDU, only {', '.join(hdu.name or 'PRIMARY' for hdu in file)}")
            # Text is compared byte by byte below, so masks by empty strings would only confuse.
            table = Table.read(tables[0], mask_invalid=False)
            units = {column.name: column.unit or "" for column in tables[0].columns}
            null = {column.name: column.null for column in tables[0].columns if column.null not in (None, "")}
    return [_with_null(name, table[name], null.get(name), units.get(name, ""), path.name) for name in table.colnames]


def _with_null(name: str, values: Any, null: Any, unit: str, source: str) -> Column | None:  # noqa: ANN401
    data = values.filled() if isinstance(values, np.ma.MaskedArray) and null is None else values
    plain = np.asarray(np.ma.getdata(data))
    if null is not None and plain.dtype.kind in "iu":
        return column_of(name, np.ma.masked_array(plain, plain == null), unit=unit, source=source)
    return column_of(name, plain, unit=unit, source=source)


def _parquet(path: Path) -> list[Column | None]:
    with open_parquet(path) as file:
        table = file.read()
    return [_arrow(name, table.column(name), path.name) for name in table.column_names]


def _csv(path: Path) -> list[Column | None]:
    import pyarrow as pa
    from pyarrow import csv

    delimiter = "\t" if path.name.lower().endswith(".tsv") else ","
    try:
        table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
    except pa.ArrowException as error:
        raise SourceError(f"{path}: the CSV file cannot be read: {error}") from error
    return [_arrow(name, table.column(name), path.name) for name in table.column_names]


def _arrow(name: str, chunked: Any, source: str) -> Column | None:  # noqa: ANN401
    """A column of Arrow without the way over pandas, which makes floats of integers with gaps."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunked.type
    if pa.types.is_dictionary(kind):
        chunked, kind = chunked.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind) or not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
    ):
        return None
    if pa.types.is_floating(kind):
        return column_of(name, chunked.to_numpy(), source=source)
    gaps = chunked.is_null().to_numpy()
    if gaps.any():
        filler: Any = 0 if pa.types.is_integer(kind) else False if pa.types.is_boolean(kind) else ""
        if pa.types.is_binary(kind):
            filler = b""
        chunked = pc.fill_null(chunked, pa.scalar(filler, kind))
    values = chunked.to_numpy()
    return column_of(name, np.ma.masked_array(values, gaps) if gaps.any() else values, source=source)


def _hdf5(path: Path) -> list[Column | None]:
    import h5py

    with open_hdf5(path) as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        records = next((item for item in datasets.values() if item.dtype.names and item.ndim == 1), None)
        if records is not None:
            rows = records[()]
            return [column_of(name, rows[name], source=path.name) for name in rows.dtype.names]
        vectors = {name: item for name, item in datasets.items() if item.ndim == 1}
        lengths = {item.shape[0] for item in vectors.values()}
        if len(lengths) > 1:
            raise SourceError(f"{path}: the vectors in it have {sorted(lengths)} entries, one length was expected")
        return [column_of(name, item[()], source=path.name) for name, item in vectors.items()]
