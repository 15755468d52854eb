"""Metrics of an AVSL model by each level alone, by all levels joined, and through the graph.

    uv run python recipes/birds/levels.py runs/birds/avsl-0 runs/birds/avsl-last-0 --shared ../shared

For each folder that ``train.py`` left: Recall@1 and MAP@R on the test classes, every image against all
others, and the variation of the certainties over images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lookalike.datasets import LabeledImages, read_dataset
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.ops.avsl import Nodes
from lookalike.ops.metrics_per_query import average_precisions_at_r, is_recalled_at_k
from lookalike.ops.relevant_ranks import relevant_ranks


def metrics(similarity: Tensor, codes: Tensor) -> str:
    """Recall@1 and MAP@R in percent, of a (G, G) similarity without its diagonal."""
    similarity = similarity.clone().fill_diagonal_(-torch.inf)
    ranks = relevant_ranks(similarity, same_class(codes))
    values = (is_recalled_at_k(ranks, 1), average_precisions_at_r(ranks))
    return " | ".join(f"{100 * float(value.mean()):.1f}" for value in values)


def same_class(codes: Tensor) -> Tensor:
    """Columns of the other images of each row's class, padded with -1: (G, R)."""
    same = (codes[:, None] == codes).fill_diagonal_(False)
    columns = torch.arange(len(codes)).expand(len(codes), -1).masked_fill(~same, -1)
    return columns.sort(dim=1, descending=True).values[:, : int(same.sum(1).max())]


def table_rows(folder: Path, test: LabeledImages) -> list[str]:
    """Rows of a Markdown table for one model."""
    model = AvslModel(Embedder.load(folder, device="cpu", precision="fp32"))
    nodes = model.nodes(test.paths)
    codes = torch.tensor(test.codes)
    units = [F.normalize(e, dim=1) for e in nodes.embeddings]
    rows = [
        f"| {folder.name}: level {i + 1} alone ({layer.in_features} channels) | {metrics(u @ u.T, codes)} |"
        for i, (u, layer) in enumerate(zip(units, model.network.layers, strict=True))
    ]
    joined = sum(u @ u.T for u in units)
    rows.append(f"| {folder.name}: all joined, without the graph | {metrics(joined, codes)} |")
    rows.append(f"| {folder.name}: through the graph | {metrics(-model.distances(nodes), codes)} |")
    return [*rows, f"| {folder.name}: certainties, mean and deviation | {spread(nodes)} | |"]


def spread(nodes: Nodes) -> str:
    """Mean certainty and its standard deviation over images, at each level."""
    return ", ".join(f"{float(c.mean()):.3f} ± {float(c.std(0).mean()):.3f}" for c in nodes.certainties)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments = parser.parse_args()
    test = read_dataset(arguments.shared / "data/birds_cropped", "test")
    print("| similarity | Recall@1 | MAP@R |\n|---|---|---|")
    for folder in arguments.folders:
        print("\n".join(table_rows(folder, test)), flush=True)


if __name__ == "__main__":
    main()
