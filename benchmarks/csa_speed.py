"""Speed and memory of csa at the published size against a plain implementation; called by rerank.py --speed.

K = 1024, L = 512, width 768, depth 2, 12 heads, descriptors of 2048 dimensions, random weights. Plain: one
query at a time, affinities by concatenation and product, attention matrices in full: as one writes it
down from the paper. Rounds of all take turns; the fastest round of each counts, in time of the processor,
which other programs on the machine disturb less. Memory is the peak of a process of its own, with
descriptors and weights.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from environment import describe_run
from torch import Tensor
from torch.nn import functional as F

from lookalike.models.csa.checkpoint import save_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes
from lookalike.models.csa.shortlist import PublishedScorer
from lookalike.rerankers import ContextualReranking
from lookalike.types import Ranking

K, D, ROUNDS = 1024, 2048, 4


@torch.no_grad()
def plain(state: dict[str, Tensor], ranking: Ranking, sizes: ContextSizes) -> Tensor:
    """Scores (Q, K), in the order of the ranking."""
    return torch.stack(
        [
            plain_scores(state, query, ranking.gallery[rows], sizes)
            for query, rows in zip(ranking.queries, ranking.indices, strict=True)
        ]
    )


def plain_scores(state: dict[str, Tensor], query: Tensor, candidates: Tensor, sizes: ContextSizes) -> Tensor:
    items = torch.cat([query[None], candidates])
    anchors = torch.cat([query[None], candidates[: sizes.n_anchors - 1]])
    x = linear(items @ anchors.T, state, "topk_proj")
    for block in range(sizes.depth):
        name = f"blocks.{block}"
        parts = linear(norm(x, state, f"{name}.norm1"), state, f"{name}.attn.qkv")
        q, k, v = parts.reshape(len(x), 3, sizes.heads, -1).permute(1, 2, 0, 3)  # each (A, T, d)
        attention = ((q @ k.transpose(1, 2)) / q.shape[2] ** 0.5).softmax(2)
        mixed = (attention @ v).transpose(0, 1).reshape(len(x), -1)
        x = x + linear(mixed, state, f"{name}.attn.proj")
        hidden = F.gelu(linear(norm(x, state, f"{name}.norm2"), state, f"{name}.mlp.fc1"))
        x = x + linear(hidden, state, f"{name}.mlp.fc2")
    units = F.normalize(x, dim=1)
    return (units[:1] * units[1:]).sum(1)


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[1:], state[f"{name}.weight"], state[f"{name}.bias"])


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def in_row_order(ranking: Ranking, after: Ranking) -> Tensor:
    """Scores of ``after`` in the order of ``ranking``."""
    by_row = torch.zeros(len(after.scores), len(after.gallery)).scatter(1, after.indices, after.scores)
    return by_row.gather(1, ranking.indices)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, mean over queries."""
    ranks = [scores.argsort(1).argsort(1).double() for scores in (first, second)]
    return float(torch.stack([torch.corrcoef(torch.stack(p))[0, 1] for p in zip(*ranks, strict=True)]).mean())


def peak_megabytes(part: str, n_queries: int) -> float:
    """Peak memory of a process that does one part once."""
    code = f"import csa_speed; csa_speed.alone({part!r}, {n_queries})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return float(answer.stdout.split()[-1])


def alone(part: str, n_queries: int) -> None:
    import resource

    scorers, state, ranking, sizes = made(n_queries)
    plain(state, ranking, sizes) if part == "plain" else scorers[part](ranking)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def made(
    n_queries: int,
) -> tuple[dict[str, ContextualReranking], dict[str, Tensor], Ranking, ContextSizes]:
    sizes = ContextSizes()
    torch.manual_seed(0)
    network = ContextNetwork(sizes)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    file = Path("/tmp") / "csa-speed.safetensors"
    save_scorer(file, PublishedScorer(network))
    queries, gallery = (F.normalize(torch.randn(n, D) + 1, dim=1) for n in (n_queries, 4 * K))
    scores, indices = (queries @ gallery.T).topk(K, dim=1)
    scorers = {p: ContextualReranking(checkpoint=file, precision=p) for p in ("fp32", "bf16")}
    return scorers, network.state_dict(), Ranking(queries, gallery, indices, scores), sizes


def products(sizes: ContextSizes) -> list[tuple[int, int, int, int]]:
    """The matrix products of a query: rows, inner width, columns, and how many of them."""
    items, width, depth = K + 1, sizes.width, sizes.depth
    return [
        (items, D, sizes.n_anchors, 1),
        (items, sizes.n_anchors, width, 1),
        (items, width, 3 * width, depth),
        (items, width // sizes.heads, items, depth * sizes.heads),
        (items, items, width // sizes.heads, depth * sizes.heads),
        (items, width, width, depth),
        (items, width, sizes.hidden, depth),
        (items, sizes.hidden, width, depth),
    ]


def products_alone(sizes: ContextSizes, dtype: torch.dtype) -> float:
    """Seconds of a query's products with nothing between them."""
    total = 0.0
    for rows, inner, columns, count in products(sizes):
        left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        out = torch.empty(rows, columns, dtype=dtype)
        work = partial(torch.mm, left, right.T, out=out)
        total += count * min(seconds(work) for _ in range(10))
    return total


def main(n_queries: int) -> None:
    print(describe_run())
    scorers, state, ranking, sizes = made(n_queries)
    times: dict[str, list[float]] = {"plain": [], "fp32": [], "bf16": []}
    for _ in range(ROUNDS):
        times["plain"].append(seconds(lambda: plain(state, ranking, sizes)))
        for name, scorer in scorers.items():
            times[name].append(seconds(lambda scorer=scorer: scorer(ranking)))  # type: ignore[misc]
    expected = plain(state, ranking, sizes).detach()
    print(f"{n_queries} queries, {ROUNDS} rounds\n")
    print("| | s / query | ratio | largest error | rank correlation | memory |\n|---|---|---|---|---|---|")
    best = {name: min(found) / n_queries for name, found in times.items()}
    used = {name: peak_megabytes(name, n_queries) for name in times}
    print(f"| plain | {best['plain']:.2f} | 1 | - | - | {used['plain']:.0f} MB |")
    for name, scorer in scorers.items():
        ours = in_row_order(ranking, scorer(ranking))
        error, correlation = float((ours - expected).abs().max()), rank_correlation(ours, expected)
        ratio = best["plain"] / best[name]
        row = f"| {name} | {best[name]:.2f} | {ratio:.1f} | {error:.0e} | {correlation:.5f}"
        print(f"{row} | {used[name]:.0f} MB |")
    operations = sum(2 * rows * inner * columns * count for rows, inner, columns, count in products(sizes))
    print(f"\n{operations / 1e9:.1f} billion operations a query; the products alone, s:", end=" ")
    print(
        ", ".join(f"{dtype}: {products_alone(sizes, dtype):.2f}" for dtype in (torch.float32, torch.bfloat16))
    )
