"""The addresses of the page's server, and what each answers. All of them stand in one table, `create_app`.

    GET  /                          the page
    GET  /static/NAME               its CSS and JavaScript
    GET  /api/about                 columns, kinds of vectors, what there is to show
    POST /api/search                neighbours (`finding.py`)
    POST /api/rows                  columns of some rows, such as those inside of a lasso
    GET  /api/image/ROW             PNG
    GET  /api/curves?rows=1,2       curves of some rows
    GET  /api/map, /api/map/COLUMN  float32 positions of all points, and values to colour them by
    POST /api/export                CSV or JSON of a list
    POST /api/upload                a file, as multipart; its token can then be searched for
    GET  /api/upload/TOKEN/image    PNG of what was dropped; /curve its curve

What cannot be done is answered with one sentence in JSON: `{"error": {"message", "hint"}}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polycli import console
from polycli.errors import PolycliError, UserError
from polycli.page.assets import INDEX, Asset, load_assets
from polycli.page.exporting import export
from polycli.page.finding import find, listed
from polycli.page.guard import Guard, Hosts, problem
from polycli.page.library import Library, curve_document
from polycli.page.requests import MOST_ROWS, Document, ExportDocument, RowsDocument, SearchDocument, read_document
from polycli.page.uploads import UPLOAD_BYTES, Upload, Uploads
from polycli.report.images import png
from polycli.search.projection import Projection

_UPLOAD_PATH = "/api/upload"
#: The browser keeps pictures for the length of a session, but asks for nothing else twice.
_KEPT = {"cache-control": "private, max-age=3600"}
_LARGEST_IMAGE = 1024

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(library: Library, hosts: Hosts | None = None) -> Starlette:
    """The application that serves one library."""
    assets = load_assets()
    about = library.about()
    routes = [
        Route("/", _asset(assets, INDEX)),
        Route("/static/{name}", _asset(assets, None)),
        Route("/api/about", _constant(about)),
        Route("/api/search", _answering(library, SearchDocument, find), methods=["POST"]),
        Route("/api/rows", _answering(library, RowsDocument, listed), methods=["POST"]),
        Route("/api/image/{row:int}", _blocking(library, _image)),
        Route("/api/curves", _blocking(library, _curves)),
        Route("/api/map", _blocking(library, _map)),
        Route("/api/map/{column:path}", _blocking(library, _map_values)),
        Route("/api/export", _export(library), methods=["POST"]),
        Route(_UPLOAD_PATH, _upload(library), methods=["POST"]),
        Route(f"{_UPLOAD_PATH}/{{token}}/image", _blocking(library, _dropped_image)),
        Route(f"{_UPLOAD_PATH}/{{token}}/curve", _blocking(library, _dropped_curve)),
    ]
    largest = UPLOAD_BYTES if library.uploads is None else library.uploads.largest
    guard = Middleware(
        Guard,
        hosts=hosts or Hosts(),
        # What multipart adds to a file is little.
        upload_bytes=largest + 2**16,
        upload_path=_UPLOAD_PATH,
    )
    handlers: dict[Any, Any] = {PolycliError: _told, HTTPException: _http_problem, Exception: _unexpected}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


def _asset(assets: dict[str, Asset], fixed: str | None) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        asset = assets.get(fixed or request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        headers = {"etag": asset.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == asset.tag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.kind, headers=headers)

    return endpoint


def _constant(document: dict[str, object]) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(document)

    return endpoint


def _answering(
    library: Library, schema: type[Document], answer: Callable[[Library, Document], dict[str, object]]
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        document = await _document(request, schema)
        return JSONResponse(await run_in_threadpool(answer, library, document))

    return endpoint


def _blocking(library: Library, answer: Callable[[Library, Request], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, library, request)

    return endpoint


async def _document(request: Request, schema: type[Document]) -> Document:
    if _content_type(request) != "application/json":
        raise HTTPException(415, "the request is to be application/json")
    return read_document(schema, await request.body())


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _image(library: Library, request: Request) -> Response:
    image = library.pictures.image(library.columns_of(request.path_params["row"]))
    if image is None:
        raise HTTPException(404, f"row {request.path_params['row']} has no image in the stores that were given")
    return _picture(image, request)


def _picture(image: NDArray[np.uint8], request: Request) -> Response:
    size = _number(request.query_params.get("size", "256"), "size", 1, _LARGEST_IMAGE)
    return Response(png(image, size=size), media_type="image/png", headers=_KEPT)


def _uploads(library: Library) -> Uploads:
    if library.uploads is None:
        raise HTTPException(404, "files cannot be embedded: this server was started without --checkpoint")
    return library.uploads


def _dropped(library: Library, request: Request) -> Upload:
    return _uploads(library).get(request.path_params["token"])


def _dropped_image(library: Library, request: Request) -> Response:
    upload = _dropped(library, request)
    if upload.found.image is None:
        raise HTTPException(404, f"{upload.name} has no image to show")
    return _picture(upload.found.image, request)


def _dropped_curve(library: Library, request: Request) -> Response:
    upload = _dropped(library, request)
    if upload.found.curve is None:
        raise HTTPException(404, f"{upload.name} has no curve to show")
    return JSONResponse(curve_document(upload.found.curve), headers=_KEPT)


def _curves(library: Library, request: Request) -> Response:
    words = request.query_params.get("rows", "").split(",")
    if len(words) > MOST_ROWS:
        raise UserError(f"{len(words)} curves were asked for, and one answer has at most {MOST_ROWS}")
    rows = [_number(word, "rows", 0, library.searcher.rows - 1) for word in words]
    found = {str(row): library.pictures.curve(library.columns_of(row)) for row in rows}
    documents = {row: None if curve is None else curve_document(curve) for row, curve in found.items()}
    return JSONResponse(documents, headers=_KEPT)


def _projection(library: Library) -> Projection:
    if library.projection is None:
        raise HTTPException(404, f"there is no map yet: polycli search map {library.searcher.path}")
    return library.projection


def _map(library: Library, _: Request) -> Response:
    return Response(_projection(library).points_bytes(), media_type="application/octet-stream")


def _map_values(library: Library, request: Request) -> Response:
    values = _projection(library).values(library.searcher, request.path_params["column"])
    return Response(values.astype("<f4").tobytes(), media_type="application/octet-stream")


def _export(library: Library) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        document = await _document(request, ExportDocument)
        content, kind, name = await run_in_threadpool(export, library, document)
        return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})

    return endpoint


def _upload(library: Library) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        uploads = _uploads(library)
        if _content_type(request) != "multipart/form-data":
            raise HTTPException(415, "a file is to be sent as multipart/form-data")
        async with request.form(max_files=1, max_fields=0) as form:
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise HTTPException(400, "there is no file in the request")
            content = await file.read()
            token, upload = await run_in_threadpool(uploads.add, file.filename or "file", content)
        return JSONResponse({"upload": token, **upload.about()})

    return endpoint


def _number(text: str, name: str, lowest: int, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text[:19]) <= highest:
        raise UserError(f"{name} is {text[:40]!r}, a number from {lowest} to {highest} was expected")
    return int(text)


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, PolycliError)  # noqa: S101  # As it is registered.
    return problem(400 if isinstance(error, UserError) else 500, error.message, error.hint)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    sentences = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not answered there"}
    detail = error.detail
    is_own = detail not in ("Not Found", "Method Not Allowed")
    return problem(error.status_code, detail if is_own else sentences[error.status_code])


async def _unexpected(request: Request, error: Exception) -> Response:
    sentence = f"{type(error).__name__}: {error}".splitlines()[0]
    console.error(f"{request.method} {request.url.path}: {sentence}")
    return problem(500, f"the server failed: {sentence}")
