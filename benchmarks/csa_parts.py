"""Which part of csa-mini's score carries its gain: mean change of mAP and Recall@1 over sets and embeddings.

    uv run python benchmarks/csa_parts.py [--images 240] [--cache FOLDER]

Sets, queries and embeddings are those of benchmarks/csa.py that the network never saw. Its score is a sum
of its three views, weighted by its gate, plus the cosine of refined features; each is ranked by alone, beside
the plain sum of the views with the query, and k-reciprocal.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from csa import UNSEEN, embedded, embedders
from environment import add_shared, describe_run, parser_of
from rerank import SETS, load_task, precisions
from torch import Tensor

from lookalike.models.csa.checkpoint import bundled_scorer
from lookalike.models.csa.shortlist import N_VIEWS, ExpandedScorer
from lookalike.ops.affinity import refined_similarities
from lookalike.rerankers import first_stage, make_reranker
from lookalike.rerankers.base import score_each

PARTS = ("whole", "weighted sum of the views alone", "refined cosine alone", "plain sum of the views")


@torch.inference_mode()
def part_scores(query: Tensor, candidates: Tensor, part: str) -> Tensor:
    """Scores (K,) of candidates (K, D) by one part of csa-mini."""
    scorer = bundled_scorer()
    assert isinstance(scorer, ExpandedScorer)
    inputs = scorer.inputs(query[None], candidates[None])  # (1, 1 + K, L)
    if part == "plain sum of the views":
        return inputs[0, 1:, :: inputs.shape[2] // N_VIEWS].sum(1)
    tokens = scorer.network(inputs)
    refined = refined_similarities(tokens)[0, 1:]
    if part == "refined cosine alone":
        return refined
    whole = scorer.scores(inputs, tokens)[0]
    return whole if part == "whole" else whole - refined


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=240, help="about as many of each set")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings")
    add_shared(parser)
    arguments = parser.parse_args()
    print(describe_run())
    changes: dict[str, list[tuple[float, float]]] = {}
    made = embedders(arguments.shared / "weights")
    for name in SETS:
        task = load_task(arguments.shared / "data", name, arguments.images)
        for embedding in UNSEEN:
            vectors = embedded(cache(made[embedding]), embedding, task, arguments.cache)
            before = first_stage(*vectors, k=len(vectors[1]))
            first, recall = precisions(before, task)
            rankings = {
                part: score_each(before, lambda q, c, part=part: part_scores(q, c, part)) for part in PARTS
            }
            rankings["k-reciprocal"] = make_reranker("k-reciprocal")(before)
            for part, after in rankings.items():
                found, recall_after = precisions(after, task)
                changes.setdefault(part, []).append(((found - first).mean(), recall_after - recall))
    print("\n| ranked by | mean change of mAP | of Recall@1 | worst change of mAP |\n|---|---|---|---|")
    for part, found in changes.items():
        of_map, of_recall = zip(*found, strict=True)
        means = (sum(of_map) / len(of_map), sum(of_recall) / len(of_recall), min(of_map))
        print(f"| {part} | {' | '.join(f'{value:+.1%}' for value in means)} |")


if __name__ == "__main__":
    main()
