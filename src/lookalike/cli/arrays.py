"""Commands on arrays, for those who bring their own descriptors."""

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
        Path, typer.Option(help="One row a query: .npy, .npz, .safetensors, .pt, or .pkl of CSA's layout.")
    ],
    gallery: Annotated[Path, typer.Option(help="One row an item, from the same model.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File .npz for ranks (G, Q), indices (Q, K), scores (Q, K)."),
    ],
    method: Annotated[
        str, typer.Option(help="aqe, dba, k-reciprocal, diffusion or csa; several joined by +, e.g. dba+aqe.")
    ] = "aqe",
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="For csa: a trained or published network instead of the bundled csa-mini."),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="Re-rank this many; the whole gallery if it has fewer.")
    ] = 1024,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="An option of the method; may be given several times."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank and re-rank your own embeddings.

    The order before is by cosine, so rows need no unit length. Of each column of ranks the first K are
    re-ranked, the rest keep the order of their cosines. Ranks of more than 268 million numbers are left
    out. A query that is in the gallery finds itself.

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
        without = "" if result.has_ranks else ", without ranks: too many"
        typer.echo(
            f"re-ranked the first {result.k} of {result.n_gallery} for {result.n_queries} queries "
            f"by {result.method}; wrote {result.written}{without}"
        )
