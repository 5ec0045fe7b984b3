"""The flow of `polycli search`: open, find what to look for, filter, search, and give out what was found."""

from __future__ import annotations

from polycli.console import note, result, say
from polycli.errors import UserError
from polycli.report.table import Table, as_text
from polycli.requests import JsonDocument, SearchRequest
from polycli.search.filters import RowFilter, Where, both
from polycli.search.query import query_of
from polycli.search.results import Found
from polycli.search.searcher import MEASURE, Searcher
from polycli.search.sky import parse_box, parse_cone
from polycli.search.writing import neighbours_output, write
from polycli.workflow.pictures import open_pictures


def run(request: SearchRequest) -> JsonDocument:
    """Search and print or write the neighbours; returns the answer as a document.

    Raises:
        UserError: embeddings, query, filters and outputs do not fit each other; nothing was written.
    """
    output = None
    if request.output is not None:
        inputs = tuple(path for path in (request.embeddings, request.file, request.checkpoint, *request.data) if path)
        output = neighbours_output(request.output, force=request.force, inputs=inputs)
        output.refuse()
    if request.data and (request.output is None or request.output.suffix != ".html"):
        raise UserError("--data has the pictures of a gallery, and none is asked for", hint="--output neighbours.html")
    if request.file is None and (request.checkpoint is not None or request.object is not None):
        option = "--checkpoint" if request.checkpoint is not None else "--object"
        raise UserError(f"{option} is about a file that is looked for, and none is given", hint="--file FILE")
    found = search(request)
    if output is not None:
        family = str(found.searcher.manifest.get("family"))
        write(output, found, open_pictures(request.data, family=family))
    if not request.json:
        _show(found, request)
    return found.document()


def search(request: SearchRequest) -> Found:
    """Find the neighbours that a request asks for.

    Raises:
        UserError: embeddings, query and filters do not fit each other.
    """
    searcher = Searcher.open(request.embeddings)
    allowed = filter_of(request, searcher)
    query, column = query_of(request, searcher)
    among = searcher.vector_column(request.among) if request.among or not column else column
    index = searcher.index(among) if request.index else None
    if index is not None and allowed is not None:
        note("filters are answered exactly: the recall of the index is of searches without them")
    answer = searcher.nearest(query.vector, among, request.k, allowed=allowed, without=query.without, index=index)
    filters = {name: text for name in ("cone", "box", "where") if (text := getattr(request, name)) is not None}
    vector = str(query.about.get("kind", searcher.kind_of(column)))
    return Found(searcher, query.about, vector, searcher.kind_of(among), answer, filters)


def filter_of(request: SearchRequest, searcher: Searcher) -> RowFilter | None:
    """The rows that may be found; None for all.

    Raises:
        UserError: a filter cannot be read, or needs columns that are not there.
    """
    filters: list[RowFilter] = []
    if request.cone is not None:
        filters.append(parse_cone(request.cone, searcher.position_columns))
    if request.box is not None:
        filters.append(parse_box(request.box, searcher.position_columns))
    if request.where is not None:
        where = Where.of(request.where)
        where.condition.refuse_unknown(searcher.columns)
        filters.append(where)
    return both(filters)


def _show(found: Found, request: SearchRequest) -> None:
    answer, columns = found.answer, found.shown_columns()
    how = "compared with all" if answer.exact else f"by an index whose recall@10 is {answer.recall:.4f}"
    kinds = found.vector if found.vector == found.among else f"{found.vector} among {found.among} vectors"
    say(f"{found.searcher.path}: {MEASURE} of {kinds}, {how} ({answer.compared:,} rows)")
    if len(answer.neighbours) < request.k:
        note(f"only {len(answer.neighbours)} of {request.k} neighbours: no more rows are let through")
    if request.output is not None:
        result(str(request.output))
        return
    result(as_text(Table("", ("id", "similarity", *columns), found.cells(columns))).strip("\n"))
