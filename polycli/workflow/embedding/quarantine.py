"""Tables of batches of which some rows cannot be embedded: those are put aside with their id and the reason.

A row counts as one that cannot be embedded where reading or embedding it alone is an error of the data, or where its
vector is not finite. The other rows of its batch are then embedded one by one, so that what they get depends on the
data alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from polycli.errors import CheckpointError, RecipeError, UserError
from polycli.names import clean
from polycli.store.embeddings.manifest import ROWS
from polycli.store.embeddings.parts import Tables
from polycli.workflow.embedding.rows import Advance, Batch, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: The table of what could not be embedded.
QUARANTINED = "quarantined"
#: They are about the model or the line, not about a row.
_NOT_OF_A_ROW = (CheckpointError, RecipeError)


@dataclass
class Quarantine:
    """The rows of one unit that could not be embedded."""

    sources: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    #: The first reason as it was met.
    first: UserError | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, source: str, name: str, problem: UserError) -> None:
        """Put one row aside."""
        self.sources.append(source)
        self.ids.append(name)
        self.reasons.append(clean(problem.message))
        self.first = self.first or problem

    def table(self) -> pa.Table:
        """All of them as a table: source, id, reason."""
        import pyarrow as pa

        columns = {"source": self.sources, "id": self.ids, "reason": self.reasons}
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def embedded(
    rows: Rows[Batch], batches: Sequence[Batch], first_row: int, advance: Advance, aside: Quarantine
) -> Tables | None:
    """The tables of some batches without the rows that cannot be embedded; None where no row is left.

    Raises:
        PolycliError: something is wrong that has nothing to do with a row.
    """
    try:
        tables = rows.tables(batches, first_row, advance)
    except _NOT_OF_A_ROW:
        raise
    except UserError:
        tables = None
    if tables is not None and _is_finite(tables):
        return tables
    if len(batches) > 1:
        parts = []
        for batch in batches:
            part = embedded(rows, [batch], first_row, lambda _: None, aside)
            if part is not None:
                parts.append(part)
                first_row += len(part[ROWS])
        return _joined(parts)
    return _one_by_one(rows, batches[0], first_row, aside)


def _one_by_one(rows: Rows[Batch], batch: Batch, first_row: int, aside: Quarantine) -> Tables | None:
    parts = []
    for index in range(len(batch)):
        row = batch[index : index + 1]
        try:
            tables = _of_row(rows, row, first_row)
        except _NOT_OF_A_ROW:
            raise
        except UserError as problem:
            aside.add(rows.name, _name_of(rows, row, index), problem)
        else:
            parts.append(tables)
            first_row += 1
    return _joined(parts)


def _of_row(rows: Rows[Batch], row: Batch, first_row: int) -> Tables:
    tables = rows.tables([row], first_row, lambda _: None)
    if not _is_finite(tables):
        raise UserError("its vector is not finite")
    return tables


def _name_of(rows: Rows[Batch], row: Batch, index: int) -> str:
    try:
        return str(rows.ids(row)[0])
    except UserError:
        # Its id lies in the same damage.
        return f"row {index} of its batch"


def _joined(parts: Sequence[Tables]) -> Tables | None:
    import pyarrow as pa

    if not parts:
        return None
    return {name: pa.concat_tables([part[name] for part in parts]) for name in parts[0]}


def _is_finite(tables: Mapping[str, pa.Table]) -> bool:
    """Whether all vectors of all tables are finite."""
    import pyarrow as pa

    for table in tables.values():
        for column in table.columns:
            if pa.types.is_fixed_size_list(column.type):
                for chunk in column.chunks:
                    if not np.isfinite(chunk.flatten().to_numpy(zero_copy_only=False)).all():
                        return False
    return True
