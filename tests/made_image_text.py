"""Tiny image-text models with random weights, saved as open_clip and transformers save theirs."""

import json

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, SiglipConfig, SiglipModel

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
OPEN_CLIP_TOWERS = {
    "own": {"layers": 3, "width": 24, "head_width": 8, "patch_size": 8, "image_size": [32, 48]},
    "own-avg": {
        "layers": 2, "width": 24, "head_width": 8, "patch_size": 8, "image_size": [32, 48],
        "pool_type": "avg", "ls_init_value": 0.5,
    },
    "own-avg-after": {
        "layers": 2, "width": 24, "head_width": 8, "patch_size": 8, "image_size": 32, "pool_type": "avg",
        "final_ln_after_pool": True, "no_ln_pre": True,
    },
    "timm-map": {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
    "timm-token": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "", "image_size": 160},
    "timm-mlp": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "mlp", "image_size": 160},
    "timm-conv": {
        "timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160,
    },
}  # fmt: skip
_WORDS = ["red", "green", "sofa", "window", "under", "a", "not", "picture", "of", "stripes", "noise", "disc"]


def save_open_clip(folder, tower="own", *, quick_gelu=False, seed=0, **preprocess):
    """A folder as open_clip's ``local-dir:`` reads it; returns the folder."""
    vision = OPEN_CLIP_TOWERS[tower]
    width = 64 if vision.get("timm_proj") == "none" else 20
    settings = {"embed_dim": width, "vision_cfg": vision, "text_cfg": TEXT}
    settings |= {"quick_gelu": quick_gelu, "custom_text": "timm" in tower}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = open_clip.CustomTextCLIP if settings["custom_text"] else open_clip.CLIP
        arguments = {k: v for k, v in json.loads(json.dumps(settings)).items() if k != "custom_text"}
        model = kind(**arguments)
        for tensor in model.parameters():  # norms and biases that are not 1 and 0
            tensor.data += 0.05 * torch.randn_like(tensor)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: t.contiguous() for k, t in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    config = {"model_cfg": settings, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def save_transformers(folder, family="clip", *, seed=0):
    """A folder as ``save_pretrained`` writes it, with a tokenizer of a few words; returns the folder."""
    text = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 10, "vocab_size": 32, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3,
        "image_size": 48, "patch_size": 8,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if family == "clip":
            model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=20))
        else:
            text["projection_size"] = 24
            model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        for tensor in model.parameters():
            tensor.data += 0.05 * torch.randn_like(tensor)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer():
    words = {"<s>": 0, "</s>": 1, "<unk>": 2} | {word: i for i, word in enumerate(_WORDS, 3)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )
