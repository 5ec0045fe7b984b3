"""Everything that the page shows: embeddings, the pictures of their rows, their map, and files that were dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from polycli import __version__
from polycli.page.uploads import Uploads
from polycli.page.values import plain
from polycli.requests import JsonDocument
from polycli.search.index import VectorIndex
from polycli.search.projection import Projection
from polycli.search.searcher import Searcher
from polycli.workflow.pictures import Curve, PictureBook

if TYPE_CHECKING:
    import pyarrow as pa

#: Points of a curve that are sent; more than a card has pixels.
CURVE_POINTS = 400
#: Ids that the empty page offers.
_EXAMPLES = 4


@dataclass(frozen=True)
class Library:
    """The things that one server serves. Nothing in it changes but the uploads, so that threads may share it."""

    searcher: Searcher
    pictures: PictureBook = field(default_factory=PictureBook)
    projection: Projection | None = None
    uploads: Uploads | None = None
    #: By column of vectors: the index that answers instead of a comparison with all rows.
    indexes: Mapping[str, VectorIndex] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the embeddings, as the page's title has it."""
        return self.searcher.path.name

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns without vectors and their types."""
        return self.searcher.table([]).schema

    def about(self) -> JsonDocument:
        """The facts by which the page arranges itself."""
        searcher, manifest = self.searcher, self.searcher.manifest
        provenance = manifest.get("provenance") or {}
        return {
            "name": self.name,
            "rows": searcher.rows,
            "family": manifest.get("family"),
            "model": provenance.get("checkpoint"),
            "kinds": {kind: searcher.stored.vectors[column].width for kind, column in searcher.kinds.items()},
            "columns": [{"name": column.name, "kind": kind_of(column.type)} for column in self.schema],
            "id_column": searcher.id_column,
            "positions": searcher.has_positions,
            "images": self.pictures.has_images,
            "curves": self.pictures.has_curves,
            "map": None if self.projection is None else self.projection.about(),
            "uploads": None if self.uploads is None else self.uploads.about(),
            "examples": self._examples(),
            "version": __version__,
        }

    def rows(self, rows: Sequence[int]) -> list[dict[str, object]]:
        """Some rows with their ids and columns.

        Raises:
            UserError: there is no such row.
        """
        found = self.searcher.table(rows).to_pylist()
        ids = self.searcher.ids(rows)
        return [
            {"row": row, "id": str(name), "columns": plain(columns)}
            for row, name, columns in zip(rows, ids, found, strict=True)
        ]

    def columns_of(self, row: int) -> dict[str, object]:
        """The columns of one row, as the stores find their rows by them.

        Raises:
            UserError: there is no such row.
        """
        found: dict[str, object] = self.searcher.table([row]).to_pylist()[0]
        return found

    def _examples(self) -> list[JsonDocument]:
        """Some rows and their ids, which lie far apart, so that they show different things."""
        count = self.searcher.rows
        rows = sorted({(2 * place + 1) * count // (2 * _EXAMPLES) for place in range(_EXAMPLES)}) if count else []
        names = self.searcher.ids(rows)
        return [{"row": row, "id": str(name)} for row, name in zip(rows, names, strict=True)]


def curve_document(curve: Curve) -> JsonDocument:
    """A curve as the page draws it."""
    short = curve.shortened(CURVE_POINTS)
    return {
        "x": [round(value, 3) for value in short.x.tolist()],
        "y": [plain(float(f"{value:.5g}")) for value in short.y.tolist()],
        "x_label": short.x_label,
        "y_label": short.y_label,
    }


def kind_of(column: pa.DataType) -> str:
    """`number`, `boolean` or `text`: how the page sorts, colours and writes the values of a column."""
    import pyarrow as pa

    if pa.types.is_boolean(column):
        return "boolean"
    return "number" if pa.types.is_integer(column) or pa.types.is_floating(column) else "text"
