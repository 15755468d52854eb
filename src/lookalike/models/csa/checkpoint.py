"""Checkpoints of CSA: the published layout (``epoch``, ``state_dict``) and ours (safetensors).

Sizes are read off the tensors, except for the number of heads, which ours keeps in the file's metadata.
Ours may hold an ``ExpandedScorer``, with the additional tensors ``direct`` and ``gate.weight``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from lookalike.errors import CheckpointError, replacing
from lookalike.models.checkpoints.files import read_checkpoint
from lookalike.models.csa.network import ContextNetwork, ContextSizes, usual_heads
from lookalike.models.csa.shortlist import ExpandedScorer, ExpansionView, PublishedScorer, ShortlistScorer

CSA_MINI = Path(__file__).parents[1] / "bundled" / "csa-mini" / "model.safetensors"
_DIRECT, _GATE, _METADATA = "direct", "gate.weight", "lookalike"
_EXPECTED = "topk_proj, feature_align.layers.0 and blocks.N.{norm1,attn,norm2,mlp}"


def load_scorer(path: Path, *, heads: int | None = None) -> ShortlistScorer:
    """Load the scorer of a checkpoint file, ready for inference.

    ``heads`` is by default that of the file, or else the published choice, 64 channels a head and
    at least 4 heads. Raises CheckpointError for another layout, and for tensors that are missing,
    unexpected or of other sizes.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; check the path")
    tensors = dict(read_checkpoint(path).tensors)
    settings = _settings(path)
    own = {name: tensors.pop(name) for name in (_DIRECT, _GATE) if name in tensors}
    network = context_network(tensors, str(path), heads=heads or settings.get("heads"))
    if not own:
        return PublishedScorer(network).eval()
    n_anchors, width = network.sizes.n_anchors, network.sizes.width
    if {name: tuple(t.shape) for name, t in own.items()} != {
        _DIRECT: (n_anchors,),
        _GATE: (n_anchors, width),
    }:
        raise CheckpointError(
            f"{path} should hold {_DIRECT} and {_GATE} for {n_anchors} anchors and width {width}, "
            f"got {', '.join(f'{name} {tuple(t.shape)}' for name, t in own.items())}; "
            "give the file that the training wrote"
        )
    try:
        scorer = ExpandedScorer(network, ExpansionView(**settings["view"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} should say in its metadata how items are expanded; give the file that the training wrote"
        ) from error
    scorer.load_state_dict(own, strict=False)
    return scorer.eval().requires_grad_(False)


@cache
def bundled_scorer() -> ShortlistScorer:
    """The bundled scorer ``csa-mini``, on the CPU; all callers get the same object."""
    return load_scorer(CSA_MINI)


def save_scorer(path: Path, scorer: ShortlistScorer, *, half: bool = False) -> None:
    """Write a .safetensors that ``load_scorer`` reads, in fp16 with ``half``; raises CheckpointError."""
    tensors = dict(scorer.network.state_dict())
    settings: dict[str, Any] = {"heads": scorer.network.sizes.heads}
    if isinstance(scorer, ExpandedScorer):
        tensors |= {_DIRECT: scorer.direct.detach(), _GATE: scorer.gate.weight.detach()}
        settings["view"] = asdict(scorer.view)
    stored = {name: t.to("cpu", torch.float16 if half else None).contiguous() for name, t in tensors.items()}
    with replacing(path, CheckpointError, make_folder=True) as file:
        file.write_bytes(save(stored, {_METADATA: json.dumps(settings)}))


def _settings(path: Path) -> dict[str, Any]:
    """Settings in the metadata of our own files; empty for others."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(_METADATA, "{}")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path} has metadata that is no JSON; it may be damaged") from error
    return settings if isinstance(settings, dict) else {}


def context_network(
    tensors: Mapping[str, Tensor], origin: str, *, heads: int | None = None
) -> ContextNetwork:
    """Build the network of named tensors; ``origin`` names them in messages."""
    sizes = _sizes(tensors, origin, heads)
    network = ContextNetwork(sizes)
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{origin} should hold {name} of shape {expected.get(name, 'nothing')} for a context "
                f"network of {sizes.n_anchors} anchors, width {sizes.width} and depth {sizes.depth}, "
                f"got {found.get(name, 'nothing')}; give the file that the training wrote"
            )
    network.load_state_dict(dict(tensors))
    return network.eval().requires_grad_(False)


def _sizes(tensors: Mapping[str, Tensor], origin: str, heads: int | None) -> ContextSizes:
    projection, hidden = tensors.get("topk_proj.weight"), tensors.get("blocks.0.mlp.fc1.weight")
    if projection is None or hidden is None or projection.ndim != 2 or hidden.ndim != 2:
        raise CheckpointError(
            f"{origin} is no checkpoint of CSA's transformer: it should hold {_EXPECTED}, "
            f"got {', '.join(sorted(tensors)[:4])}"
        )
    width, n_anchors = projection.shape
    heads = usual_heads(width) if heads is None else heads
    if heads < 1 or width % heads:
        raise CheckpointError(
            f"{origin} has width {width}, which {heads} heads do not divide; "
            "say the number that it was trained with, as option heads"
        )
    return ContextSizes(
        n_anchors=n_anchors,
        width=width,
        depth=len({match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}),
        heads=heads,
        hidden=len(hidden),
        query_key_value_bias="blocks.0.attn.qkv.bias" in tensors,
    )
