"""Finds the column of a table that counts its rows, as `id` or `index` do: it names rows, and is no quantity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polycli.xval.records.texts import Texts

#: Rows of a table, at least: that a few integers rise by one may be luck.
FEWEST_ROWS = 20
#: Names of columns that count rows; pandas writes an index without a name as the first column, which has none.
_NAMES = re.compile(
    r"(?:.*[ _])?(?:id|idx|index)|(?:row|record|obs)(?:[ _]?(?:id|no|nr|num|number|name))?"
    r"|no\.?|nr\.?|#|unnamed: 0|column_1",
    re.IGNORECASE,
)


@dataclass
class RowCount:
    """Whether the cells that were met so far are integers that rise by one from 0 or 1 on."""

    holds: bool = True
    #: The first of them, and the one that comes next.
    first: int | None = None
    next: int | None = None

    def add(self, cells: Texts) -> None:
        """Looks at the cells of the next rows."""
        if not self.holds or not len(cells):
            return
        try:
            values = pc.cast(cells, pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            self.holds = False
            return
        start = int(values[0])
        expected = start in (0, 1) if self.next is None else start == self.next
        self.holds = expected and bool((np.diff(values) == 1).all())
        self.first, self.next = start if self.first is None else self.first, int(values[-1]) + 1


def column_of_row_numbers(counts: Mapping[str, RowCount]) -> str | None:
    """The header of the first column that counts rows and is called so; None where there is none, or few rows."""
    for header, count in counts.items():
        rows = 0 if count.next is None or count.first is None else count.next - count.first
        if count.holds and rows >= FEWEST_ROWS and _NAMES.fullmatch(header.strip()):
            return header
    return None
