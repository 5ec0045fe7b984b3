"""Catalogues of predictions on disk: Parquet or FITS, with the checkpoint and its hash in their metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polycli.errors import SourceError, UserError
from polycli.files.fits_files import open_fits
from polycli.outputs import OutputKind
from polycli.requests import JsonDocument
from polycli.store.embeddings.manifest import METADATA_KEY, PARQUET_SEAL_KEY
from polycli.store.sealing import FITS_SEAL, FITS_VERSION, new_seal, seal

if TYPE_CHECKING:
    import pyarrow as pa

#: Since 2, catalogues are sealed: see `polycli.store.sealing`.
_SCHEMA_VERSION = 2


def write_catalogue(path: Path, table: pa.Table, document: JsonDocument) -> None:
    """Parquet, with the document in its metadata under `polycli`, FITS with its hashes in the header, or plain CSV.

    The first two hold a hash of all their bytes, for `inspect --verify`.
    """
    if path.suffix == ".fits":
        _write_fits(path, table, document)
        return
    if path.suffix == ".csv":
        _write_csv(path, table)
        return
    from pyarrow import parquet

    about = json.dumps({"schema_version": _SCHEMA_VERSION, **document})
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA_KEY.encode(): about.encode()})
    token = new_seal()
    with parquet.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PARQUET_SEAL_KEY: token})
    seal(path, token)


def _is_catalogue(path: Path) -> bool:
    """Whether a file has what `write_catalogue` leaves in its metadata or header."""
    try:
        if path.suffix == ".csv":
            return _is_csv_catalogue(path)
        if path.suffix == ".fits":
            with open_fits(path) as file:
                return len(file) > 1 and all(key in file[1].header for key in _CARDS)
        from pyarrow import ArrowException, parquet

        try:
            said = json.loads((parquet.read_schema(path).metadata or {}).get(METADATA_KEY.encode(), b"{}"))
        except ArrowException:
            return False
    except (OSError, SourceError, ValueError):
        return False
    return isinstance(said, dict) and {"by", "objects", "columns"} <= said.keys()


#: Header cards of a FITS catalogue, and which key of the document each holds.
_CARDS = {"CHECKPT": "checkpoint", "MODEL": "model_hash", "VERSION": "version", "BY": "by"}
CATALOGUES = OutputKind("predictions", (".parquet", ".fits", ".csv"), _is_catalogue)
#: The first columns of every catalogue, by which a CSV file is known again.
_CSV_BEGINS = ("object_id", "ra", "dec")


def _is_csv_catalogue(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return tuple(name.strip('"') for name in file.readline(1000).strip().split(",")[:3]) == _CSV_BEGINS


def _write_csv(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    from pyarrow import csv

    lists = [field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)]
    if lists:
        raise UserError(f"column {lists[0]} has lists, which a CSV file cannot hold", hint="write .parquet or .fits")
    csv.write_csv(table, path)


def _write_fits(path: Path, table: pa.Table, document: JsonDocument) -> None:
    import pyarrow as pa
    from astropy.table import Table

    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type):
            columns[name] = np.stack(column.to_numpy())
            continue
        values = column.to_numpy()
        columns[name] = values.astype(str) if values.dtype == object else values
    # Names before what stands under them: which class is predicted must not change what is said.
    texts = [(name, name) for name in columns]
    texts += [(name, text) for name, values in columns.items() if values.dtype.kind == "U" for text in values.tolist()]
    for name, text in texts:
        if not text.isascii():
            raise UserError(
                f"{text!r} of column {name} cannot be written to FITS, which holds ASCII alone", hint="write .parquet"
            )
    found = Table(columns)
    for card, key in _CARDS.items():
        value = Path(document[key]).name if card == "CHECKPT" else document[key]
        found.meta[card] = value.encode("ascii", "backslashreplace").decode("ascii")
    token = new_seal()
    found.meta |= {FITS_VERSION: _SCHEMA_VERSION, FITS_SEAL: token}
    found.write(path, format="fits", overwrite=True)
    seal(path, token)
