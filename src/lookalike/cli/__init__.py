"""The command line: read arguments, call the library, print or save.

torch and timm are imported inside the commands, so that ``lookalike --help`` answers at once.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lookalike.cli.arrays import commands as array_commands
from lookalike.cli.comparing import commands as comparing_commands
from lookalike.cli.evaluating import evaluations
from lookalike.cli.explaining import commands as explaining_commands
from lookalike.cli.galleries import commands as gallery_commands
from lookalike.cli.galleries import upkeep
from lookalike.cli.models import models
from lookalike.cli.plots import before_after
from lookalike.cli.revisited import evaluate_revisited
from lookalike.cli.serving import commands as serving_commands
from lookalike.cli.training import commands as training_commands
from lookalike.cli.training_rerankers import commands as reranker_training_commands

app = typer.Typer(
    name="lookalike",
    help="Find the images that match, rank them better, and see why.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"max_content_width": 100},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich for its frames would take 0.3 s of half a second
)
app.add_typer(explaining_commands)
app.add_typer(gallery_commands)
app.add_typer(array_commands)
app.add_typer(training_commands)
app.add_typer(reranker_training_commands)
app.add_typer(serving_commands)
evaluations.command("revisited")(evaluate_revisited)
evaluations.command("before-after")(before_after)
app.add_typer(evaluations, name="evaluate")
app.add_typer(comparing_commands)
app.add_typer(upkeep, name="gallery")
app.add_typer(models, name="models")


def main() -> None:
    """Entry point of the ``lookalike`` command."""
    # threads that wait by spinning take the cores from decoding and from every other process
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # retries are not news, their end is
    app()


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        from lookalike import __version__

        typer.echo(__version__)
        raise typer.Exit
