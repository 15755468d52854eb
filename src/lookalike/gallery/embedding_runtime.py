"""The runtime that embeds what is added to a gallery, and its line in the manifest."""

from __future__ import annotations

from dataclasses import replace

from lookalike.errors import GalleryError
from lookalike.models.embedder import Embedder
from lookalike.models.runtimes import CheckedRuntime
from lookalike.store import Manifest, write_manifest


def chosen_runtime(
    embedder: Embedder, runtime: str, engine: str, *, keep_shares: bool
) -> CheckedRuntime | None:
    """Return the runtime by name; None for eager, which is the embedder itself.

    Raises GalleryError where it can't be had, and otherwise as ``CheckedRuntime``.
    """
    if runtime == "eager":
        return None
    if keep_shares:
        raise GalleryError(
            f"this gallery keeps shares, which the network computes in fp32, and runtime {runtime} has "
            "none; leave it out, or make a gallery without shares"
        )
    if engine == "ray":
        raise GalleryError(f"engine ray embeds eagerly; leave out runtime {runtime}, or the engine")
    return CheckedRuntime(embedder, runtime)


def with_runtime(manifest: Manifest, runtime: CheckedRuntime, uri: str | None) -> Manifest:
    """Return the manifest, written to a gallery at a URI, with what embedded a part of its pictures."""
    facts = runtime.facts
    if facts is None or facts.runtime == "eager":
        return manifest
    name = f"{facts.runtime} {facts.precision}"
    known = dict(manifest.runtimes or {})
    if name not in known or facts.cosine < known[name]["cosine"]:
        known[name] = facts.to_dict()
    changed = replace(manifest, runtimes=known)
    if uri is not None and changed != manifest:
        write_manifest(uri, changed)
    return changed
