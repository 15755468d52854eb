"""Losses on embeddings by name, each with its miner and its published parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from pytorch_metric_learning import distances, losses, miners, regularizers
from torch import Tensor, nn

from lookalike.errors import check_name
from lookalike.training.baseline_losses import DistanceProxyAnchor, HardMargin
from lookalike.training.objective import Objective, Output


@dataclass(frozen=True)
class LossRecipe:
    """Constructors of a loss and its miner."""

    source: str
    loss: Callable[[int, int], nn.Module]  # from the numbers of classes and dimensions
    miner: Callable[[], nn.Module] | None = None
    takes_memory: bool = False  # whether it may compare with embeddings of earlier batches
    compares_images: bool = False  # with each other, rather than with proxies; all that take a memory do

    def __post_init__(self) -> None:
        object.__setattr__(self, "compares_images", self.compares_images or self.takes_memory)


def _soft_triple(n_classes: int, dims: int) -> nn.Module:
    sparse = regularizers.SparseCentersRegularizer(n_classes, 10)
    options = {"centers_per_class": 10, "la": 20, "gamma": 0.1, "margin": 0.01}
    loss: nn.Module = losses.SoftTripleLoss(
        n_classes, dims, weight_regularizer=sparse, weight_reg_weight=0.2, **options
    )
    return loss


def _squared() -> Any:
    return distances.LpDistance(p=2, power=2, normalize_embeddings=True)


# If a paper and its code differ, the paper's number. Distances are of unit embeddings.
LOSSES: Mapping[str, LossRecipe] = {
    "proxy-anchor": LossRecipe(
        "Kim et al., CVPR 2020: margin 0.1, scale 32",
        lambda n, d: losses.ProxyAnchorLoss(n, d, margin=0.1, alpha=32),
    ),
    "proxy-nca++": LossRecipe(
        "Teh et al., ECCV 2020: temperature 1/9",
        lambda n, d: losses.ProxyNCALoss(n, d, softmax_scale=9),
    ),
    "multi-similarity": LossRecipe(
        "Wang et al., CVPR 2019: scales 2 and 50, threshold 0.5 as in its code, mining margin 0.1",
        lambda n, d: losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5),
        lambda: miners.MultiSimilarityMiner(epsilon=0.1),
        takes_memory=True,
    ),
    "triplet": LossRecipe(
        "Schroff et al., CVPR 2015: squared distances, margin 0.2, semi-hard negatives",
        lambda n, d: losses.TripletMarginLoss(margin=0.2, distance=_squared()),
        lambda: miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=_squared()),
        takes_memory=True,
    ),
    "margin": LossRecipe(
        "Wu et al., ICCV 2017: margin 0.2, a learned boundary of each class from 1.2, distance-weighted "
        "negatives between 0.5 and 1.4",
        lambda n, d: losses.MarginLoss(margin=0.2, nu=0.0, beta=1.2, learn_beta=True, num_classes=n),
        lambda: miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4),
        takes_memory=True,
    ),
    "contrastive": LossRecipe(
        "Hadsell et al., CVPR 2006, on distances that are not squared: negatives beyond 1",
        lambda n, d: losses.ContrastiveLoss(pos_margin=0.0, neg_margin=1.0),
        takes_memory=True,
    ),
    "supcon": LossRecipe(
        "Khosla et al., NeurIPS 2020: temperature 0.1",
        lambda n, d: losses.SupConLoss(temperature=0.1),
        takes_memory=True,
    ),
    "soft-triple": LossRecipe(
        "Qian et al., ICCV 2019: 10 centers a class, scale 20, gamma 0.1, margin 0.01, tau 0.2",
        _soft_triple,
    ),
    "arcface": LossRecipe(
        "Deng et al., CVPR 2019: margin 0.5 rad, scale 64",
        lambda n, d: losses.ArcFaceLoss(n, d, margin=28.6, scale=64),
    ),
    "proxy-anchor-avsl": LossRecipe(
        "Kim et al., CVPR 2020, as a baseline of Zhang et al., CVPR 2022: margin 0.1, scale 32, proxies "
        "that begin short",
        lambda n, d: DistanceProxyAnchor(
            n, d, positive_margin=1.8, negative_margin=2.2, sharpness=16.0, is_squared=True
        ),
    ),
    "proxy-anchor-avsl-sop": LossRecipe(
        "as a baseline of Zhang et al. on Stanford Online Products: of distances that are not squared, "
        "margins 1.8 and 2.4, scale 16",
        lambda n, d: DistanceProxyAnchor(
            n, d, positive_margin=1.8, negative_margin=2.4, sharpness=16.0, is_squared=False
        ),
    ),
    "margin-avsl": LossRecipe(
        "Wu et al., ICCV 2017, as a baseline of Zhang et al., CVPR 2022: margin 0.2, a learned boundary of "
        "each class from 1.2, the nearest negative beyond 0.5",
        lambda n, d: HardMargin(n, margin=0.2, boundary=1.2, cutoff=0.5),
        compares_images=True,
    ),
}


@final
class EmbeddingLoss(Objective):
    """One of ``LOSSES`` on embeddings (B, D), with its miner and optionally a memory of past batches.

    ``memory`` is the number of embeddings of past batches to compare with (Wang et al., *Cross-Batch
    Memory*, CVPR 2020). Raises UnknownNameError for an unknown name, and ValueError for a memory
    with a loss that does not compare pairs.
    """

    def __init__(self, name: str, *, n_classes: int, dims: int, memory: int = 0, seed: int = 0) -> None:
        super().__init__()
        check_name("loss", name, LOSSES)
        recipe = LOSSES[name]
        if memory and not recipe.takes_memory:
            pairs = ", ".join(other for other, r in LOSSES.items() if r.takes_memory)
            raise ValueError(f"{name} compares with proxies and takes no memory; {pairs} do")
        self.name = name
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.loss = recipe.loss(n_classes, dims)
        self.miner = recipe.miner() if recipe.miner else None
        if memory:
            self.loss = losses.CrossBatchMemory(self.loss, dims, memory_size=memory, miner=self.miner)

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss under its name."""
        if isinstance(self.loss, losses.CrossBatchMemory):
            return {self.name: self.loss(output, labels)}
        mined = None if self.miner is None else self.miner(output, labels)
        return {self.name: self.loss(output, labels, mined)}

    def get_extra_state(self) -> dict[str, int]:
        """Return the fill state of the memory, whose tensors are buffers."""
        if not isinstance(self.loss, losses.CrossBatchMemory):
            return {}
        return {"next": int(self.loss.queue_idx), "filled": int(self.loss.has_been_filled)}

    def set_extra_state(self, state: Mapping[str, int]) -> None:
        """Restore what ``get_extra_state`` returned."""
        if isinstance(self.loss, losses.CrossBatchMemory):
            self.loss.queue_idx, self.loss.has_been_filled = state["next"], bool(state["filled"])
