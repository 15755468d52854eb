"""Running the application: open the galleries, listen on one address, shut down gracefully."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from lookalike.errors import LookalikeError
from lookalike.gallery import Gallery
from lookalike.web.app import create_app

_GRACE = 10  # seconds that running requests have to finish
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def serve(
    uris: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    add_from: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve galleries until interrupted; ``announce`` is called with the URL of the page.

    Raises LookalikeError for a gallery that can't be opened, two of one name, and a port in use.
    """
    galleries = {Path(uri).stem: Gallery.open(uri) for uri in uris}
    if len(galleries) < len(uris):
        raise LookalikeError("two of the galleries have one name; rename one of their folders")
    local = _is_local(host)
    app = create_app(
        galleries,
        token=token,
        add_from=add_from,
        allowed_hosts=_LOCAL_HOSTS if local else ("*",),  # against DNS rebinding
    )
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=_GRACE, server_header=False
    )
    server = uvicorn.Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)  # closed again on failure
    except OSError as error:
        raise LookalikeError(
            f"{host}:{port} can't be listened on; it may be in use, choose another --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{listening.getsockname()[1]}/" + (f"#token={token}" if token else ""))
    server.run(sockets=[listening])


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
