"""``lookalike mcp``: a gallery as tools for assistants."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.printing import friendly_errors


def mcp(
    uri: Annotated[
        str, typer.Option("--gallery", "-g", metavar="GALLERY", help="Gallery: a folder or an s3:// URI.")
    ],
    add_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Let assistants bring the gallery up to date with DIR; without, nothing is written.",
        ),
    ] = None,
) -> None:
    """Serve a gallery to assistants over MCP.

    The tools of the Model Context Protocol, on stdin and stdout, are search, why, compare and groups.
    Register this command with the assistant.

    Example: lookalike mcp -g photos.gallery
    """
    with friendly_errors():
        if find_spec("mcp") is None:
            raise errors.LookalikeError(
                "this needs the SDK of MCP; install it with: pip install 'lookalike[mcp]'"
            )
        from lookalike.gallery import Gallery
        from lookalike.plugs.mcp_server import mcp_server

        mcp_server(Gallery.open(uri), add_from=add_from).run()
