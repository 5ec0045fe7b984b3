"""Opens the table of a file by the ending of its name, and reads columns of it with their gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.table_files import (
    FITS_SUFFIXES,
    HDF5_SUFFIXES,
    PARQUET_SUFFIXES,
    TEXT_SUFFIXES,
    VOTABLE_SUFFIXES,
)
from polycli.astroclip.data.tables.arrow_tables import open_parquet_table
from polycli.astroclip.data.tables.fits_tables import open_fits_table
from polycli.astroclip.data.tables.hats_tables import open_hats_table
from polycli.astroclip.data.tables.hdf5_tables import open_hdf5_table
from polycli.astroclip.data.tables.table import Reading, Table, masks_of, without_masked
from polycli.astroclip.data.tables.text_tables import open_text_table
from polycli.astroclip.data.tables.votables import open_votable
from polycli.errors import SourceError
from polycli.files.hats_folders import is_hats
from polycli.files.plain import check_plain, reason_of

_OPENERS = (
    (FITS_SUFFIXES, open_fits_table),
    (PARQUET_SUFFIXES, open_parquet_table),
    (TEXT_SUFFIXES, open_text_table),
    (VOTABLE_SUFFIXES, open_votable),
    (HDF5_SUFFIXES, open_hdf5_table),
)
_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


def open_table(path: Path, reading: Reading) -> Table:
    """The table of a file, of which the columns are known and nothing is read.

    Raises:
        SourceError: there is no such file, it is damaged, of an unknown kind, or holds no table.
    """
    if is_hats(path):
        return open_hats_table(path, reading)
    check_plain(path)
    name = path.name.lower()
    for suffixes, opener in _OPENERS:
        if name.endswith(suffixes):
            try:
                table = opener(path, reading)
            except _DAMAGE as error:
                raise SourceError(f"{path}: the table cannot be read: {reason_of(error)}") from error
            if not table.fields:
                raise SourceError(f"{path}: holds no table with one value for each row")
            return table
    raise SourceError(
        f"{path}: a table in FITS, Parquet, CSV, ECSV, VOTable or HDF5 was expected, by the ending of the name"
    )


def read_columns(table: Table, names: Sequence[str]) -> Iterator[Column]:
    """The columns of these names in this order, one after the other, with gaps where `NAME.mask` has them masked.

    Raises:
        SourceError: the file is damaged.
    """
    masks = masks_of(table.fields)
    try:
        for column in table.read(names):
            if column.name not in masks:
                yield column
                continue
            (mask,) = table.read([masks[column.name]])
            yield without_masked(column, mask.values.astype(bool)) if mask.kind == "boolean" else column
    except _DAMAGE as error:
        raise SourceError(f"{table.path}: the table cannot be read: {reason_of(error)}") from error
