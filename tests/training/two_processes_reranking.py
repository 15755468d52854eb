"""Trains a small re-ranker for two steps: two_processes_reranking.py OUT DEVICES.

Lightning starts this very script again for the second process.
"""

import sys
from pathlib import Path

import torch

from lookalike.datasets.descriptors import Descriptors
from lookalike.training import RuntimeOptions
from lookalike.training.reranking import fit_reranker
from lookalike.training.reranking_settings import RerankerSettings

SETTINGS = RerankerSettings(
    steps=2, batch_size=4, candidates=15, n_anchors=8, width=16, depth=1, heads=2, hidden=24, warm_up=0.5,
    dropout=0.0, drop_path=0.0,
)  # fmt: skip

if __name__ == "__main__":
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    birds = Descriptors("birds", torch.arange(40) % 4, {"a": torch.randn(40, 6, generator=generator)})
    fit_reranker(
        [birds],
        SETTINGS,
        out=Path(sys.argv[1]),
        runtime=RuntimeOptions(devices=int(sys.argv[2]), accelerator="cpu"),
    )
