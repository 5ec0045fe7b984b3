"""Keeps foreign pages away from the server: Host and Origin are checked, bodies are bounded, answers carry a policy.

A page on the internet that a user has open can send requests to the user's own machine. What it would need for that
is refused here: a Host that is not this machine's (a name that an attacker's DNS has bound to 127.0.0.1), and an
Origin or a `Sec-Fetch-Site` that is not this page's own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What the browser may load and do: everything is from this server, and nothing is written into the page as code.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
#: Largest body of a request that uploads nothing: some hundred thousand rows that were marked on the map.
JSON_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Hosts:
    """The names by which this server may be asked."""

    #: What it listens at; `127.0.0.1` unless the user said otherwise.
    bound: str = "127.0.0.1"

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.bound)

    def allows(self, header: str) -> bool:
        """Whether a Host header names this machine; the port does not matter, for tunnels have one of their own.

        A name of this machine itself cannot be bound elsewhere by an attacker's DNS, nor can a number.

        >>> Hosts().allows("localhost:8000"), Hosts().allows("evil.example:8000")
        (True, False)
        """
        name = host_of(header)
        if name is None:
            return False
        if is_loopback(name):
            return True
        return self.is_open and (_is_address(name) or name in {self.bound.lower(), *_own_names()})


class Guard:
    """Lets requests of this server's own page through, and of programs that are no browser."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, upload_bytes: int, upload_path: str) -> None:
        self.app, self.hosts = app, hosts
        self.upload_bytes, self.upload_path = upload_bytes, upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            return
        headers = _headers(scope)
        send = _with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, sentence = refusal
            await problem(status, sentence)(scope, receive, send)
            return
        limit = self.upload_bytes if scope["path"] == self.upload_path else JSON_BYTES
        sentence = f"the request is larger than {limit / 2**20:.3g} MiB, the most that is taken"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            await problem(413, sentence)(scope, receive, send)
            return
        try:
            await self.app(scope, _bounded(receive, limit), send)
        except _TooLargeError:
            await problem(413, sentence)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self.hosts.allows(host):
            return 400, f"this server is not called {host!r}: open it at the address that polycli printed"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, f"requests from {origin} are refused: only this server's own page may ask"
        site = headers.get("sec-fetch-site", "none")
        # A link to the page may stand anywhere; all else that a foreign page would load or send is refused.
        follows_link = scope["method"] == "GET" and scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not follows_link:
            return 403, "requests from other sites are refused: only this server's own page may ask"
        return None


def problem(status: int, message: str, hint: str | None = None) -> JSONResponse:
    """The answer to what cannot be done: one sentence, and what to do instead where there is something."""
    return JSONResponse({"error": {"message": message, "hint": hint}}, status)


def host_of(header: str) -> str | None:
    """The name in a Host header in small letters, without the port; None where it is no name.

    >>> host_of("[::1]:8000"), host_of("Localhost"), host_of("a@b"), host_of("")
    ('::1', 'localhost', None, None)
    """
    if not header or any(letter in header for letter in "@/\\?# ,"):
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def is_loopback(name: str) -> bool:
    """Whether a name or address is that of the machine itself, for itself.

    >>> is_loopback("127.0.0.5"), is_loopback("::1"), is_loopback("10.0.0.1")
    (True, True, False)
    """
    return name.lower() == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


class _TooLargeError(Exception):
    """A body that is longer than what was announced or allowed."""


def _bounded(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _TooLargeError
        return message

    return bounded


def _with_headers(send: Send) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            kept = (
                [] if any(name.lower() == b"cache-control" for name, _ in given) else [(b"cache-control", b"no-store")]
            )
            message = {**message, "headers": [*given, *added, *kept]}
        await send(message)

    return sending


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; where one stands twice, both values, which then are no host and no origin of ours."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    return {name.lower() for name in (socket.gethostname(), socket.getfqdn())}
