"""Runs the web app: opens the galleries, listens on one address, shuts down gracefully."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from lookalike.errors import LookalikeError
from lookalike.gallery import Gallery
from lookalike.types.machine import use_few_heaps
from lookalike.web.app import create_app
from lookalike.web.patience import PatientProtocol

_MAX_CONNECTIONS = 512
_SHUTDOWN_SECONDS = 10  # for running requests to finish
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def serve(
    uris: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | Sequence[str] | None = None,
    add_from: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve galleries until interrupted.

    ``announce`` is called with the URL of the page, and the token in it, once the server listens; for
    several tokens once for each. With a ``token``, or several, every request must send one (see
    ``create_app``). Pictures may be added from inside ``add_from``; None disables adding. Raises
    LookalikeError if two galleries have the same name or the port is in use, and GalleryError and its kinds
    if a gallery can't be opened.
    """
    use_few_heaps()
    galleries = {Path(uri).stem: Gallery.open(uri) for uri in uris}
    if len(galleries) < len(uris):
        raise LookalikeError("two of the galleries have the same name; rename one of their folders")
    app = create_app(
        galleries,
        token=token,
        add_from=add_from,
        allowed_hosts={host, *LOCAL_HOSTS} if _is_local(host) else None,  # prevents DNS rebinding
    )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        limit_concurrency=_MAX_CONNECTIONS,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        server_header=False,
    )
    server = uvicorn.Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)  # closes the socket if it fails
    except OSError as error:
        raise LookalikeError(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    page = f"http://{shown}:{listening.getsockname()[1]}/"
    tokens = [token] if isinstance(token, str) else list(token or [])
    for address in [f"{page}#token={each}" for each in tokens] or [page]:
        announce(address)
    server.run(sockets=[listening])


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
