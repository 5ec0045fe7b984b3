"""Rows of a toy store for the tests of embed: row number n has the vector (n,), and, if asked for, two numbers."""

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from astropy import units
from astropy_healpix import HEALPix

from polycli.errors import StoreError
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import with_vectors
from polycli.store.embeddings.plan import data_identity
from polycli.workflow.embedding.rows import Rows

HEADER = EmbeddingsHeader("toy", {"model_hash": "m"}, {"a": "1", "b": "2"}, {"split": None})


def header(*names: str, model: str = "m") -> EmbeddingsHeader:
    """What the manifest says of stores of these names."""
    return EmbeddingsHeader("toy", {"model_hash": model}, {name: name for name in names}, data=names)


def toy(
    name: str,
    count: int,
    batch: int,
    *,
    asked: list[int] | None = None,
    numbers: bool = False,
    damaged: tuple[int, ...] = (),
    endless: tuple[int, ...] = (),
    stream: bool = False,
    more: bool = False,
    places: bool = True,
    sky: bool = False,
    seconds: float = 0.0,
    look: Callable[[np.ndarray], None] = lambda rows: None,
) -> Rows:
    """Rows 0 to `count` of a store, or of files.

    `damaged` ones cannot be read, `endless` ones have no finite vector, and with `more` there is another column.
    With `places` the rows have their index among the rows of all data, and with `sky` an id and a position: half of
    them anywhere, half within arcminutes of a corner of four pixels of order 0.
    """

    def tables(batches, first_row, advance):
        rows = np.concatenate(batches)
        if asked is not None:
            asked.extend(rows.tolist())
        time.sleep(seconds * len(rows))
        look(rows)
        bad = [row for row in rows.tolist() if row in damaged]
        if bad:
            raise StoreError(f"row {bad[0]} is damaged")
        advance(len(rows))
        table = pa.table({"name": [name] * len(rows), "row": rows, "place": first_row + np.arange(len(rows))})
        if not places:
            table = table.drop_columns("place")
        if sky:
            table = with_position(table)
        if more:
            table = table.append_column("more", table["row"])
        vectors = np.where(np.isin(rows, endless), np.inf, rows)[:, None].astype(np.float32)
        made = {"": with_vectors(table, {"toy_embedding": vectors})}
        if numbers:
            twice = {"row": np.repeat(first_row + np.arange(len(rows)), 2), "number": np.repeat(rows, 2)}
            values = {"number_embedding": twice["number"][:, None].astype(np.float16)}
            made["numbers"] = with_vectors(pa.table(twice), values)
        return made

    def take(first, end):
        return np.arange(first, end)

    return Rows(
        name,
        data_identity(name),
        batch,
        tables,
        ids=lambda rows: [f"{name}-{row}" for row in rows],
        count=None if stream else count,
        take=None if stream else take,
        stream=(np.arange(first, min(first + batch, count)) for first in range(0, count, batch)) if stream else (),
    )


def with_position(table: pa.Table) -> pa.Table:
    """The table with id, position and pixel before its other columns, all of them functions of name and row."""
    row, name = table["row"].to_numpy(), table["name"][0].as_py()
    draw = np.random.default_rng([ord(letter) for letter in name])
    anywhere = draw.uniform(0, 360, 4096)[row % 4096], np.degrees(np.arcsin(draw.uniform(-1, 1, 4096)))[row % 4096]
    near = draw.normal(45, 0.005, 4096)[row % 4096], draw.normal(0, 0.005, 4096)[row % 4096]
    ra, dec = (np.where(row % 2, one, other) for one, other in zip(anywhere, near, strict=True))
    grid = HEALPix(nside=2**29, order="nested")
    pixels = np.asarray(grid.lonlat_to_healpix(ra * units.deg, dec * units.deg), np.int64)
    place = {"object_id": [f"{name}-{number}" for number in row.tolist()], "ra": ra, "dec": dec, "healpix29": pixels}
    return pa.table({**place, **{column: table[column] for column in table.column_names}})
