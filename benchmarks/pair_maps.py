"""Speed of maps against the published double loop, and of rollout with and without N x N products.

    uv run python benchmarks/pair_maps.py

Both sides run in this process, alternately, on one thread; the ratio of medians is reported, and the
largest difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from environment import describe_run, parser_of

from lookalike.ops.attribution import pair_maps, similarity_maps
from lookalike.ops.rollout import attention_rollout, roll_out


def double_loop(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps of WACV 2019 for mean pooling: products of all pairs of cells, summed over either image."""
    norm = np.linalg.norm(a.mean(0)) * np.linalg.norm(b.mean(0)) * len(a) * len(b)
    products = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            products[i, j] = (a[i] * b[j]).sum() / norm
    return products.sum(1), products.sum(0)


def medians(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of two functions, measured alternately, each over at least 10 ms of calls."""
    counts = [calls_in_10_ms(function) for function in (first, second)]
    times = [
        [mean_seconds(function, count) for function, count in zip((first, second), counts, strict=True)]
        for _ in range(repeats)
    ]
    return tuple(np.median(times, axis=0))  # type: ignore[return-value]


def calls_in_10_ms(function: Callable[[], object]) -> int:
    """Number of calls that take about 10 ms, at least one. The calls also warm up."""
    return max(1, round(0.01 / min(mean_seconds(function, 1) for _ in range(3))))


def mean_seconds(function: Callable[[], object], count: int) -> float:
    """Mean time of a call."""
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count


def report_pairs(rng: np.random.Generator) -> None:
    print("\n| features | double loop | ours | ratio | largest difference |\n|---|---|---|---|---|")
    for h, w, channels, repeats in ((7, 7, 2048, 50), (14, 14, 768, 9), (32, 32, 512, 3)):
        a, b = rng.random((2, h * w, channels), dtype=np.float32)
        tensors = torch.from_numpy(a), torch.from_numpy(b)
        slow, fast = medians(lambda: double_loop(a, b), lambda: pair_maps(*tensors), repeats)  # noqa: B023
        difference = max(
            float(np.abs(theirs - mine.numpy()).max() / np.abs(theirs).max())
            for theirs, mine in zip(double_loop(a, b), pair_maps(*tensors), strict=True)
        )
        print(
            f"| {h} x {w} x {channels} | {slow * 1e3:.1f} ms | {fast * 1e3:.3f} ms | {slow / fast:.0f} x "
            f"| {difference:.0e} |"
        )


def report_many(rng: np.random.Generator) -> None:
    shares = torch.from_numpy(rng.random((196, 768), dtype=np.float32))
    matches = torch.nn.functional.normalize(
        torch.from_numpy(rng.random((1000, 768), dtype=np.float32)), dim=1
    )
    nothing = torch.zeros(768)
    one_by_one, together = medians(
        lambda: [similarity_maps(shares, nothing, match[None]) for match in matches],
        lambda: similarity_maps(shares, nothing, matches),
        15,
    )
    print(
        f"\nMaps of one query (14 x 14 x 768) against 1,000 matches: {together * 1e3:.1f} ms in one product, "
        f"{one_by_one / together:.1f} x faster than one by one."
    )


def report_rollout(rng: np.random.Generator) -> None:
    print("\n| tokens | product of matrices | applied to the vector | ratio | largest difference |")
    print("|---|---|---|---|---|")
    for n, layers, heads, repeats in ((196, 12, 12, 15), (1024, 12, 6, 5)):
        attentions = list(torch.from_numpy(rng.random((layers, heads, n, n), dtype=np.float32)).softmax(-1))
        values = torch.from_numpy(rng.random(n, dtype=np.float32))
        slow, fast = medians(
            lambda: attention_rollout(attentions) @ values,  # noqa: B023
            lambda: roll_out(values, attentions),  # noqa: B023
            repeats,
        )
        difference = float(
            (attention_rollout(attentions) @ values - roll_out(values, attentions)).abs().max()
        )
        print(f"| {n} | {slow * 1e3:.1f} ms | {fast * 1e3:.1f} ms | {slow / fast:.1f} x | {difference:.0e} |")


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print(describe_run())
    report_pairs(rng)
    report_many(rng)
    report_rollout(rng)


if __name__ == "__main__":
    main()
