"""Rows of a toy store for the tests of embed: row number n has the vector (n,), and, if asked for, two numbers."""

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

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
    seconds: float = 0.0,
    look: Callable[[np.ndarray], None] = lambda rows: None,
) -> Rows:
    """Rows 0 to `count` of a store, or of files.

    `damaged` ones cannot be read, `endless` ones have no finite vector, and with `more` there is another column.
    With `places` the rows have their index among the rows of all data.
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
