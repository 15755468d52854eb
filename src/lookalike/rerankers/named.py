"""Creating re-rankers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lookalike.errors import UnknownNameError, unknown_name
from lookalike.rerankers.avsl import AvslReranking
from lookalike.rerankers.base import Reranker
from lookalike.rerankers.chain import Chain
from lookalike.rerankers.csa import ContextualReranking
from lookalike.rerankers.diffusion import Diffusion
from lookalike.rerankers.expansion import DatabaseAugmentation, QueryExpansion
from lookalike.rerankers.geometry import GeometryReranking
from lookalike.rerankers.k_reciprocal import KReciprocal
from lookalike.rerankers.shares import SharesReranking
from lookalike.rerankers.superglobal import SuperGlobal
from lookalike.rerankers.transport import TransportReranking

RERANKERS: dict[str, Callable[..., Reranker]] = {
    "aqe": QueryExpansion,
    "dba": DatabaseAugmentation,
    "k-reciprocal": KReciprocal,
    "diffusion": Diffusion,
    "superglobal": SuperGlobal,
    "csa": ContextualReranking,
    "shares": SharesReranking,
    "transport": TransportReranking,
    "avsl": AvslReranking,
    "geometry": GeometryReranking,
}


def needs_shares(name: str) -> bool:
    """Whether a step of this re-ranker takes ``query_shares`` and ``gallery_shares``."""
    steps = (RERANKERS.get(part.strip()) for part in name.split("+"))
    return any(step is not None and "query_shares" in inspect.signature(step).parameters for step in steps)


def make_reranker(name: str, **options: Any) -> Reranker:
    """Return a new re-ranker by name; names joined by ``+``, such as ``dba+aqe``, make a chain.

    ``options`` are the class's own, such as ``n`` or ``alpha``; in a chain each goes to every step
    that has it. Raises UnknownNameError for an unknown name or option, and
    ValueError for a re-ranker that needs pictures.
    """
    steps = [part.strip() for part in name.split("+")]
    for step in steps:
        if step not in RERANKERS:
            raise UnknownNameError(f"{unknown_name('re-ranker', step, RERANKERS)}; join several with +")
    taken = {step: inspect.signature(RERANKERS[step]).parameters for step in steps}
    for option in options:
        if not any(option in parameters for parameters in taken.values()):
            known = sorted({known for parameters in taken.values() for known in parameters})
            raise UnknownNameError(f"re-ranker {name} has no option {option!r}; it has {', '.join(known)}")
    for step, parameters in taken.items():
        missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in options]
        if missing:
            raise ValueError(
                f"re-ranker {step} reads the images and needs {' and '.join(missing)}; "
                "search a gallery with it, or choose one that needs embeddings only"
            )
    rerankers = [
        RERANKERS[step](**{key: value for key, value in options.items() if key in taken[step]})
        for step in steps
    ]
    return rerankers[0] if len(rerankers) == 1 else Chain(rerankers)


def options_of(reranker: Reranker) -> dict[str, Any]:
    """Return the options that a re-ranker has in fact, defaults too; of a chain those of all its steps."""
    steps = reranker.steps if isinstance(reranker, Chain) else (reranker,)
    return {
        name if len(steps) == 1 else f"{step.name} {name}": getattr(step, name)
        for step in steps
        for name, parameter in inspect.signature(type(step)).parameters.items()
        if parameter.default is not parameter.empty and hasattr(step, name)
    }
