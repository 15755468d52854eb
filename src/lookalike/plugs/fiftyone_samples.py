"""FiftyOne datasets: embeddings, a similarity index and why-maps written into one; pictures read from one.

``samples`` is a Dataset or a view of it. FiftyOne is imported where it is used: that takes seconds and starts
its database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from lookalike.datasets import PictureRows
from lookalike.errors import UnreadableImageError
from lookalike.explainers import make_explainer
from lookalike.images import ImageSource
from lookalike.models.embedder import Embedder
from lookalike.render.placement import fitted, place
from lookalike.render.ranges import per_percent, shared_range
from lookalike.types import FloatArray, ImageMap, Reading

_BOX = (96, 96)  # a stored map is at most this large; FiftyOne stretches it over the picture


def embed_samples(
    samples: Any,
    embedder: Embedder,
    *,
    field: str = "lookalike",
    index: str | None = "lookalike",
    batch_size: int = 32,
) -> dict[str, str]:
    """Write unit embeddings into a field of the samples, and index them for ``sort_by_similarity``.

    ``index`` is the brain key of the index and replaces one of that name; None makes none. Samples whose file
    can't be read keep None. Returns the reason for each of their paths.
    """
    failed: dict[str, str] = {}
    embeddings: list[FloatArray | None] = []
    paths: list[str] = samples.values("filepath")
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        readings = {path: _reading(path, embedder, failed) for path in batch}
        read = {path: reading for path, reading in readings.items() if reading is not None}
        pixels = [reading.pixels for reading in read.values()]
        vectors = embedder.embed_pixels(pixels, names=list(read)).numpy() if read else ()
        of_path = dict(zip(read, vectors, strict=True))
        embeddings.extend(of_path.get(path) for path in batch)
    samples.set_values(field, embeddings)
    if index is not None and len(failed) < len(set(paths)):
        from fiftyone import brain

        if samples.has_brain_run(index):
            samples.delete_brain_run(index)
        # Its "cosine" is that of vectors less their mean; the distance of unit vectors orders as ours does.
        brain.compute_similarity(
            samples.exists(field), embeddings=field, brain_key=index, backend="sklearn", metric="euclidean"
        )
    return failed


def explain_samples(
    samples: Any,
    query: ImageSource,
    embedder: Embedder,
    *,
    field: str = "why",
    method: str = "shares",
) -> dict[str, str]:
    """Write into each sample where it is similar to a query: a ``Heatmap``, and ``FIELD_similarity``.

    All maps have one range, from what lowers the similarity to what raises it, per 1 % of the area, so that
    the App's colors compare. Samples whose file can't be read keep None. Returns the reason for each of
    their paths. Raises UnreadableImageError for the query.
    """
    import fiftyone

    explain = make_explainer(embedder, method)
    asked = embedder.read(embedder.picture(query))
    failed: dict[str, str] = {}
    maps: list[FloatArray | None] = []
    similarities: list[float | None] = []
    for path in samples.values("filepath"):
        reading = _reading(path, embedder, failed)
        why = None if reading is None else explain(asked, reading)
        maps.append(None if why is None else heatmap_values(why.match))
        similarities.append(None if why is None else why.similarity)
    drawn = [values for values in maps if values is not None]
    lowest, highest = shared_range(*drawn) if drawn else (0.0, 0.0)
    limits = [lowest, highest] if highest > 0 else [-1.0, 1.0]
    heatmaps = [None if values is None else fiftyone.Heatmap(map=values, range=limits) for values in maps]
    samples.set_values(field, heatmaps)
    samples.set_values(f"{field}_similarity", similarities)
    return failed


def sample_rows(samples: Any, *, label: str | None = None, fields: Sequence[str] = ()) -> PictureRows:
    """The pictures of the samples, as ``Gallery.add``, ``evaluate`` and ``fit`` take them.

    ``label`` is a field with classifications or text, and ``fields`` are kept as metadata, as is the id of
    each sample, ``sample_id``: ``samples.select([hit.metadata["sample_id"] for hit in hits])``.
    """
    names = ["id", "filepath", *([label] if label else []), *fields]
    columns = dict(zip(names, (samples.values(name) for name in names), strict=True))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return PictureRows(_Rows([_row(row, label) for row in rows]), image="filepath", label="label")


def heatmap_values(side: ImageMap) -> FloatArray:
    """A map over its whole picture: (H, W) float32 of its shape, at most 96 pixels long.

    Values are per 1 % of the area that the model saw, and 0 outside it.
    """
    return place(per_percent(side).values, side.geometry, fitted(side.geometry.original_size, _BOX))


@final
class _Rows:
    """Rows by number, which ``PictureRows`` reads."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        return self._rows[i]


def _row(values: Mapping[str, Any], label: str | None) -> dict[str, Any]:
    """A sample as a row; a Classification is its label."""
    plain = {name: getattr(value, "label", value) for name, value in values.items()}
    row = {"sample_id": plain.pop("id"), **plain}
    return {**row, "label": None if label is None else row.pop(label)}


def _reading(path: str, embedder: Embedder, failed: dict[str, str]) -> Reading | None:
    """A file prepared for the model; one that can't be read is noted."""
    try:
        return embedder.read(path)
    except UnreadableImageError as error:
        failed[path] = str(error)
        return None
