"""The command ``serve``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.printing import friendly_errors

commands = typer.Typer()
_NEEDED = ("fastapi", "uvicorn", "python_multipart")


@commands.command()
def serve(
    uris: Annotated[
        list[str],
        typer.Option("--gallery", "-g", metavar="GALLERY", help="Folder of a gallery; may be repeated."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; by default this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="LOOKALIKE_TOKEN", help="Require this token in every request.")
    ] = None,
    add_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Allow adding images from below DIR, and uploads, which are stored in DIR/uploads.",
        ),
    ] = None,
) -> None:
    """Serve galleries over HTTP and in the browser.

    Search, search by a region, compare, and see why.

    Example: lookalike serve -g photos.gallery
    """
    with friendly_errors():
        check_web()
        from lookalike.web import serve

        serve(uris, host=host, port=port, token=token, add_from=add_from, announce=announce)


def check_web() -> None:
    """LookalikeError, with the command that helps, where the extra is not installed."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise errors.LookalikeError(
            f"the web app needs {' and '.join(missing)}; install them with: pip install 'lookalike[web]'"
        )


def announce(address: str) -> None:
    """Say where the page is."""
    typer.echo(f"the page is at {address} (Ctrl+C ends)")
