"""The layers of timm models after their features, as a pooling and a chain of plain layers.

The layers share the model's own weights. Unknown layers are refused; known ones are checked against
the model's own embedding by ``network.assemble``.
"""

from __future__ import annotations

from typing import Any

from timm import layers as timm_layers
from torch import nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.attention_poolings import AttentionPooling, ClsPooling
from lookalike.models.heads import ACTIVATIONS, Elementwise, Gated, PlainBatchNorm, Pointwise, Residual, Scale
from lookalike.models.poolings import AveragePlusMaxPooling, FeaturePooling, MaxPooling, MeanPooling


def timm_head(model: Any) -> tuple[FeaturePooling, nn.Sequential]:
    """A timm model's own pooling, and the layers between it and the classifier.

    Raises UnsupportedMethodError for layers that are not known.
    """
    if hasattr(model, "own_end"):  # a model of transformers: it knows
        end: tuple[FeaturePooling, nn.Sequential] = model.own_end()
        return end
    if hasattr(model, "blocks") and hasattr(model, "fc_norm"):
        return _token_head(model)
    if hasattr(model, "conv_head") and hasattr(model, "act2"):  # MobileNetV3: convolution after pooling
        norm = plain(getattr(model, "norm_head", nn.Identity()))
        return _grid_pooling(model.global_pool), nn.Sequential(
            plain(model.conv_head), norm, plain(model.act2)
        )
    head = getattr(model, "head", None)
    if isinstance(head, timm_layers.NormMlpClassifierHead | timm_layers.ClNormMlpClassifierHead):
        pool = getattr(head, "global_pool", None) or getattr(head, "pool_type", "avg")
        return _grid_pooling(pool), nn.Sequential(plain(head.norm), plain(head.pre_logits))
    if isinstance(head, nn.Sequential) and hasattr(head, "norm"):  # MetaFormer
        return _grid_pooling(model.head.global_pool), nn.Sequential(plain(model.head.norm))
    if isinstance(head, timm_layers.ClassifierHead):
        return _grid_pooling(head.global_pool), nn.Sequential()
    pool = getattr(model, "global_pool", None)
    if pool is not None and not hasattr(model, "fc_norm"):
        return _grid_pooling(pool), nn.Sequential()
    raise _unknown(f"the end of {type(model).__name__}")


def last_block_rest(model: Any) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers after a transformer's last attention: up to the skip connection, and from there on."""
    if hasattr(model, "last_block_rest"):
        rest: tuple[nn.Sequential, nn.Sequential] = model.last_block_rest()
        return rest
    block = model.blocks[-1]
    if not all(hasattr(block, part) for part in ("attn", "norm2", "mlp")):
        raise _unknown(f"the block {type(block).__name__} of {type(model).__name__}")
    attn = block.attn
    if getattr(attn, "gate", None) is not None:
        raise _unknown(f"the gated attention of {type(model).__name__}")
    norm = getattr(attn, "norm", None) or nn.Identity()
    after_attention = nn.Sequential(plain(norm), plain(attn.proj), _layer_scale(block, 1))
    branch = nn.Sequential(plain(block.norm2), plain(block.mlp), _layer_scale(block, 2))
    return after_attention, nn.Sequential(Residual(branch), plain(model.norm))


def plain(module: nn.Module) -> nn.Module:
    """The layer as a plain module that acts on the last axis and shares its weights."""
    match module:
        case nn.Sequential():
            return nn.Sequential(*(plain(layer) for layer in module))
        case nn.Identity() | nn.Dropout() | nn.Flatten() | timm_layers.DropPath():
            return nn.Identity()
        case nn.Conv2d():
            return Pointwise(module)
        case timm_layers.BatchNormAct2d():
            return nn.Sequential(PlainBatchNorm(module), plain(module.act))
        case timm_layers.LayerNormAct():
            return nn.Sequential(_plain_layer_norm(module), plain(module.act))
        case nn.BatchNorm2d():
            return PlainBatchNorm(module)
        case nn.LayerNorm():
            return _plain_layer_norm(module)
        case nn.GroupNorm(num_groups=1):  # of one position: the same as LayerNorm over its channels
            norm = nn.LayerNorm(module.num_channels, eps=module.eps)
            norm.weight, norm.bias = module.weight, module.bias
            return norm
        case timm_layers.Mlp():
            return nn.Sequential(plain(module.fc1), plain(module.act), plain(module.norm), plain(module.fc2))
        case timm_layers.SwiGLU():
            gated = Gated(plain(module.fc1_g), plain(module.fc1_x), module.act)
            return nn.Sequential(gated, plain(module.norm), plain(module.fc2))
        case nn.Linear() | nn.BatchNorm1d() | nn.RMSNorm():
            return module
        case _ if isinstance(module, ACTIVATIONS):
            return module
        case _ if type(module).__module__.startswith("timm.layers.activations"):
            return Elementwise(module)
    raise _unknown(f"the layer {type(module).__name__}")


def _token_head(model: Any) -> tuple[FeaturePooling, nn.Sequential]:
    rest = nn.Sequential(plain(model.fc_norm))
    if getattr(model, "attn_pool", None) is not None:
        return _attention_pooling(model), rest
    if getattr(model, "pool_include_prefix", False):
        raise _unknown(f"the average over prefix and patch tokens of {type(model).__name__}")
    match model.global_pool:
        case "token":
            n_tokens = 2 if hasattr(model, "head_dist") else 1  # DeiT averages CLS and distillation token
            return ClsPooling(*last_block_rest(model), n_tokens=n_tokens), rest
        case "avg":
            return MeanPooling(), rest
        case "max":
            return MaxPooling(), rest
        case "avgmax":
            return AveragePlusMaxPooling(0.5), rest
    raise _unknown(f"the pooling {model.global_pool!r} of {type(model).__name__}")


def _attention_pooling(model: Any) -> AttentionPooling:
    pool = model.attn_pool
    if not isinstance(pool, timm_layers.AttentionPoolLatent) or pool.latent_len != 1:
        raise _unknown(f"the attention pooling {type(pool).__name__}")
    layers = [plain(pool.proj)]
    if pool.mlp is not None:
        layers.append(Residual(nn.Sequential(plain(pool.norm), plain(pool.mlp))))
    return AttentionPooling(pool, bool(getattr(model, "pool_include_prefix", True)), nn.Sequential(*layers))


def _grid_pooling(pool: Any) -> FeaturePooling:
    name = pool if isinstance(pool, str) else getattr(pool, "pool_type", None)
    match str(name).removeprefix("fast"):
        case "avg" | "":
            return MeanPooling()
        case "max":
            return MaxPooling()
        case "avgmax":
            return AveragePlusMaxPooling(0.5)
    raise _unknown(f"the pooling {name!r}")


def _layer_scale(block: nn.Module, number: int) -> nn.Module:
    """The factor on a block's branch: ``ls1.gamma`` in timm's ViT, ``gamma_1`` in EVA, or none."""
    gamma = getattr(getattr(block, f"ls{number}", None), "gamma", None)
    if gamma is None:
        gamma = getattr(block, f"gamma_{number}", None)
    return nn.Identity() if gamma is None else Scale(gamma)


def _plain_layer_norm(norm: nn.LayerNorm) -> nn.LayerNorm:
    copy = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, elementwise_affine=norm.elementwise_affine)
    copy.weight, copy.bias = norm.weight, norm.bias
    return copy


def _unknown(what: str) -> UnsupportedMethodError:
    return UnsupportedMethodError(
        f"{what} is not understood, so its shares are unknown; choose pooling 'mean'"
    )
