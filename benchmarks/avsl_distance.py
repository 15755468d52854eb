"""Speed and memory of AVSL's inferred distance between all pairs.

    uv run python benchmarks/avsl_distance.py
    uv run python benchmarks/avsl_distance.py --threads 1 --direct-rows 300     # on a busy machine

Three levels of 512 nodes, 128 links a node, random numbers: the cost does not depend on them. The
direct side is the formula written with broadcasting, in blocks of query rows; with --direct-rows it
computes only the first of them, and its time is scaled to all. Each side runs in a process of its
own, so that its peak memory is its own; CPU seconds are not distorted by a busy machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from environment import describe_run, parser_of

from lookalike.ops.avsl import Graph, Nodes, all_pairs, nearest_nodes, sparse_links

WIDTH, LEVELS, LINKS = 512, 3, 128
DIRECT_BLOCK = 30  # query rows a block; the published evaluation cuts 2,933 images into 101 blocks
COMPARED = 60  # rows whose distances are compared


def random_nodes(n: int) -> tuple[Nodes, Graph]:
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    links = tuple(sparse_links(numbers(WIDTH, WIDTH), LINKS) for _ in range(LEVELS - 1))
    coefficients = tuple(1 + 0.3 * numbers(WIDTH) for _ in range(LEVELS))
    biases = tuple(0.1 * numbers(WIDTH) for _ in range(LEVELS))
    embeddings = tuple(numbers(n, WIDTH) for _ in range(LEVELS))
    certainties = tuple(torch.rand(n, WIDTH, generator=generator) * 0.1 for _ in range(LEVELS))
    return Nodes(embeddings, certainties), Graph(links, coefficients, biases)


@torch.inference_mode()
def direct(query: Nodes, gallery: Nodes, graph: Graph) -> torch.Tensor:
    """Distances (Q, G) by the formula, written with broadcasting, in blocks of query rows."""
    blocks = []
    for start in range(0, len(query), DIRECT_BLOCK):
        some, inferred = query.rows(slice(start, start + DIRECT_BLOCK)), torch.empty(0)
        for level in range(LEVELS):
            a = torch.nn.functional.normalize(some.embeddings[level], dim=1)[:, None]
            b = torch.nn.functional.normalize(gallery.embeddings[level], dim=1)[None]
            own = (a - b).abs().pow(2)  # (Q, G, D)
            if level == 0:
                inferred = own
                continue
            certainty = some.certainties[level][:, None] * gallery.certainties[level][None]
            trust = certainty * graph.coefficients[level] + graph.biases[level]
            gate = torch.sigmoid(graph.sharpness * trust)
            inferred = own * gate + (inferred @ graph.links[level - 1]) * (1 - gate)
        blocks.append(inferred.sum(-1))
    return torch.cat(blocks)


def measured(work: Callable[[], torch.Tensor]) -> dict[str, float]:
    """Seconds, CPU seconds, and mebibytes beyond those of the inputs, of one call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "cpu": cpu_seconds, "mib": (peak - before) / 1024, "peak": peak / 1024}


def side(name: str, n: int, rows: int) -> dict[str, float]:
    """One measurement, in this process."""
    nodes, graph = random_nodes(n)
    first = nodes.rows(slice(0, rows))
    all_pairs(nodes.rows(slice(0, 32)), graph=graph)  # warm up
    match name:
        case "direct":
            return measured(lambda: direct(first, nodes, graph))
        case "ours":
            return measured(lambda: all_pairs(nodes, graph=graph))
        case "nearest":
            return measured(lambda: nearest_nodes(first, nodes, 10, graph=graph)[0])
        case _:
            ours, theirs = all_pairs(first, nodes, graph=graph), direct(first, nodes, graph)
            return {"difference": float((ours - theirs).abs().max()), "largest": float(theirs.max())}


def in_own_process(name: str, n: int, threads: int, rows: int = COMPARED) -> dict[str, float]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--side", name, "--images", str(n), "--rows", str(rows),
               "--threads", str(threads)]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def report(n: int, direct_rows: int, threads: int, sop: int) -> None:
    torch.set_num_threads(threads)
    print(describe_run())
    rows = direct_rows or n
    found = in_own_process("direct", n, threads, rows)
    scale = n / rows
    print(f"\nAll pairs of {n:,} images, {LEVELS} levels of {WIDTH} nodes, {LINKS} links a node\n")
    print("| | seconds | CPU seconds | memory beside the inputs |\n|---|---|---|---|")
    note = "" if rows == n else f" ({rows} of {n:,} rows, scaled)"
    print(
        f"| direct broadcast, {DIRECT_BLOCK} rows a block{note} | {found['seconds'] * scale:.0f} "
        f"| {found['cpu'] * scale:.0f} | {found['mib']:.0f} MiB |",
        flush=True,
    )
    ours = in_own_process("ours", n, threads)
    print(f"| ours | {ours['seconds']:.0f} | {ours['cpu']:.0f} | {ours['mib']:.0f} MiB |", flush=True)
    difference = in_own_process("difference", n, threads)
    print(
        f"\nRatio of seconds {found['seconds'] * scale / ours['seconds']:.1f}, of CPU seconds "
        f"{found['cpu'] * scale / ours['cpu']:.1f}; largest difference {difference['difference']:.1e} at "
        f"distances up to {difference['largest']:.2f}",
        flush=True,
    )
    print("\n| images | CPU seconds | memory beside the inputs |\n|---|---|---|")
    for smaller in (n // 8, n // 4, n // 2):
        found = in_own_process("ours", smaller, threads)
        print(f"| {smaller:,} | {found['cpu']:.1f} | {found['mib']:.0f} MiB |", flush=True)
    if sop:
        found = in_own_process("nearest", sop, threads, rows=16)
        print(
            f"\nThe 10 nearest of {sop:,} images without the whole matrix: {found['cpu'] / 16:.2f} "
            f"CPU seconds a query, {found['peak'] / 1024:.1f} GiB resident in all, images included"
        )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=2933)
    parser.add_argument("--direct-rows", type=int, default=0, help="query rows of the direct side; 0: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sop", type=int, default=60502, help="images of the search in a long list; 0: none")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=COMPARED, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        print(json.dumps(side(arguments.side, arguments.images, arguments.rows)))
    else:
        report(arguments.images, arguments.direct_rows, arguments.threads, arguments.sop)


if __name__ == "__main__":
    main()
