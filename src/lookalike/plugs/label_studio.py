"""Pre-annotated tasks for Label Studio: two pictures, the peak of each map, and same or different.

The JSON is that of Label Studio's import of tasks with predictions; ``LABELING_CONFIG`` is the interface that
the project needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.gallery import Hit
from lookalike.types import Explanation, FloatArray, ImageMap

LABELING_CONFIG = """<View>
  <Image name="query" value="$query"/>
  <Image name="match" value="$match"/>
  <RectangleLabels name="query_peak" toName="query"><Label value="peak"/></RectangleLabels>
  <RectangleLabels name="match_peak" toName="match"><Label value="peak"/></RectangleLabels>
  <Choices name="same" toName="query"><Choice value="same"/><Choice value="different"/></Choices>
</View>"""
_SHARE = 0.5  # of the highest cell: cells that join the peak


def label_studio_task(
    explanation: Explanation,
    query: str,
    match: str,
    *,
    score: float | None = None,
    same: bool | None = None,
) -> dict[str, Any]:
    """One task with a prediction: where each picture's map is highest, and whether they are the same.

    ``query`` and ``match`` are the addresses under which Label Studio shows the pictures, such as
    ``/data/local-files/?d=photos/a.jpg``. ``score`` in [0, 1] orders tasks, by default the similarity, 0 for
    a negative one; ``same`` None makes no choice.
    """
    sides = (("query", explanation.query), ("match", explanation.match))
    result = [_peak_result(name, side) for name, side in sides]
    if same is not None:
        picked = "same" if same else "different"
        result.append({"id": _id(query, match, "same"), "type": "choices", "from_name": "same",
                       "to_name": "query", "value": {"choices": [picked]}})  # fmt: skip
    certainty = max(0.0, min(1.0, explanation.similarity if score is None else score))
    prediction = {"model_version": f"lookalike {explanation.method}", "score": certainty, "result": result}
    return {"data": {"query": query, "match": match}, "predictions": [prediction]}


def label_studio_tasks(
    hits: Iterable[Hit], query: str, address: Callable[[Path], str], *, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Tasks of the hits of a search; ``address`` turns a file into what Label Studio shows.

    Hits of a calibrated gallery are chosen as the same from the probability ``threshold`` on; others have no
    choice made.
    """
    return [
        label_studio_task(
            hit.why(),
            query,
            address(hit.path),
            score=hit.probability,
            same=None if hit.probability is None else hit.probability >= threshold,
        )
        for hit in hits
    ]


def peak_box(values: FloatArray) -> tuple[int, int, int, int]:
    """Top, left, bottom, right (past the end) of the cells around the highest one, of at least half of it.

    They are those joined to it by sides.

    >>> peak_box(np.array([[0, 0, 0], [0, 4, 3], [9, 0, 0], [9, 0, 0]], dtype=np.float32))
    (2, 0, 4, 1)
    """
    start = tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
    least = float(values[start]) * _SHARE
    inside, waiting = {start}, [start]
    while waiting:
        row, column = waiting.pop()
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            is_there = 0 <= place[0] < values.shape[0] and 0 <= place[1] < values.shape[1]
            if is_there and place not in inside and values[place] >= least > 0:
                inside.add(place)
                waiting.append(place)
    rows, columns = zip(*inside, strict=True)
    return min(rows), min(columns), max(rows) + 1, max(columns) + 1


def _peak_result(name: str, side: ImageMap) -> dict[str, Any]:
    """The box of a map's peak, in percent of the picture, as far as it lies on it."""
    top, left, bottom, right = peak_box(side.values)
    x0, y0, _, _ = side.geometry.cell_box(top, left, side.grid)
    _, _, x1, y1 = side.geometry.cell_box(bottom - 1, right - 1, side.grid)
    height, width = side.geometry.original_size
    x0, x1 = (100 * min(max(x, 0), width) / width for x in (x0, x1))
    y0, y1 = (100 * min(max(y, 0), height) / height for y in (y0, y1))
    value = {
        "x": x0,
        "y": y0,
        "width": x1 - x0,
        "height": y1 - y0,
        "rotation": 0,
        "rectanglelabels": ["peak"],
    }
    return {
        "id": _id(side.name, name, str(side.values.argmax())),
        "type": "rectanglelabels",
        "from_name": f"{name}_peak",
        "to_name": name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }


def _id(*parts: str) -> str:
    """A name for a region, the same for the same pictures."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
