"""Small networks of every kind whose layers can be split, with biases and statistics that matter."""

import numpy as np
import torch
from PIL import Image

from lookalike.models.embedder import Embedder

SIZE = (64, 96)  # (H, W) pixels of the input
CASES = {  # architecture, options, sizes of the grid at the first and at the last layer
    "vit": ("vit_tiny_patch16_224", {"img_size": SIZE, "depth": 3}, (4, 6), (4, 6)),
    "vit, mean": ("vit_tiny_patch16_224", {"img_size": SIZE, "depth": 3, "global_pool": "avg"},
                  (4, 6), (4, 6)),
    "registers": ("vit_small_patch16_dinov3", {"img_size": SIZE, "depth": 3}, (4, 6), (4, 6)),
    "distilled": ("deit_tiny_distilled_patch16_224", {"img_size": SIZE, "depth": 2}, (4, 6), (4, 6)),
    "attention pooling": ("vit_base_patch16_siglip_224", {"img_size": SIZE, "depth": 2, "embed_dim": 96,
                          "num_heads": 3}, (4, 6), (4, 6)),
    "swiglu, rotary": ("eva02_tiny_patch14_224", {"img_size": (56, 84), "depth": 2}, (4, 6), (4, 6)),
    "windows": ("swin_tiny_patch4_window7_224", {"img_size": SIZE, "window_size": 2, "depths": (2, 2),
                "embed_dim": 24, "num_heads": (2, 4)}, (16, 24), (16, 24)),
    "windows and grids": ("maxvit_rmlp_pico_rw_256", {"img_size": SIZE, "depths": (1, 1, 1, 1)},
                          (32, 48), (4, 6)),
    "unrolled windows": ("hiera_tiny_224", {"img_size": SIZE, "stages": (1, 1, 1, 1), "embed_dim": 24,
                         "num_heads": 1}, (16, 24), (4, 6)),
    "attention of channels": ("xcit_nano_12_p16_224", {"img_size": SIZE, "embed_dim": 24, "num_heads": 3,
                              "depth": 2}, (4, 6), (4, 6)),
    "talking heads": ("cait_xxs24_224", {"img_size": SIZE, "embed_dim": 24, "num_heads": 3, "depth": 2},
                      (4, 6), (4, 6)),
    "mixer": ("mixer_s32_224", {"img_size": SIZE}, (2, 3), (2, 3)),
    "reduced keys": ("pvt_v2_b0", {}, (16, 24), (4, 6)),
    "dense": ("densenet121", {"block_config": (2, 2, 2, 2), "growth_rate": 8}, (16, 24), (2, 3)),
    "convnext": ("convnext_atto", {"depths": (1, 1, 2, 1)}, (16, 24), (4, 6)),
    "mobilenet": ("mobilenetv2_050", {}, (32, 48), (2, 3)),
    "resnet": ("resnet10t", {}, (16, 24), (4, 6)),
    "branches": ("bninception", {}, (8, 12), (2, 3)),
    "gates": ("efficientnet_b0", {}, (32, 48), (2, 3)),
}  # fmt: skip


def layered_embedder(case):
    """A seeded network with biases and statistics of every kind, and the grids of its layers."""
    architecture, options, first, last = CASES[case]
    size = options.get("img_size", SIZE)
    torch.manual_seed(0)
    embedder = Embedder.from_timm(architecture, pretrained=False, input_size=size, device="cpu", **options)
    generator = torch.Generator().manual_seed(1)
    for name, values in [*embedder.network.named_parameters(), *embedder.network.named_buffers()]:
        if values.is_floating_point() and values.ndim <= 3 and not name.endswith(("weight", "var")):
            values.data.add_(0.1 * torch.randn(values.shape, generator=generator))
    return embedder, first, last


def colored_noise():
    """A picture of 240 x 331 pixels."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((331, 240))


def directions(width):
    """Three unit vectors."""
    drawn = torch.randn(3, width, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(drawn, dim=1)


def total(shares):
    """What located shares sum to, with what has no cell."""
    return shares.values.sum(1) + sum(shares.residual.values())
