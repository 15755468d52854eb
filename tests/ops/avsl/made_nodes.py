"""Made-up nodes and graphs: three levels of widths that differ nowhere but where they must not."""

import torch

from lookalike.ops.avsl import Graph, Nodes, sparse_links

D, LEVELS = 24, 3


def make_nodes(n, seed=0, width=D):
    generator = torch.Generator().manual_seed(seed)
    return Nodes(
        tuple(torch.randn(n, width, generator=generator) for _ in range(LEVELS)),
        tuple(torch.rand(n, width, generator=generator) * 0.6 for _ in range(LEVELS)),
    )


def make_graph(seed=9, power=2.0, top_k=7, width=D):
    generator = torch.Generator().manual_seed(seed)
    return Graph(
        tuple(sparse_links(torch.randn(width, width, generator=generator), top_k) for _ in range(LEVELS - 1)),
        tuple(1 + 0.3 * torch.randn(width, generator=generator) for _ in range(LEVELS)),
        tuple(0.1 * torch.randn(width, generator=generator) for _ in range(LEVELS)),
        power=power,
    )
