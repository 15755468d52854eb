"""The ``lookalike`` command line.

Commands import the library inside their bodies: importing torch and timm would slow down ``--help``.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.arrays import rerank
from lookalike.cli.audit import audit
from lookalike.cli.cases import case
from lookalike.cli.collector import let_collector_rest
from lookalike.cli.comparing import compare
from lookalike.cli.doctor import doctor
from lookalike.cli.evaluating import evaluations
from lookalike.cli.explaining import demo, explain
from lookalike.cli.explanations import evaluate_explanations
from lookalike.cli.exporting import export_model
from lookalike.cli.galleries import gallery
from lookalike.cli.groups import groups, same
from lookalike.cli.indexing import index
from lookalike.cli.map import map_collection
from lookalike.cli.mcp import mcp
from lookalike.cli.models import models
from lookalike.cli.plots import before_after
from lookalike.cli.publishing import push_model
from lookalike.cli.revisited import evaluate_revisited
from lookalike.cli.searching import search
from lookalike.cli.serving import serve
from lookalike.cli.threads import choose_threads
from lookalike.cli.training import train
from lookalike.cli.training_rerankers import train_reranker
from lookalike.errors import reason_of, system_sentence

app = typer.Typer(
    name="lookalike",
    help="Find the images that match, rank them better, and see why.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"max_content_width": 100},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich would take 0.3 s
)
app.command()(explain)
app.command()(demo)
app.command()(index)
app.command()(search)
app.command()(groups)
app.command()(same)
app.command()(audit)
app.command("map")(map_collection)
app.command()(rerank)
app.command()(train)
app.command("train-reranker")(train_reranker)
app.command()(serve)
app.command()(mcp)
app.command()(compare)
app.command()(doctor)
evaluations.command("revisited")(evaluate_revisited)
evaluations.command("before-after")(before_after)
evaluations.command("explanations")(evaluate_explanations)
models.command("export")(export_model)
models.command("push")(push_model)
app.add_typer(evaluations, name="evaluate")
app.add_typer(gallery, name="gallery")
app.add_typer(models, name="models")
app.add_typer(case, name="case")


def main() -> None:
    """Run the ``lookalike`` command."""
    choose_threads(sys.argv[1:])
    let_collector_rest()
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # hide retries, which would break progress bars
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's or pipe's encoding lacks is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        Path.cwd()
    except OSError:  # libraries that are loaded later would end the process without a word that helps
        print("lookalike: the working folder is gone; change to one that is there", file=sys.stderr)
        sys.exit(1)
    try:
        app()
    except SystemExit as end:
        sys.exit(_flushed() or end.code)
    except OSError as error:
        print(f"lookalike: {system_sentence(error)}", file=sys.stderr)
        sys.exit(_flushed() or 1)


def _flushed() -> int:
    """Write out what was printed; 1 where that is not possible, else 0."""
    if sys.stdout is None:  # closed by whoever started us
        return 0
    try:
        sys.stdout.flush()
        return 0
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more
        if not isinstance(error, BrokenPipeError):
            print(f"lookalike: the output can't be written: {reason_of(error)}", file=sys.stderr)
        return 1


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from lookalike import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass  # the option's callback does it, before a command is missed
