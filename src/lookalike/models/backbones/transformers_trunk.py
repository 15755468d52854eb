"""Vision models of transformers under timm's interface: whatever takes a timm model takes them.

A folder written by ``save_pretrained`` is read by ``pretrained_trunk``; the model is known to timm as
``transformers_trunk``, whose option ``config`` is the model's own configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, final

import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import CheckpointError, LookalikeError, UnsupportedMethodError, first_line
from lookalike.models.attention_poolings import AttentionPooling, ClsPooling
from lookalike.models.backbones.backbone import Backbone
from lookalike.models.borrowed import Borrowed
from lookalike.models.heads import ACTIVATIONS, Elementwise, Gated, Residual, Scale
from lookalike.models.poolings import FeaturePooling, MeanPooling

__all__ = ["TransformersTrunk", "pretrained_trunk", "transformers_trunk"]

# Of a configuration: what no layer depends on, or what belongs to a classifier.
_UNUSED = ("architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "id2label",
           "label2id", "num_labels", "problem_type")  # fmt: skip
# Models whose output is no embedding of one picture, or that fetch others' weights.
_NOT_OURS = ("timm_wrapper", "timm_backbone", "timesformer", "vivit", "videomae", "imagegpt", "vit_mae")
_HIERARCHIES = {"swin", "swinv2"}  # models with tokens that halve their grid from stage to stage


@final
class TransformersTrunk(nn.Module):
    """A model of transformers with timm's methods: ``forward_features`` and ``forward_head``.

    Its embedding is the model's ``pooler_output``, but for ViT, DeiT and the like: there it is the CLS token
    after the last norm, because most of their files hold no trained pooler.
    """

    model: Any  # of transformers

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self._config: Any = config
        n_registers = int(getattr(config, "num_register_tokens", 0) or 0)
        self.num_classes = 0
        self.num_prefix_tokens = n_registers + sum(
            token is not None for token in (self.cls_token, self.dist_token)
        )
        self._is_pooled_first = config.model_type == "dinov3_convnext"  # before the cells, not attended
        self.pool_include_prefix = False
        if model.main_input_name != "pixel_values":
            raise CheckpointError(f"a {config.model_type} of transformers takes no pictures")
        if isinstance(getattr(config, "patch_size", None), int) and not hasattr(config, "hidden_sizes"):
            self.patch_embed = SimpleNamespace(dynamic_feat_size=self._grid)
        if hasattr(getattr(model, "head", None), "probe"):
            self.attn_pool = _ProbePooling(model.head)
        is_columnar = hasattr(self, "patch_embed") and config.model_type not in _HIERARCHIES
        name, layers = ("blocks", _layers(model)) if is_columnar else ("stages", _stages(model))
        if layers is not None:
            self.__dict__[name] = layers  # unregistered: the model owns them

    def forward_features(self, images: Tensor) -> Tensor:
        """Tokens (B, T, C) after the last norm, or maps (B, C, h, w)."""
        if self._is_pooled_first:
            maps: Tensor = self.model.model(images).last_hidden_state
            return maps
        is_other_size = (images.shape[2], images.shape[3]) != self.input_size
        options = {"interpolate_pos_encoding": True} if is_other_size and self._interpolates() else {}
        output: Tensor = self.model(pixel_values=images, **options).last_hidden_state
        if self._config.model_type == "clip_vision_model":
            output = self.model.post_layernorm(output)
        return output

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """The embedding (B, D) of features."""
        if hasattr(self, "attn_pool"):
            pooled: Tensor = self.attn_pool(features)
            return pooled
        if features.ndim == 4:
            after_mean: Tensor = self._after_mean()(features.mean((2, 3)))
            return after_mean
        return features[:, 0] if self.num_prefix_tokens else features.mean(1)

    def forward(self, images: Tensor) -> Tensor:
        """The embedding (B, D)."""
        return self.forward_head(self.forward_features(images))

    def set_input_size(self, img_size: tuple[int, int]) -> None:
        """Check that another input size fits; positions are resampled as the images come."""
        if tuple(img_size) == self.input_size or not hasattr(self, "patch_embed"):
            return
        patch = int(self._config.patch_size)
        if img_size[0] % patch or img_size[1] % patch:
            raise ValueError(f"its patches are {patch}x{patch} pixels")
        if self._config.model_type in _HIERARCHIES:
            raise ValueError(f"a {self._config.model_type} of transformers has one input size")

    def own_end(self) -> tuple[FeaturePooling, nn.Sequential]:
        """The model's pooling and the layers after it. Raises UnsupportedMethodError for unknown layers."""
        if hasattr(self, "attn_pool"):
            return AttentionPooling(self.attn_pool, False, self.attn_pool.after_attention()), nn.Sequential()
        if self.num_prefix_tokens:
            return ClsPooling(*self.last_block_rest()), nn.Sequential()
        if self._is_pooled_first or (hasattr(self.model, "layernorm") and not hasattr(self, "patch_embed")):
            return MeanPooling(), nn.Sequential(self._after_mean())
        return MeanPooling(), nn.Sequential()

    def last_block_rest(self) -> tuple[nn.Sequential, nn.Sequential]:
        """The layers after the last attention: up to the skip connection, and from there on."""
        layers = getattr(self, "blocks", None)
        if layers is None:
            raise _not_known(self._config.model_type)
        block = layers[-1]
        projection = _named(
            block, "attention.o_proj", "self_attn.out_proj", "attention.output.dense", "attention.out_proj"
        )
        norm = _named(block, "norm2", "layernorm_after", "layer_norm2")
        last = _named(self.model, "layernorm", "norm", "post_layernorm")
        mlp = _named(block, "mlp")
        if not (projection and norm and last and mlp):
            raise _not_known(self._config.model_type)
        branch = nn.Sequential(norm, *_plain_mlp(mlp), *_scale(block, 2))
        return nn.Sequential(projection, *_scale(block, 1)), nn.Sequential(Residual(branch), last)

    def _after_mean(self) -> nn.Module:
        return _named(self.model, "layer_norm", "layernorm") or nn.Identity()

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        stages = len(self._config.depths) if self._config.model_type in _HIERARCHIES else 1
        stride = int(self._config.patch_size) * 2 ** (stages - 1)
        return size[0] // stride, size[1] // stride

    @property
    def cls_token(self) -> Tensor | None:
        """The CLS token that enters, or None."""
        found: Tensor | None = _named(self.model, "embeddings.cls_token", "embeddings.class_embedding")
        return found

    @property
    def dist_token(self) -> Tensor | None:
        """DeiT's distillation token that enters, or None."""
        found: Tensor | None = _named(self.model, "embeddings.distillation_token")
        return found

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) that the configuration names; 224 where it is silent."""
        size = getattr(self._config, "image_size", None) or 224
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    def _interpolates(self) -> bool:
        return hasattr(self, "patch_embed") and self._config.model_type in (
            "vit", "deit", "siglip_vision_model", "clip_vision_model", "vit_msn", "ijepa"
        )  # fmt: skip


class _ProbePooling(nn.Module):
    """SigLIP's pooling by a learned query, by torch's scaled dot-product attention, which is recorded."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self._head: Borrowed[Any] = Borrowed(head)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, C) to (B, C)."""
        head = self._head.module
        attention = head.attention
        n = attention.num_heads
        query_weight, *pair = attention.in_proj_weight.chunk(3)
        query_bias, *pair_bias = attention.in_proj_bias.chunk(3)
        query = F.linear(head.probe.expand(len(tokens), -1, -1), query_weight, query_bias)
        key, value = (F.linear(tokens, w, b) for w, b in zip(pair, pair_bias, strict=True))
        query, key, value = (x.view(*x.shape[:2], n, -1).transpose(1, 2) for x in (query, key, value))
        taken = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        pooled: Tensor = self.after_attention()(taken)[:, 0]
        return pooled

    def after_attention(self) -> nn.Sequential:
        """The layers after the attention."""
        head = self._head.module
        branch = nn.Sequential(head.layernorm, *_plain_mlp(head.mlp))
        return nn.Sequential(head.attention.out_proj, Residual(branch))


@register_model  # type: ignore[untyped-decorator]
def transformers_trunk(
    pretrained: bool = False, config: Mapping[str, Any] | None = None, **options: Any
) -> TransformersTrunk:
    """A vision model of transformers with random weights, by its configuration."""
    if pretrained or config is None:
        raise RuntimeError("transformers_trunk is made from a folder that transformers saved")
    library = _library()
    described = dict(config)
    settings = library.AutoConfig.for_model(described.pop("model_type"), **described)
    _check_kind(settings.model_type)
    return TransformersTrunk(_without_pooler(library.AutoModel, settings))


def pretrained_trunk(folder: Path) -> Backbone:
    """The backbone of a folder that transformers saved, such as a DINOv2, SigLIP, ViT or ConvNeXt.

    A classifier among the weights is left out. Nothing is fetched and no code of the folder is run. Raises
    CheckpointError where it is no vision model, and LookalikeError without transformers.
    """
    library = _library()
    here = {"local_files_only": True, "trust_remote_code": False}
    try:
        settings = library.AutoConfig.from_pretrained(folder, **here)
        _check_kind(settings.model_type)
        pooler = {"add_pooling_layer": False} if _has_untrained_pooler(settings.model_type) else {}
        model, report = library.AutoModel.from_pretrained(
            folder, **here, **pooler, output_loading_info=True, dtype=torch.float32
        )
    except LookalikeError:
        raise
    except Exception as error:  # of many classes, by what is damaged
        raise CheckpointError(
            f"{folder} is no vision model that transformers can load: {first_line(error)}"
        ) from error
    if report["missing_keys"]:
        raise CheckpointError(
            f"{folder} lacks {len(report['missing_keys'])} of its tensors, e.g. "
            f"{min(report['missing_keys'])}; they would be random, so fetch it again"
        )
    described = settings.to_dict()
    kept = {key: value for key, value in described.items() if key not in _UNUSED and value is not None}
    trunk = TransformersTrunk(model.eval())
    return Backbone(trunk, "transformers_trunk", {"config": kept})


def _library() -> Any:
    try:
        import transformers  # ten seconds, so only when it is asked for
    except ImportError as error:
        raise LookalikeError("models of transformers need the library: install lookalike[text]") from error
    return transformers


def _check_kind(model_type: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_MAPPING_NAMES

    known = {*MODEL_FOR_IMAGE_MAPPING_NAMES, "clip_vision_model"} - {*_NOT_OURS}
    if model_type not in known:
        raise CheckpointError(
            f"a {model_type} of transformers is no model of pictures that is understood here; give a vision "
            "model such as dinov2, siglip_vision_model, vit or convnext"
        )


def _has_untrained_pooler(model_type: str) -> bool:
    return model_type in ("vit", "deit", "beit", "data2vec-vision", "ijepa")


def _without_pooler(auto: Any, settings: Any) -> Any:
    options = {"add_pooling_layer": False} if _has_untrained_pooler(settings.model_type) else {}
    return auto.from_config(settings, **options, trust_remote_code=False)


def _layers(model: nn.Module) -> nn.ModuleList | None:
    found = _named(model, "layers", "encoder.layer", "encoder.layers", "model.layer", "layer")
    return found if isinstance(found, nn.ModuleList) and len(found) else None


def _stages(model: nn.Module) -> nn.ModuleList | None:
    found = _named(model, "encoder.stages", "model.stages", "stages")
    return found if isinstance(found, nn.ModuleList) and len(found) else None


def _named(module: nn.Module, *names: str) -> Any:
    """The first of several submodules, by dotted names, that a module has; None for none."""
    for name in names:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found
    return None


def _plain_mlp(mlp: nn.Module) -> list[nn.Module]:
    activation = _named(mlp, "activation_fn", "act_fn", "activation")
    if activation is None:
        raise _not_known(type(mlp).__name__)
    if not isinstance(activation, ACTIVATIONS):
        activation = Elementwise(activation)
    if hasattr(mlp, "gate_proj"):
        return [Gated(mlp.gate_proj, mlp.up_proj, activation), mlp.down_proj]  # type: ignore[arg-type, list-item]
    first, second = _named(mlp, "fc1", "up_proj"), _named(mlp, "fc2", "down_proj")
    if first is None or second is None:
        raise _not_known(type(mlp).__name__)
    return [first, activation, second]


def _scale(block: nn.Module, number: int) -> list[nn.Module]:
    factor = _named(block, f"layer_scale{number}.lambda1", f"lambda_{number}")
    return [] if factor is None else [Scale(factor)]


def _not_known(what: str) -> UnsupportedMethodError:
    return UnsupportedMethodError(
        f"the end of {what} is not understood, so its shares are unknown; choose pooling 'mean'"
    )
