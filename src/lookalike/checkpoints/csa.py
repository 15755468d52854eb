"""Checkpoints of CSA's transformer: the published layout (``epoch``, ``state_dict``).

All sizes are read off the tensors but the number of heads, which leaves no trace in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lookalike.checkpoints.files import read_checkpoint
from lookalike.errors import CheckpointError
from lookalike.networks.csa import ContextNetwork, ContextSizes, usual_heads

_EXPECTED = "topk_proj, feature_align.layers.0 and blocks.N.{norm1,attn,norm2,mlp}"


def load_context_network(path: Path, *, heads: int | None = None) -> ContextNetwork:
    """The network of a file, ready for inference.

    ``heads`` is by default the published choice, 64 channels a head and at least 4 heads. Raises
    CheckpointError for another layout, and for tensors that are missing, left over or of odd sizes.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; check the path")
    contents = read_checkpoint(path)
    return context_network(contents.tensors, str(path), heads=heads)


def context_network(
    tensors: Mapping[str, Tensor], origin: str, *, heads: int | None = None
) -> ContextNetwork:
    """The network of named tensors; ``origin`` is what messages call them."""
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
