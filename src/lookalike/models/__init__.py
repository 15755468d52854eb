"""Embedding models: backbones, poolings, heads, checkpoints, bundled weights."""
