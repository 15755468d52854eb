"""Middleware that decides which requests are worked on, and bounds their size, time and number."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Collection, Mapping
from typing import final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.web.limits import WebLimits

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_OPEN_PATHS = ("/", "/favicon.ico")
_OPEN_FOLDER = "/static/"
_LINKED = re.compile(r"/api/galleries/[^/]+/(pictures/[^/]+|cases/[^/]+/report)")
_UNESCAPED = "!~*'()"  # by JavaScript's encodeURIComponent, besides what quote leaves as it is
_FREE_PATHS = (
    *_OPEN_PATHS,
    "/api/health",
    "/api/palette",
    "/api/metrics",
)  # cost nothing, so are never told to wait
FORM_OVERHEAD = 64 * 2**10  # bytes of a form besides its file


@final
class SecurityMiddleware:
    """Answers with one sentence what must not be worked on, and passes on the rest within the limits.

    400 for a host name that is not this server's, 403 for a request that another site's page sent, 401
    for a missing or wrong token, 413 for a body that is too large, also one that does not say its
    length, 408 for one that does not arrive in time, and 503 when too many requests are waiting.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Mapping[str, str],
        limits: WebLimits,
        hosts: Collection[str] | None,
    ) -> None:
        self._app, self._limits = app, limits
        self._names = {form: name for token, name in tokens.items() for form in _forms(token)}
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._n_requests = 0
        self._uploads = asyncio.Semaphore(limits.max_uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error response, or pass the request on to the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        rejection = self._rejection(scope, Headers(scope=scope))
        if rejection is not None:
            await rejection(scope, receive, send_with_headers)
            return
        if scope["path"] in _FREE_PATHS or scope["path"].startswith(_OPEN_FOLDER):
            await self._app(scope, receive, send_with_headers)
            return
        if self._n_requests >= self._limits.max_requests:
            await _busy()(scope, receive, send_with_headers)
            return
        self._n_requests += 1
        try:
            await self._admitted(scope, receive, send_with_headers)
        finally:
            self._n_requests -= 1

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; uploads take turns, since each may hold its bytes and its pixels."""
        if not _is_upload(Headers(scope=scope)):
            await self._app(scope, self._bounded(receive, self._limits.max_json_bytes), send)
            return
        try:
            async with asyncio.timeout(self._limits.waiting_seconds):
                await self._uploads.acquire()
        except TimeoutError:
            await _busy()(scope, receive, send)
            return
        try:
            await self._app(
                scope, self._bounded(receive, self._limits.max_upload_bytes + FORM_OVERHEAD), send
            )
        finally:
            self._uploads.release()

    def _bounded(self, receive: Receive, max_bytes: int) -> Receive:
        """Receive a body up to a size and within a time, counted from the first part asked for."""
        received, deadline, is_whole = 0, 0.0, False

        async def receive_bounded() -> Message:
            nonlocal received, deadline, is_whole
            if is_whole:  # what comes now is the end of the connection, which may take as long as it likes
                return await receive()
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + self._limits.body_seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                seconds = f"{self._limits.body_seconds:g}"
                detail = f"the request did not arrive within {seconds} seconds; send it again"
                raise HTTPException(408, detail, {"connection": "close"}) from error
            received += len(message.get("body", b""))
            is_whole = message["type"] == "http.request" and not message.get("more_body", False)
            if received > max_bytes:
                raise HTTPException(413, _too_large(max_bytes), {"connection": "close"})
            return message

        return receive_bounded

    def _rejection(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        path: str = scope["path"]
        if self._hosts is not None and not _is_named(headers.get("host", ""), self._hosts):
            detail = "this server has another name; open it by the address that it printed when it started"
            return JSONResponse({"detail": detail}, 400)
        is_open = path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)
        if not is_open and _is_foreign(scope, headers):
            detail = "this request comes from another site's page; open the server's own page"
            return JSONResponse({"detail": detail}, 403)
        if not is_open and not self._is_authorized(scope, headers):
            detail = "this server requires a token; send the header 'Authorization: Bearer TOKEN'"
            return JSONResponse({"detail": detail}, 401, {"www-authenticate": "Bearer"})
        limits = self._limits
        limit = limits.max_upload_bytes + FORM_OVERHEAD if _is_upload(headers) else limits.max_json_bytes
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return JSONResponse({"detail": _too_large(limit)}, 413)
        return None

    def _is_authorized(self, scope: Scope, headers: Headers) -> bool:
        """Whether the token is one of those known; its person's name is noted in the scope."""
        if not self._names:
            return True
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        given = credentials.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        found = [name for expected, name in self._names.items() if secrets.compare_digest(given, expected)]
        scope.setdefault("state", {})["person"] = found[0] if found else ""
        return bool(found)


def names_of_tokens(token: str | Collection[str] | None) -> dict[str, str]:
    """Return the person's name of each token: what stands before ``:`` in ``anna:secret``, or nothing.

    White space around a token is not part of it: no header could carry it. Raises ValueError for an empty
    token, and for a name without a secret.
    """
    tokens = [] if token is None else [token] if isinstance(token, str) else list(token)
    names: dict[str, str] = {}
    for each in (text.strip() for text in tokens):
        name, colon, secret = each.partition(":")
        if not (secret if colon else each).strip():
            raise ValueError(
                "the token is empty, so nobody could send it; give a secret or NAME:SECRET, or leave it out"
            )
        names[each] = name.strip() if colon else ""
    return names


def escaped_token(token: str) -> str:
    """The token in ASCII, as a URL can carry it; the page sends it so where a header could not."""
    return quote(token, safe=_UNESCAPED)


def _forms(token: str) -> set[bytes]:
    """The bytes that clients send for a token: in UTF-8, in Latin-1 if it has all characters, escaped."""
    forms = {token.encode(), escaped_token(token).encode()}
    return forms | {token.encode("latin-1")} if max(token) <= "\xff" else forms


def _is_upload(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another origin sent this. A link that is followed to a picture or a report is not."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        is_read = scope["method"] in ("GET", "HEAD") and _LINKED.fullmatch(scope["path"])
        is_link = is_read and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not is_link
    origin = headers.get("origin")  # of browsers without Sec-Fetch-Site; programs send neither
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _is_named(host: str, names: Collection[str]) -> bool:
    """Whether a Host header, of which the port does not count, has one of the names, or is an address.

    A name can be made to lead to this machine by whoever owns it (DNS rebinding), an address can't.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower().removesuffix(".")
    except ValueError:
        return False
    return name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_large(limit: int) -> str:
    return f"a request of this kind may have at most {limit / 2**20:.0f} MiB; send less"


def _busy() -> JSONResponse:
    detail = "too many requests are waiting; try again in a moment"
    return JSONResponse({"detail": detail}, 503, {"retry-after": "2"})
