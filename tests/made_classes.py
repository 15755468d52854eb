"""A small folder of generated classes, and two tiny embedders to compare on it."""

import numpy as np
import torch
from PIL import Image

from lookalike.models.embedder import Embedder


def class_folders(folder, n_classes=3, n_images=4):
    """Classes of one color each with noise; no image is square."""
    rng = np.random.default_rng(0)
    for name in range(n_classes):
        (folder / f"class{name}").mkdir(parents=True)
        color = rng.integers(0, 256, 3)
        for i in range(n_images):
            pixels = color + rng.normal(0, 90, (70 + 9 * i, 110, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"class{name}" / f"{i}.png")
    return folder


def tiny(architecture, size=(64, 96), **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Embedder.from_timm(
            architecture, pretrained=False, input_size=size, precision="fp32", name=architecture, **options
        )


def tiny_vit():
    return tiny("vit_tiny_patch16_224", pooling="mean", embed_dim=24, depth=2, num_heads=3)


def tiny_cnn():
    return tiny("resnet10t", size=(64, 64))
