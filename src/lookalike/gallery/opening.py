"""The model of a gallery: loading it, recording it in the manifest, and checking it on opening."""

from __future__ import annotations

import datetime
from pathlib import Path

from lookalike import __version__
from lookalike.errors import GalleryError, ModelMismatchError, UnknownModelError
from lookalike.images import GrayLevels, Preprocessing
from lookalike.models.embedder import Embedder, Precision
from lookalike.models.image_text import with_absolute_weights
from lookalike.store import Manifest


def load_embedder(
    model: str | Path | Embedder,
    precision: Precision = "fp32",
    levels: GrayLevels | None = None,
    device: str = "auto",
) -> Embedder:
    """Return the embedder for a gallery, in fp32 by default; ``levels`` replace its own if given.

    bf16 and fp16 are faster, but their cosines differ by some hundredths between machines and from the
    sums of the shares that explain them.
    """
    if isinstance(model, Embedder):
        embedder = model
    else:
        embedder = Embedder.load(model, precision=precision, device=device)
    return embedder if levels is None else embedder.with_levels(levels)


def manifest_of(embedder: Embedder, model: str | Path | Embedder, keep_shares: bool) -> Manifest:
    """Return the manifest of a new gallery. Raises GalleryError for shares beyond fp32."""
    if keep_shares and embedder.precision != "fp32":
        raise GalleryError(
            f"shares are computed in fp32, and this gallery would be embedded in {embedder.precision}; leave "
            "out the shares, or the precision"
        )
    name = embedder.name if isinstance(model, Embedder) else with_absolute_weights(str(model))
    if Path(name).exists() and not isinstance(model, Embedder):
        name = str(Path(name).absolute())
    return Manifest(
        model=name,
        model_name=embedder.name,
        fingerprint=embedder.fingerprint(),
        preprocessing=embedder.preprocessing.to_dict(),
        width=embedder.width,
        precision=embedder.precision,
        version=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        keep_shares=keep_shares,
    )


def check_precision(manifest: Manifest, precision: Precision | None, uri: str | Path) -> None:
    """Raise GalleryError unless a gallery's pictures are in this precision; None and auto are any."""
    if precision not in (None, "auto", manifest.precision):
        raise GalleryError(
            f"{uri} was made in {manifest.precision}, not in {precision}; leave the precision out, or index "
            "into a new gallery"
        )


def embedder_for(
    manifest: Manifest, model: str | Path | Embedder | None, uri: str | Path, device: str = "auto"
) -> Embedder:
    """Return a gallery's embedder, loaded from ``model`` if given.

    A gallery made by timm's own pooling keeps it where another is the default today (DINOv3).
    Raises GalleryError if the recorded model can't be loaded and ModelMismatchError if ``model`` is a
    different one.
    """
    try:
        embedder = load_embedder(
            manifest.model if model is None else model, manifest.precision, _levels_of(manifest, uri), device
        )
    except UnknownModelError as error:
        if model is not None:
            raise
        raise GalleryError(
            f"{uri} was made with the model {manifest.model!r}, which can't be loaded: {error}; "
            "give its present path as the model"
        ) from error
    found = embedder.fingerprint()
    if found != manifest.fingerprint and _has_other_default(embedder) and not isinstance(model, Embedder):
        name = manifest.model if model is None else model
        embedder = Embedder.load(name, pooling="own", precision=manifest.precision, device=device)
        embedder = embedder.with_levels(_levels_of(manifest, uri))
        found = embedder.fingerprint()
    if found != manifest.fingerprint:
        raise ModelMismatchError(
            f"{uri} was made with the model {manifest.model_name!r} ({manifest.fingerprint[:12]}), "
            f"not with {embedder.name!r} ({found[:12]}), and their embeddings are not comparable; "
            "open it with its own model, or index into a new gallery"
        )
    return embedder


def check_same_model(first: Manifest, second: Manifest) -> None:
    """Raise ModelMismatchError unless two galleries have comparable embeddings."""
    if first.fingerprint != second.fingerprint:
        raise ModelMismatchError(
            f"one gallery was made with the model {first.model_name!r} ({first.fingerprint[:12]}), the "
            f"other with {second.model_name!r} ({second.fingerprint[:12]}), and their embeddings are not "
            "comparable; index one of them again"
        )


def _levels_of(manifest: Manifest, uri: str | Path) -> GrayLevels | None:
    """The levels that the gallery's pictures are read with."""
    try:
        return Preprocessing.from_dict(manifest.preprocessing).levels
    except ValueError as error:
        raise GalleryError(f"the manifest of {uri} is damaged: {error}; index again") from error


def _has_other_default(embedder: Embedder) -> bool:
    """Whether the model pools by default in another way than timm."""
    return embedder.network.backbone.default_pooling() != "own"
