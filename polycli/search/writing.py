"""Writes neighbours into a file whose ending says the format: JSON, CSV, Parquet, VOTable, or a gallery in HTML."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from polycli.names import cell
from polycli.outputs import Output, OutputKind
from polycli.search.gallery import MARK, gallery
from polycli.search.results import Found
from polycli.workflow.pictures import PictureBook

if TYPE_CHECKING:
    import pyarrow as pa

_METADATA_KEY = b"polycli.neighbours"


def neighbours_output(path: Path, *, force: bool, inputs: tuple[Path, ...]) -> Output:
    """The destination of neighbours."""
    return Output(path, NEIGHBOURS, force, inputs)


def write(output: Output, found: Found, pictures: PictureBook) -> None:
    """Write the neighbours of an answer.

    Raises:
        UserError: the place or what stands there is against it.
        PolycliError: the disk is full or refuses a write.
    """
    with output.writing() as path:
        if path.suffix == ".html":
            path.write_text(gallery(found, pictures), encoding="utf-8")
        elif path.suffix == ".json":
            path.write_text(_json(found), encoding="utf-8")
        else:
            _TABLES[path.suffix](path, found.table(), found)


def _json(found: Found) -> str:
    return json.dumps({"format": MARK, **found.document()}, indent=2, allow_nan=False) + "\n"


def _write_csv(path: Path, table: pa.Table, found: Found) -> None:
    del found
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([cell(name) for name in table.column_names])
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            writer.writerow([cell(value) if isinstance(value, str) else _number(value) for value in row])


def _number(value: Any) -> Any:  # noqa: ANN401  # Whatever a column holds.
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _write_parquet(path: Path, table: pa.Table, found: Found) -> None:
    from pyarrow import parquet

    about = {name: value for name, value in found.document().items() if name != "neighbours"}
    parquet.write_table(table.replace_schema_metadata({_METADATA_KEY: json.dumps(about)}), path)


def _write_votable(path: Path, table: pa.Table, found: Found) -> None:
    from astropy.io.votable import from_table, writeto

    document = from_table(_astropy(table))
    document.resources[0].description = "; ".join(
        f"{name}: {value}" for name, value in [("format", MARK), *found.facts()]
    )
    writeto(document, str(path))


def _astropy(table: pa.Table) -> Any:  # noqa: ANN401  # astropy has no types.
    """The table for astropy: unknown values are masked, texts plain."""
    import numpy as np
    import pyarrow as pa
    from astropy.table import MaskedColumn, Table

    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        mask = np.array([value is None for value in values.to_pylist()], np.bool_)
        if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
            filled = values.fill_null(False if pa.types.is_boolean(values.type) else 0)
            columns[name] = MaskedColumn(_known_to_votable(filled.to_numpy()), mask=mask)
        elif pa.types.is_floating(values.type):
            filled = values.to_numpy()
            # A VOTable has no half precision.
            wide = filled.astype(np.float32) if filled.dtype == np.float16 else filled
            columns[name] = MaskedColumn(wide, mask=mask)
        else:
            texts = ["" if value is None else str(value) for value in values.to_pylist()]
            columns[name] = MaskedColumn(np.array(texts, dtype=str), mask=mask)
    return Table(columns)


def _known_to_votable(values: NDArray[Any]) -> NDArray[Any]:
    """Integers of a width that a VOTable knows; texts where none holds them."""
    wider = {"int8": "int16", "uint16": "int32", "uint32": "int64", "uint64": "int64"}.get(str(values.dtype))
    if wider is None:
        return values
    changed = values.astype(wider)
    # The largest of 64 bits without a sign become negative.
    fits = values.dtype.kind == "i" or bool((changed >= 0).all())
    return changed if fits else values.astype(str)


_TABLES: dict[str, Callable[[Path, Any, Found], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".vot": _write_votable,
}


def _is_ours(path: Path) -> bool:
    """Whether a file holds neighbours that polycli wrote; of a CSV, which says nothing of itself, its header does."""
    if not path.is_file():
        return False
    try:
        if path.suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8"))
            return isinstance(document, dict) and document.get("format") == MARK
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return _METADATA_KEY in (parquet.read_schema(path).metadata or {})
        with path.open(encoding="utf-8") as file:
            start = file.read(4096)
    except (OSError, ValueError):
        return False
    return "row,similarity" in start.split("\n", 1)[0] if path.suffix == ".csv" else MARK in start


NEIGHBOURS = OutputKind("neighbours", (".json", ".csv", ".parquet", ".vot", ".html"), _is_ours, ask="--force")
