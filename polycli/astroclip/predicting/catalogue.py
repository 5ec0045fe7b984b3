"""Catalogues of predictions on disk: Parquet or FITS, with the checkpoint and its hash in their metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polycli.astroclip.data.description import OWN_COLUMNS
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

    The first two hold a hash of all their bytes, for `inspect --verify`, and the units of columns: the document's
    `units` and those of a position, in FITS as TUNIT, in Parquet as the metadata `unit` of a column.
    """
    units = {**{name: OWN_COLUMNS[name] for name in ("ra", "dec")}, **document["units"]}
    if path.suffix == ".fits":
        _write_fits(path, table, document, units)
        return
    if path.suffix == ".csv":
        _write_csv(path, table)
        return
    from pyarrow import parquet

    about = json.dumps({"schema_version": _SCHEMA_VERSION, **document})
    table = _with_units(table, units)
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


def _fits_unit(text: str) -> str:
    r"""A unit as FITS can hold it, in ASCII; empty where it cannot.

    >>> _fits_unit("log10(Msun)"), _fits_unit("\N{MICRO SIGN}Jy"), _fits_unit("\N{GREEK SMALL LETTER XI}")
    ('log10(Msun)', 'uJy', '')
    """
    from astropy import units

    if text.isascii():
        return text
    try:
        return str(units.Unit(text).to_string("fits"))
    except ValueError:
        return ""


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


def _with_units(table: pa.Table, units: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    fields = [
        field.with_metadata({"unit": units[field.name]}) if field.name in units else field for field in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def _write_fits(path: Path, table: pa.Table, document: JsonDocument, units: Mapping[str, str]) -> None:
    import pyarrow as pa
    from astropy.io import fits
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
    unit = fits.table_to_hdu(found)
    for place, name in enumerate(columns, start=1):
        # As the source wrote it: astropy would warn of texts that it does not know, and change some that it does.
        if text := _fits_unit(units.get(name, "")):
            unit.header.set(f"TUNIT{place}", text, after=f"TFORM{place}")
    unit.writeto(path, overwrite=True)
    seal(path, token)
