"""Finds the neighbours that the page asks for: of a row, a position, a file, marked rows, or of several of these."""

from __future__ import annotations

import time

from polycli.errors import UserError
from polycli.page.library import Library
from polycli.page.requests import FilterDocument, RowsDocument, SearchDocument
from polycli.page.values import plain
from polycli.requests import JsonDocument
from polycli.search.filters import CertainRows, RowFilter, Where, both
from polycli.search.query import Query, by_examples
from polycli.search.searcher import Searcher


def find(library: Library, wanted: SearchDocument) -> JsonDocument:
    """Search, and describe what was found.

    Raises:
        UserError: there is no such row, kind of vector or column, or nothing to look for.
    """
    started = time.perf_counter()
    searcher = library.searcher
    column = searcher.vector_column(wanted.vector)
    target = searcher.vector_column(wanted.among_kind or wanted.vector)
    query = _query(library, wanted, column)
    answer = searcher.nearest(
        query.vector,
        target,
        wanted.k,
        allowed=allowed(searcher, wanted),
        without=query.without,
        index=library.indexes.get(target),
    )
    return {
        "query": query.about,
        "vector": searcher.kind_of(column),
        "in": searcher.kind_of(target),
        "exact": answer.exact,
        "recall": answer.recall,
        "compared": answer.compared,
        "neighbours": [
            {
                "row": found.row,
                "id": str(found.id),
                "similarity": round(found.similarity, 6),
                "columns": plain(found.columns),
            }
            for found in answer.neighbours
        ],
        "seconds": round(time.perf_counter() - started, 4),
    }


def listed(library: Library, wanted: RowsDocument) -> JsonDocument:
    """The ids and columns of some rows.

    Raises:
        UserError: there is no such row.
    """
    return {"rows": library.rows(list(wanted.rows))}


def allowed(searcher: Searcher, wanted: FilterDocument) -> RowFilter | None:
    """The filter that a request asks for; None where it asks for none.

    Raises:
        UserError: rows have no positions, or the expression is none, or names no column.
    """
    filters: list[RowFilter] = []
    if wanted.where.strip():
        where = Where.of(wanted.where)
        where.condition.refuse_unknown(searcher.columns)
        filters.append(where)
    if wanted.cone is not None:
        filters.append(searcher.cone(wanted.cone.ra, wanted.cone.dec, wanted.cone.arcsec / 3600))
    if wanted.among is not None:
        filters.append(CertainRows.of(wanted.among))
    return both(filters)


def _query(library: Library, wanted: SearchDocument, column: str) -> Query:
    """The vector to look for: of what is asked for, moved by the rows that were marked."""
    base = _base(library, wanted, column)
    if not wanted.good and not wanted.bad:
        if base is None:
            raise UserError("there is nothing to look for", hint="give an id, a position, a file or marked rows")
        return base
    vector = None if base is None else base.vector
    moved = by_examples(library.searcher, column, wanted.good, wanted.bad, vector)
    about = {"good": len(wanted.good), "bad": len(wanted.bad)}
    if base is None:
        return Query(moved.vector, about, moved.without)
    return Query(moved.vector, {**base.about, **about}, (*base.without, *moved.without))


def _base(library: Library, wanted: SearchDocument, column: str) -> Query | None:
    """The thing that is asked for, without regard to marks; None where there are marks alone."""
    searcher = library.searcher
    given = [name for name in ("id", "row", "position", "upload") if getattr(wanted, name) is not None]
    if len(given) > 1:
        raise UserError(f"there are several things to look for: {' and '.join(given)}; one was expected")
    if wanted.upload is not None:
        if library.uploads is None:
            raise UserError("files cannot be looked for without a checkpoint", hint="polycli serve --checkpoint RUN")
        kept = library.uploads.get(wanted.upload)
        return Query(kept.vector(searcher.kind_of(column)), {"upload": wanted.upload, **kept.about()})
    beside: JsonDocument = {}
    if wanted.id is not None:
        row = _row_of(searcher, wanted.id)
    elif wanted.position is not None:
        row, separation = searcher.row_at(*wanted.position)
        beside = {"position": list(wanted.position), "separation_arcsec": round(separation * 3600, 3)}
    elif wanted.row is not None:
        row = wanted.row
    else:
        return None
    return Query(searcher.vectors([row], column)[0], {**library.rows([row])[0], **beside}, (row,))


def _row_of(searcher: Searcher, name: str) -> int:
    """The row of an id; where several have it, as windows of a trajectory do, it is said how one is asked for."""
    try:
        return searcher.row_of(name)
    except UserError as error:
        several = (error.hint or "").startswith("--row")
        raise type(error)(
            error.message, hint="ask for one of them by its number: row N" if several else error.hint
        ) from error
