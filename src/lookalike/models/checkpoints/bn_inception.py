"""BN-Inception as pretrained-models.pytorch publishes it, in files such as ``bn_inception-52deb4733.pth``."""

from __future__ import annotations

from lookalike.errors import CheckpointError
from lookalike.models.backbones import create_backbone, load_weights, preprocessing_of, published_weights
from lookalike.models.checkpoints.files import Contents
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel

NAME = "BN-Inception of pretrained-models.pytorch"
EXPECTED = "conv1_7x7_s2.weight, inception_3a_1x1.weight, ..."
WITNESS = "conv1_7x7_s2.weight"

_TRUNK_FILE = "models_trunk"  # of an AVSL model, with two more files


def matches(contents: Contents) -> bool:
    """Whether the file holds the network alone, and not the trunk of an AVSL model."""
    return WITNESS in contents.tensors and not contents.path.name.startswith(_TRUNK_FILE)


def build(contents: Contents, pooling: str | None) -> LoadedModel:
    """Build the network with the mean over cells, or another pooling by name.

    Its preprocessing is that of the weights: levels of 0 to 255 less their mean, turned to BGR by the
    network. Raises CheckpointError for missing tensors and other sizes.
    """
    backbone = create_backbone("bninception")
    load_weights(backbone, published_weights(contents.tensors))
    preprocessing = preprocessing_of(backbone)
    try:
        network = assemble(backbone, {"name": pooling or "own"}, None, preprocessing)
    except ValueError as error:
        raise CheckpointError(f"{contents.path}: {error}") from error
    return LoadedModel(network, preprocessing, contents.path.stem)
