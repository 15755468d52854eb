"""Image to embedding and shares, by name: backbones, poolings, heads, checkpoints, bundled weights."""
