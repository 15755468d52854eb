"""Names of tensors without the wrappers that training puts around a network; readers of weights call it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from lookalike.errors import CheckpointError

# DataParallel's and DistributedDataParallel's "module." around the whole, within it the "base_model." of
# AVSL's framework, and torch.compile's around any part.
_WRAPPER = re.compile(r"^((module|_orig_mod|base_model)\.)+|(?<=\.)_orig_mod\.")


def without_wrappers(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The tensors under the names that the network itself gives them; ``origin`` is for messages.

    Raises CheckpointError where two tensors would get one name.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = _WRAPPER.sub("", name)
        if short in plain:
            raise CheckpointError(
                f"{origin} holds {short} twice, once as {name}; give one network's state_dict"
            )
        plain[short] = tensor
    return plain
