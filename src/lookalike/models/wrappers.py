"""Names of tensors without the wrappers that training puts around a network; readers of weights call it."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping

from torch import Tensor

from lookalike.errors import CheckpointError

# DataParallel's and DistributedDataParallel's "module." around the whole, within it the "base_model." of
# AVSL's framework, and torch.compile's around any part.
_WRAPPER = re.compile(r"^((module|_orig_mod|base_model)\.)+|(?<=\.)_orig_mod\.")

_COUNT = "n_averaged"  # of torch's AveragedModel, beside the weights
_AVERAGED = re.compile(r"ema|teacher|averag|swa")  # names of the network that training code evaluates

_logger = logging.getLogger(__name__)


def weights_below(tensors: Mapping[str, Tensor], wanted: Collection[str], origin: str) -> dict[str, Tensor]:
    """The tensors of a network with the ``wanted`` names, which may lie below a prefix such as ``model.``.

    Where several prefixes lead to whole networks, the averaged one (EMA, SWA, teacher) is taken, as
    training code does for evaluation, and a warning says so. Raises CheckpointError for several of
    which none or more than one is averaged. Where no prefix leads to most of the network, all tensors
    are returned as they are. ``origin`` is for messages.
    """
    if dotless := _without_dots(tensors, wanted):
        _logger.warning("%s holds averaged weights; they are taken", origin)
        return dotless
    counts: Counter[str] = Counter()
    for name in tensors:
        starts = [0, *(match.end() for match in re.finditer(r"\.", name))]
        counts.update(name[:start] for start in starts if name[start:] in wanted)
    if not counts or max(counts.values()) < len(wanted) / 2:
        return dict(tensors)
    best = sorted(prefix for prefix, n in counts.items() if n == max(counts.values()))
    averaged = [prefix for prefix in best if _AVERAGED.search(prefix.lower())]
    if len(best) > 1 and len(averaged) != 1:
        raise CheckpointError(
            f"{origin} holds {len(best)} networks of this kind, below {', '.join(map(repr, best))}; "
            "save the state_dict of one"
        )
    prefix = averaged[0] if len(best) > 1 else best[0]
    if len(best) > 1:
        _logger.warning("%s holds %s; the weights below %s are taken", origin, ", ".join(best), prefix)
    if not prefix:
        return dict(tensors)
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _without_dots(tensors: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Averaged weights as LitEma keeps them, as buffers whose names have lost the dots; empty if none are."""
    for prefix in sorted({name.rpartition(".")[0] + "." for name in tensors if _AVERAGED.search(name)}):
        found = {name: tensors.get(prefix + name.replace(".", "")) for name in wanted if "." in name}
        held = {name: tensor for name, tensor in found.items() if tensor is not None}
        if len(held) > len(wanted) / 2:
            return held
    return {}


def without_wrappers(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The tensors under the names that the network itself gives them; ``origin`` is for messages.

    Raises CheckpointError where two tensors would get one name.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == _COUNT:
            continue
        short = _WRAPPER.sub("", name)
        if short in plain:
            raise CheckpointError(
                f"{origin} holds {short} twice, once as {name}; give one network's state_dict"
            )
        plain[short] = tensor
    return plain
