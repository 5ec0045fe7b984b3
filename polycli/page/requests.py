"""The documents that the page sends: what to look for, among what, and what to write into a file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polycli.errors import UserError, problems_of

#: The most neighbours, or rows, that one answer has.
MOST_ROWS = 500
_Row = Annotated[int, Field(ge=0, lt=2**62)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConeDocument(_Document):
    """A circle on the sky."""

    ra: Annotated[float, Field(ge=-360, le=360)]
    dec: Annotated[float, Field(ge=-90, le=90)]
    arcsec: Annotated[float, Field(gt=0, le=180 * 3600)]


class FilterDocument(_Document):
    """The rows that may be found: all of these hold together."""

    where: Annotated[str, Field(max_length=2000)] = ""
    cone: ConeDocument | None = None
    #: Rows that were marked on the map.
    among: tuple[_Row, ...] | None = None


class SearchDocument(FilterDocument):
    """A search, by one of `id`, `row`, `position` and `upload`, by marked rows, or by both."""

    id: Annotated[str, Field(max_length=1000)] | None = None
    row: _Row | None = None
    position: tuple[Annotated[float, Field(ge=-360, le=360)], Annotated[float, Field(ge=-90, le=90)]] | None = None
    upload: Annotated[str, Field(max_length=64)] | None = None
    #: Rows that were marked: more like these, less like those.
    good: Annotated[tuple[_Row, ...], Field(max_length=1000)] = ()
    bad: Annotated[tuple[_Row, ...], Field(max_length=1000)] = ()
    #: The kind of the query's vector, and of the vectors that it is compared with.
    vector: Annotated[str, Field(max_length=200)] | None = None
    among_kind: Annotated[str | None, Field(alias="in", max_length=200)] = None
    k: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 24


class RowsDocument(_Document):
    """Rows to list with their columns."""

    rows: Annotated[tuple[_Row, ...], Field(max_length=MOST_ROWS)] = ()


class ExportedRow(_Document):
    """A row of an exported list."""

    row: _Row
    similarity: float | None = None
    mark: Literal["good", "bad", ""] = ""


class ExportDocument(_Document):
    """A list to write into a file."""

    format: Literal["csv", "json"]
    rows: Annotated[tuple[ExportedRow, ...], Field(max_length=MOST_ROWS)]


Document = TypeVar("Document", bound=_Document)


def read_document(schema: type[Document], body: bytes) -> Document:
    """The document in the body of a request.

    Raises:
        UserError: it is none of this schema.
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise UserError(f"the request is not one of this page: {problems_of(error)}") from error
