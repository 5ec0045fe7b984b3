"""An answer as a document and as tables: for a terminal, and for files that other programs read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polycli.names import free_names, shortened_name
from polycli.requests import JsonDocument
from polycli.search.searcher import MEASURE, Answer, Searcher

if TYPE_CHECKING:
    import pyarrow as pa

#: Beginnings of columns that say nothing to people.
_FOR_MACHINES = ("healpix", "_healpix")
_MOST_COLUMNS = 8
_LONGEST_CELL = 24


@dataclass(frozen=True)
class Found:
    """An answer, and what it answers."""

    searcher: Searcher
    #: What was looked for.
    query: JsonDocument
    #: The kind of the query's vector, and of those that were searched.
    vector: str
    among: str
    answer: Answer
    #: The filters as they were typed, by option.
    filters: dict[str, str]

    def document(self) -> JsonDocument:
        """The answer as JSON; columns of the catalogue that are called like ours get `catalogue_` before them."""
        names = self._free_columns()
        document: JsonDocument = {
            "embeddings": str(self.searcher.path),
            "query": self.query,
            "vector": self.vector,
            "in": self.among,
            "measure": MEASURE,
            "exact": self.answer.exact,
            "recall": self.answer.recall,
            "compared": self.answer.compared,
            "filters": self.filters,
            "neighbours": [
                {
                    "id": each.id,
                    "row": each.row,
                    "similarity": each.similarity,
                    **{names[name]: value for name, value in each.columns.items()},
                }
                for each in self.answer.neighbours
            ],
        }
        return {name: _plain(value) for name, value in document.items()}

    def table(self) -> pa.Table:
        """The neighbours as a table: id, row, similarity, and the columns of the embeddings with their types."""
        import pyarrow as pa

        neighbours = self.answer.neighbours
        rows = self.searcher.table([each.row for each in neighbours])
        names = self._free_columns()
        columns: dict[str, object] = {}
        if self.searcher.id_column is not None:
            columns[self.searcher.id_column] = rows[self.searcher.id_column]
        columns["row"] = pa.array([each.row for each in neighbours], pa.int64())
        columns["similarity"] = pa.array([each.similarity for each in neighbours], pa.float32())
        columns |= {names[name]: rows[name] for name in rows.column_names if name != self.searcher.id_column}
        return pa.table(columns)

    def facts(self) -> list[tuple[str, str]]:
        """The question and how it was answered, as names and values."""
        how = (
            "compared with all of them" if self.answer.exact else f"by an index with recall@10 {self.answer.recall:.4f}"
        )
        facts = [(name, _text(value)) for name, value in self.query.items()]
        facts.append(("vectors", self.vector if self.vector == self.among else f"{self.vector} among {self.among}"))
        facts += self.filters.items()
        return [*facts, ("ordered by", f"{MEASURE}, {how}"), ("rows compared", f"{self.answer.compared:,}")]

    def shown_columns(self) -> list[str]:
        """The columns that fit on a screen: those that are known of any neighbour, the first few."""
        neighbours = self.answer.neighbours
        known = [
            name
            for name in self.searcher.columns
            if name != self.searcher.id_column
            and not name.startswith(_FOR_MACHINES)
            and any(not _is_unknown(each.columns.get(name)) for each in neighbours)
        ]
        return known[:_MOST_COLUMNS]

    def cells(self, columns: Sequence[str]) -> list[list[str]]:
        """One line for each neighbour: id, similarity, and these columns."""
        return [
            [_text(each.id), f"{each.similarity:.5f}", *(_text(each.columns.get(name)) for name in columns)]
            for each in self.answer.neighbours
        ]

    def _free_columns(self) -> dict[str, str]:
        others = [name for name in self.searcher.columns if name != self.searcher.id_column]
        taken = ["id", "row", "similarity", *([self.searcher.id_column] if self.searcher.id_column else [])]
        return dict(zip(others, free_names(others, taken=taken, prefix="catalogue_"), strict=True))


def _plain(value: Any) -> Any:  # noqa: ANN401  # Whatever a column holds.
    """The value in what JSON knows: unknown numbers are null, and what it has no word for, such as a date, is text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _text(value: Any) -> str:  # noqa: ANN401  # Whatever a column holds.
    if _is_unknown(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "-"
    return shortened_name(value, _LONGEST_CELL) if not isinstance(value, dict) else str(value)


def _is_unknown(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
