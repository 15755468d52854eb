"""Mathematics: tensors in, tensors out; no images, no models, no files."""
