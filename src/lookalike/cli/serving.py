"""``lookalike serve``: serve galleries in the browser and over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.printing import echo, friendly_errors

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    uris: Annotated[
        list[str],
        typer.Option(
            "--gallery",
            "-g",
            metavar="GALLERY",
            help="Gallery to serve: a folder or an s3:// URI; can be repeated.",
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; by default only this machine can connect.")
    ] = ("127.0.0.1"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8000,
    token: Annotated[
        list[str] | None,
        typer.Option(
            envvar="LOOKALIKE_TOKEN",
            help="Require this token in every request; can be repeated, one for each person: NAME:SECRET.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another name that this server is reached by, for example through a proxy; can be repeated. "
            "With a token all names are answered.",
        ),
    ] = None,
    add_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Let clients add pictures from DIR, and upload pictures, which are stored in DIR/uploads.",
        ),
    ] = None,
) -> None:
    """Serve galleries in the browser.

    The page searches by a picture or a region of it, compares pictures and explains matches; the same
    is available as an HTTP API.

    Example: lookalike serve -g photos.gallery
    """
    with friendly_errors():
        check_web()
        from lookalike.web import serve

        serve(
            uris,
            host=host,
            port=port,
            token=token,
            add_from=add_from,
            allowed_hosts=allow_host or (),
            announce=announce,
            warn=warn,
        )


def check_web() -> None:
    """Raise LookalikeError, with the command to install it, if the web extra is missing."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise errors.LookalikeError(
            f"the web app needs {' and '.join(missing)}; install them with: pip install 'lookalike[web]'"
        )


def warn(sentence: str) -> None:
    """Print what whoever starts the server should know."""
    echo(f"note: {sentence}", err=True)


def announce(address: str) -> None:
    """Print the URL of the page."""
    echo(f"serving at {address} (press Ctrl+C to stop)")
