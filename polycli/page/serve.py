"""`polycli serve`: opens embeddings and what belongs to them, listens, says where, and ends calmly when told to."""

from __future__ import annotations

import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from polycli import console
from polycli.checkpoints.resolve import hash_of_weights
from polycli.errors import MissingDependencyError, UserError
from polycli.page.guard import Hosts
from polycli.page.library import Library
from polycli.page.uploads import Uploads
from polycli.search.encode import FileEncoder, refuse_another_model
from polycli.search.index import VectorIndex, index_path
from polycli.search.projection import map_path, read_map
from polycli.search.searcher import Searcher
from polycli.workflow.pictures import open_pictures

#: Where the page is when no port is asked for and this one is free.
PORT = 8765
_PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """`polycli serve`: embeddings to a page."""

    embeddings: Path
    data: Sequence[str | Path] = ()
    checkpoint: Path | None = None
    #: Whether the indexes that `search build` made answer, instead of a comparison with all rows.
    index: bool = False
    host: str = "127.0.0.1"
    #: 0 takes any free one; None the usual one, or any other where that is taken.
    port: int | None = None
    open_browser: bool = False


def serve(request: ServeRequest) -> None:
    """Serve the page until a signal ends it.

    Raises:
        MissingDependencyError: the packages of the extra `page` are not installed.
        UserError: embeddings, stores and checkpoint cannot be used together, or the address cannot be listened at.
    """
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"the page needs {' and '.join(missing)}, which the extra `page` brings", hint="pip install 'polycli[page]'"
        )
    import uvicorn

    from polycli.page.app import create_app

    library = open_library(request)
    listening = listen(request.host, request.port)
    address = address_of(request.host, listening.getsockname()[1])
    hosts = Hosts(request.host)
    if hosts.is_open:
        console.warn(
            f"--host {request.host}: everybody who reaches this machine can open the page; it asks for no password"
        )
    app = create_app(library, hosts)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        # Those who still wait for an answer when a signal comes wait no longer than this.
        timeout_graceful_shutdown=2,
    )
    console.say(f"{library.name}: {console.counted(library.searcher.rows, 'row', 'rows')}; Ctrl-C ends the server")
    console.result(address)
    if request.open_browser:
        webbrowser.open(address)
    # uvicorn ends at SIGINT and SIGTERM, and then raises them again.
    with listening, suppress(KeyboardInterrupt), _terminable():
        uvicorn.Server(config).run(sockets=[listening])
    console.say("the server has ended")


def open_library(request: ServeRequest) -> Library:
    """Open everything that the page shows.

    Raises:
        UserError: something cannot be opened, or does not belong to the embeddings.
    """
    searcher = Searcher.open(request.embeddings)
    family = searcher.manifest.get("family")
    if (request.data or request.checkpoint) and not isinstance(family, str):
        raise UserError(
            f"{request.embeddings}: have no family, so nothing is known of their --data and --checkpoint",
            hint="leave them out",
        )
    pictures = open_pictures(request.data, family=str(family))
    projection = read_map(map_path(request.embeddings), searcher)
    if projection is None:
        console.note(f"there is no map yet: polycli search map {request.embeddings}")
    uploads = None
    if request.checkpoint is not None:
        refuse_another_model(searcher, request.checkpoint, hash_of_weights(request.checkpoint))
        uploads = Uploads(FileEncoder(searcher, request.checkpoint, with_pictures=True))
    return Library(searcher, pictures, projection, uploads, open_indexes(searcher) if request.index else {})


def open_indexes(searcher: Searcher) -> dict[str, VectorIndex]:
    """The index of every column of vectors that has one.

    Raises:
        UserError: none has, or one is older than the vectors.
    """
    built = [column for column in searcher.stored.vectors if index_path(searcher.stored, column).exists()]
    if not built:
        raise UserError(f"{searcher.path}: has no index", hint=f"polycli search build {searcher.path}")
    return {column: searcher.index(column) for column in built}


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        UserError: the port is taken or forbidden, or the host is not this machine.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        family, where = found[0], found[4][0]
        if port is None:
            with suppress(OSError):
                return socket.create_server((where, PORT), family=family)
        return socket.create_server((where, port or 0), family=family)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(
            f"cannot listen at {host} port {port}: {reason}", hint="--port 0 takes any free port"
        ) from error


def address_of(host: str, port: int) -> str:
    """The address that a browser opens.

    >>> address_of("127.0.0.1", 8765), address_of("::1", 80), address_of("0.0.0.0", 8765)[:7]
    ('http://127.0.0.1:8765/', 'http://[::1]:80/', 'http://')
    """
    shown = socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # noqa: S104  # What the user gave.
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


@contextmanager
def _terminable() -> Iterator[None]:
    """While it lasts, SIGTERM interrupts as SIGINT does, in the main thread, where signals are heard."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
