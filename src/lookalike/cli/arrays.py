"""``lookalike rerank``: re-rank embeddings from files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, keep_inputs, parse_assignments
from lookalike.cli.printing import echo, friendly_errors, print_json


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
        str,
        typer.Option(
            help="Re-ranker: aqe, dba, k-reciprocal, diffusion, superglobal or csa; join several with +, "
            "e.g. dba+aqe."
        ),
    ] = "aqe",
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="For csa: trained or published weights instead of the bundled csa-mini."),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="Number of top results to re-rank; at most the gallery size.")
    ] = 1024,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Option of the re-ranker; can be repeated."),
    ] = None,
    distractors: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="More rows of the gallery, after it; can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank and re-rank your own embeddings.

    Rows are normalized and ranked by cosine; then the first K results of each query are re-ranked and
    the rest keep their order. The array ranks is not written if it would have more than 268 million
    entries. A query that is also in the gallery is found first.

    Example: lookalike rerank --queries q.npy --gallery g.npy --method dba+aqe --set n=5 -o ranks.npz

    Ranks with distractors are judged by: lookalike evaluate revisited --ranks ranks.npz --n-distractors N
    """
    with friendly_errors():
        from lookalike.rerankers import rerank_files

        keep_inputs([queries, gallery, *(distractors or ())], output)
        options = parse_assignments(option or [])
        if checkpoint is not None:
            options["checkpoint"] = str(checkpoint)
        result = rerank_files(
            queries, gallery, output, method=method, k=k, distractors=distractors or (), **options
        )
        if as_json:
            print_json(dataclasses.asdict(result))
            return
        without = "" if result.has_ranks else ", without ranks, which would be too large"
        echo(
            f"re-ranked the first {result.k} of {result.n_gallery} for {result.n_queries} queries "
            f"by {result.method}; wrote {result.written}{without}"
        )
