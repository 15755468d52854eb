"""Runs the web app: opens the galleries, listens on one address, shuts down gracefully."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import uvicorn

from lookalike.errors import LookalikeError
from lookalike.gallery import Gallery
from lookalike.types.machine import use_few_heaps
from lookalike.web.app import create_app
from lookalike.web.patience import PatientProtocol
from lookalike.web.security import escaped_token, names_of_tokens

_MAX_CONNECTIONS = 512
_SHUTDOWN_SECONDS = 10  # for running requests to finish
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_WILDCARDS = ("0.0.0.0", "::")


def serve(
    uris: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | Sequence[str] | None = None,
    add_from: Path | None = None,
    allowed_hosts: Collection[str] = (),
    announce: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve galleries until interrupted.

    ``announce`` is called with the URL of the page, and the token in it, once the server listens; for
    several tokens once for each. With a ``token``, or several, every request must send one (see
    ``create_app``); without one, ``warn`` is called if other machines can connect, and only requests for an
    address, for this machine's own names and for ``allowed_hosts`` are answered, which prevents DNS
    rebinding. Pictures may be added from inside ``add_from``; None disables adding. Raises LookalikeError
    if two galleries have the same name, for an address that this machine does not have and a port that is
    in use, and GalleryError and its kinds if a gallery can't be opened.
    """
    use_few_heaps()
    tokens = names_of_tokens(token)
    with _listening(host, port) as listener:
        address, port = listener.getsockname()[:2]
        galleries = {Path(uri).stem: Gallery.open(uri) for uri in uris}
        if len(galleries) < len(uris):
            raise LookalikeError("two of the galleries have the same name; rename one of their folders")
        names = {host, address, *_own_names(address), *allowed_hosts}
        app = create_app(
            galleries,
            token=list(tokens),
            add_from=add_from,
            allowed_hosts=None if tokens else names,
        )
        config = uvicorn.Config(
            app,
            host=address,
            port=port,
            http=PatientProtocol,
            limit_concurrency=_MAX_CONNECTIONS,
            log_level="warning",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            server_header=False,
        )
        page = f"http://{_shown(host)}:{port}/"
        for url in [f"{page}#token={escaped_token(each)}" for each in tokens] or [page]:
            announce(url)
        if not (tokens or ipaddress.ip_address(address).is_loopback):
            warn("whoever can reach this machine can open the galleries; --token asks them for a secret")
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens on a host, a name or an address of this machine, and a port; 0 is a free one."""
    host = host.strip().removeprefix("[").removesuffix("]")
    if not host:
        raise LookalikeError("--host is empty; give an address of this machine, such as 127.0.0.1")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise LookalikeError(
            f"{host!r} is no address or name of this machine; give --host 127.0.0.1, or 0.0.0.0 for all of "
            "its addresses, and the port by --port"
        ) from error
    family, address = found[0], found[4][0]
    both = address == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        is_elsewhere = error.errno == errno.EADDRNOTAVAIL
        advice = "give an address of this machine by --host" if is_elsewhere else "choose another --port"
        reason = os.strerror(error.errno) if error.errno else error
        raise LookalikeError(f"can't listen on {host}, port {port}: {reason}; {advice}") from error


def _own_names(address: str) -> set[str]:
    """The names of this machine under which the address is reached: all it has, or those of the loopback."""
    if ipaddress.ip_address(address).is_loopback:
        return set(LOCAL_HOSTS)
    name = socket.gethostname()
    return {*LOCAL_HOSTS, name, f"{name}.local"}  # .local by multicast DNS


def _shown(host: str) -> str:
    """The host in the URL of the page: every address is reached here as localhost."""
    host = host.strip().removeprefix("[").removesuffix("]")
    if host in _WILDCARDS:
        return "localhost"
    return f"[{host}]" if ":" in host else host
