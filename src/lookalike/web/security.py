"""Middleware that checks the token and the request size, and sets security headers."""

from __future__ import annotations

import secrets
from typing import final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_OPEN_PATHS = ("/", "/favicon.ico")
_OPEN_FOLDER = "/static/"


@final
class SecurityMiddleware:
    """Rejects a missing or wrong token with 401 and a too large Content-Length with 413."""

    def __init__(self, app: ASGIApp, *, token: str | None, max_body_bytes: int) -> None:
        self._app, self._token, self._max_body_bytes = app, token, max_body_bytes

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

        rejection = self._rejection(scope["path"], Headers(scope=scope))
        await (rejection or self._app)(scope, receive, send_with_headers)

    def _rejection(self, path: str, headers: Headers) -> JSONResponse | None:
        if not (path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)) and not self._is_authorized(headers):
            detail = "this server requires a token; send the header 'Authorization: Bearer TOKEN'"
            return JSONResponse({"detail": detail}, 401, {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body_bytes:
            limit = f"{self._max_body_bytes / 2**20:.0f} MiB"
            return JSONResponse(
                {"detail": f"a request may have at most {limit}; send a smaller picture"}, 413
            )
        return None

    def _is_authorized(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        expected = f"Bearer {self._token}".encode()
        return secrets.compare_digest(headers.get("authorization", "").encode(), expected)
