"""Networks that return a grid of features, for any architecture, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.models.attention_poolings import ClsPooling
from lookalike.models.backbones.attention import recorded_attention, recorded_input
from lookalike.models.backbones.bundled_networks import MobileNet, MobileTransformer
from lookalike.models.poolings import FeaturePooling
from lookalike.types import Features, Trace

_ATTENTIONS = ("attn", "attention", "self_attn")  # of a block, in timm and in transformers


class Backbone(nn.Module):
    """A timm model without its classifier."""

    def __init__(self, model: nn.Module, architecture: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.architecture = architecture
        self.options = dict(options)  # what timm.create_model needs besides the name, JSON-ready

    @property
    def n_prefix_tokens(self) -> int:
        """CLS and register tokens before the patch tokens; 0 for convolutional networks."""
        return int(getattr(self.model, "num_prefix_tokens", 0))

    @property
    def is_convolutional(self) -> bool:
        """Whether the channels-last memory format is faster."""
        return not hasattr(self.model, "patch_embed")

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, H, W), normalized.

        Raises UnsupportedMethodError where the model's output is no grid that fits the input.
        """
        output = self.model.forward_features(images)  # type: ignore[operator]
        size = (images.shape[2], images.shape[3])
        if not isinstance(output, Tensor):
            raise UnsupportedMethodError(
                f"{self.architecture} returns {type(output).__name__} instead of one feature tensor, "
                "so it has no single grid; choose another model"
            )
        if output.ndim == 4:
            return self._from_map(output)
        if output.ndim == 3:
            return self._from_tokens(output, size)
        raise UnsupportedMethodError(
            f"{self.architecture} returns features of shape {tuple(output.shape)}, not a grid; "
            "choose another model"
        )

    def trace(self, images: Tensor) -> Trace:
        """Features together with every layer's attention and the last block's input."""
        blocks = getattr(self.model, "blocks", None)
        attends = (
            blocks is not None and len(blocks) and any(hasattr(blocks[-1], name) for name in _ATTENTIONS)
        )
        last = blocks[-1] if blocks is not None and attends else None
        with recorded_attention() as calls, recorded_input(last) as inputs:
            features = self(images)
            pool = getattr(self.model, "attn_pool", None)
            if pool is not None:  # recorded as one more call, after those of the layers
                pool(self._pool_tokens(features))
        return Trace(features, tuple(calls), inputs[0] if inputs else None)

    def own_pooling(self) -> tuple[FeaturePooling, nn.Sequential]:
        """The model's own pooling and the layers after it; raises UnsupportedMethodError for unknown ones."""
        if isinstance(self.model, MobileNet | MobileTransformer):
            return self.model.own_pooling()
        from lookalike.models.backbones.timm_heads import timm_head

        return timm_head(self.model)

    def cls_pooling(self) -> ClsPooling:
        """The CLS token as pooling, for transformers that have one."""
        if self.n_prefix_tokens == 0:
            raise UnsupportedMethodError(
                f"pooling 'cls' needs a CLS token; {self.architecture} has none, use 'mean'"
            )
        from lookalike.models.backbones.timm_heads import last_block_rest

        return ClsPooling(*last_block_rest(self.model))

    def default_pooling(self) -> str:
        """``cls`` for a DINO with a CLS token unless ``global_pool`` is among its options, else ``own``.

        timm averages the cells of DINOv3, for compatibility with its first release only; the CLS token
        is usually better for retrieval (its author in pytorch-image-models, pull request 2730).
        """
        tag = str((getattr(self.model, "pretrained_cfg", None) or {}).get("tag") or "")
        is_dino = "dino" in f"{self.architecture}.{tag}".lower()
        has_cls = getattr(self.model, "cls_token", None) is not None
        return "cls" if is_dino and has_cls and "global_pool" not in self.options else "own"

    def own_embedding(self, images: Tensor) -> Tensor:
        """timm's own vectors before the classifier: (B, D)."""
        features = self.model.forward_features(images)  # type: ignore[operator]
        result: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return result

    def _pool_tokens(self, features: Features) -> Tensor:
        include_prefix = bool(getattr(self.model, "pool_include_prefix", True))
        return torch.cat([features.prefix, features.cells], 1) if include_prefix else features.cells

    def _from_map(self, output: Tensor) -> Features:
        if is_channels_last(self.model, output):
            grid = (output.shape[1], output.shape[2])
            cells = output.flatten(1, 2)
        else:
            grid = (output.shape[2], output.shape[3])
            cells = output.flatten(2).transpose(1, 2)
        return Features(cells, cells[:, :0], grid)

    def _from_tokens(self, output: Tensor, size: tuple[int, int]) -> Features:
        prefix, cells = output[:, : self.n_prefix_tokens], output[:, self.n_prefix_tokens :]
        grid = self.token_grid(size)
        if grid[0] * grid[1] != cells.shape[1]:
            raise UnsupportedMethodError(
                f"{cells.shape[1]} patch tokens of {self.architecture} do not fill a {grid[0]}x{grid[1]} "
                f"grid for input {size}; its tokens are not laid out as a grid, choose another model"
            )
        return Features(cells, prefix, grid)

    def token_grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the patch tokens for an input of size (H, W).

        Raises UnsupportedMethodError for a model that does not tell.
        """
        patch_embed = getattr(self.model, "patch_embed", None)
        if patch_embed is not None and hasattr(patch_embed, "dynamic_feat_size"):
            h, w = patch_embed.dynamic_feat_size(size)
            return int(h), int(w)
        info = getattr(self.model, "feature_info", None)
        reduction = info[-1]["reduction"] if isinstance(info, list) and info else None
        if not reduction:
            raise UnsupportedMethodError(
                f"the grid of {self.architecture}'s tokens is unknown; choose another model"
            )
        return -(-size[0] // int(reduction)), -(-size[1] // int(reduction))


_HEADS = ("head", "head_dist", "fc", "classifier", "last_linear", "pre_logits")
_REMADE = ("relative_position_index", "attn_mask", "num_batches_tracked")


def load_weights(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Load all of the backbone's tensors, leaving out a classifier among the weights.

    Raises CheckpointError where tensors are missing or of another size.
    """
    wanted = backbone.model.state_dict()
    counts = {name: torch.tensor(0) for name in wanted if name.endswith(".num_batches_tracked")}
    weights = {**counts, **weights}  # only a training needs them, and many files leave them out
    missing = sorted(set(wanted) - set(weights))
    unknown = sorted(name for name in set(weights) - set(wanted) if not _is_left_out(name, backbone))
    wrong = sorted(k for k in wanted if k in weights and weights[k].shape != wanted[k].shape)
    if missing or wrong:
        example = f"{missing[0]} is missing" if missing else (
            f"{wrong[0]} is {tuple(weights[wrong[0]].shape)} instead of {tuple(wanted[wrong[0]].shape)}"
        )  # fmt: skip
        raise CheckpointError(
            f"the weights are not those of {backbone.architecture}: {len(missing)} of {len(wanted)} tensors "
            f"are missing and {len(wrong)} have another size, e.g. {example}; check architecture and options"
        )
    if unknown:
        raise CheckpointError(
            f"the weights are not those of {backbone.architecture}: they have {len(unknown)} more tensors, "
            f"e.g. {unknown[0]}; check architecture and options"
        )
    odd = sorted(k for k in wanted if wanted[k].is_floating_point() != weights[k].is_floating_point())
    if odd:
        raise CheckpointError(
            f"the weights are not those of {backbone.architecture}: {len(odd)} of {len(wanted)} tensors hold "
            f"{weights[odd[0]].dtype} instead of {wanted[odd[0]].dtype}, e.g. {odd[0]}, as quantized weights "
            "do; give those before the quantization"
        )
    backbone.model.load_state_dict({k: weights[k].to(wanted[k].dtype) for k in wanted})


def _is_left_out(name: str, backbone: Backbone) -> bool:
    """Whether a tensor belongs to a classifier, or is a buffer that timm recomputes."""
    named = (getattr(backbone.model, "pretrained_cfg", None) or {}).get("classifier") or ()
    classifiers = {named} if isinstance(named, str) else set(named)
    heads = tuple(f"{head}." for head in {*classifiers, *_HEADS})
    return name.startswith(heads) or name.endswith(_REMADE)


def is_channels_last(model: nn.Module, output: Tensor) -> bool:
    """Whether a map that the model returned is (B, h, w, C)."""
    declared = str(getattr(model, "output_fmt", "") or "")
    if declared:
        return "NHWC" in declared
    width = getattr(model, "num_features", None)
    return bool(output.shape[1] != width and output.shape[-1] == width)
