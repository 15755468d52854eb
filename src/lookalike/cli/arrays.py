"""``lookalike rerank``: re-ranking of embeddings in files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import friendly_errors, print_json

commands = typer.Typer()


@commands.command()
def rerank(
    queries: Annotated[
        Path, typer.Option(help="One row per query: .npy, .npz, .safetensors, .pt, or .pkl in CSA's layout.")
    ],
    gallery: Annotated[Path, typer.Option(help="One row per gallery item, from the same model.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help=".npz file to write: ranks (G, Q), indices (Q, K), scores (Q, K)."
        ),
    ],
    method: Annotated[
        str, typer.Option(help="aqe, dba, k-reciprocal, diffusion or csa; several joined by +, e.g. dba+aqe.")
    ] = "aqe",
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="For csa: a trained or published network instead of the bundled csa-mini."),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="Length of the list that is re-ranked; at most the gallery.")
    ] = 1024,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the method; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank and re-rank your own embeddings.

    Rows are first ranked by cosine and may have any length. In each column of ranks the first K are
    re-ranked and the rest stay in the order of their cosines. Ranks of more than 268 million numbers
    are left out. A query that is in the gallery finds itself.

    Example: lookalike rerank --queries q.npy --gallery g.npy --method dba+aqe --set n=5 -o ranks.npz
    """
    with friendly_errors():
        from lookalike.rerankers import rerank_files

        options = parse_assignments(option or [])
        if checkpoint is not None:
            options["checkpoint"] = str(checkpoint)
        result = rerank_files(queries, gallery, output, method=method, k=k, **options)
        if as_json:
            print_json(dataclasses.asdict(result))
            return
        without = "" if result.has_ranks else ", without ranks, which would be too many"
        typer.echo(
            f"re-ranked the first {result.k} of {result.n_gallery} for {result.n_queries} queries "
            f"by {result.method}; wrote {result.written}{without}"
        )
