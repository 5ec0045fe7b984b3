"""A row of another file as a query: by its vector if the file is embeddings of the same model, by id or position."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polycli.errors import SourceError, UserError
from polycli.files.fits_files import open_fits
from polycli.files.plain import reason_of
from polycli.search.scan import Floats
from polycli.search.searcher import Searcher
from polycli.store.embeddings.kind import read_manifest

_RA, _DEC = ("ra", "target_ra", "raj2000", "ra_j2000"), ("dec", "target_dec", "dej2000", "dec_j2000")
_FITS = (".fits", ".fits.gz", ".fit", ".fits.fz")


@dataclass(frozen=True)
class OtherVector:
    """A vector of other embeddings of the same model, and what it is of, such as `spectrum`."""

    vector: Floats
    kind: str


def row_elsewhere(path: Path, place: int, searcher: Searcher, kind: str | None, radius: float) -> int | OtherVector:
    """The row of `searcher` that a row of another table stands for, or the vector of a row of other embeddings.

    Args:
        path: embeddings, or a table that astropy reads: FITS, CSV, ECSV, VOTable, Parquet.
        place: the row in it, counted from 0.
        searcher: the embeddings that are searched.
        kind: which vector of other embeddings; absent, of the kind that is searched, or else the first they have.
        radius: degrees within which a position must agree.

    Raises:
        UserError: there is no such row, or it has neither vector nor id nor position; the embeddings are of another
            model.
        SourceError: the file cannot be read.
    """
    if read_manifest(path):
        return _vector(Searcher.open(path), place, searcher, kind)
    # In a CSV nothing tells the text 007 from the number 7, and both may be ids.
    as_text = searcher.id_column is not None and isinstance(searcher.ids([0])[0], str)
    row = {name.lower(): value for name, value in _row(path, place, csv_as_text=as_text).items()}
    wanted = (searcher.id_column or "").lower()
    if row.get(wanted) is not None:
        return searcher.row_of(row[wanted])
    ra, dec = (next((row[name] for name in names if row.get(name) is not None), None) for names in (_RA, _DEC))
    if ra is None or dec is None:
        raise UserError(
            f"{path}: row {place} has neither {searcher.id_column or 'an id'} nor a position ra, dec, only "
            f"{', '.join(row)}"
        )
    return searcher.row_at(float(ra), float(dec), radius)[0]


def _vector(other: Searcher, place: int, searcher: Searcher, kind: str | None) -> OtherVector:
    models = [(each.manifest.get("provenance") or {}).get("model_hash") for each in (other, searcher)]
    if models[0] != models[1]:
        raise UserError(
            f"{other.path}: is of the model {str(models[0])[:12]}, and {searcher.path} of {str(models[1])[:12]}, so "
            "their vectors cannot be compared",
            hint="embed both with one checkpoint",
        )
    if kind is None:
        kind = next(name for name in (*searcher.kinds, *other.kinds) if name in other.kinds)
    column = other.vector_column(kind)
    return OtherVector(np.asarray(other.vectors([place], column)[0], np.float32), other.kind_of(column))


def _row(path: Path, place: int, *, csv_as_text: bool) -> dict[str, Any]:
    from astropy.table import Table

    options = {"converters": {"*": str}} if csv_as_text and path.suffix.lower() == ".csv" else {}
    if path.name.lower().endswith(_FITS):
        # Headers that astropy would look for without end are refused.
        with open_fits(path):
            pass
    try:
        table = Table.read(path, **options)
    except Exception as error:  # Every reader of astropy has errors of its own.
        raise SourceError(
            f"{path}: cannot be read as a table: {reason_of(error)}",
            hint="FITS, CSV, ECSV, VOTable and Parquet are known by their endings",
        ) from error
    if place >= len(table):
        raise UserError(f"{path}: has {len(table):,} rows, counted from 0, and no row {place}")
    row = table[place]
    values = {name: row[name] for name in table.colnames}
    return {
        name: value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
        for name, value in values.items()
        if value is not np.ma.masked
    }
