"""The map of a collection as one self-contained HTML file that opens offline.

Its scripts are those that the web page shows the map with: plain ES modules in one folder, put together here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lookalike.errors import LookalikeError
from lookalike.gallery.mapping import CollectionMap, MapCluster
from lookalike.gallery.mapping.columns import map_column
from lookalike.reports.page import page
from lookalike.store import Record
from lookalike.types import ProgressCallback, tracked

MAP_FILES = Path(__file__).parent / "templates" / "map"
_ENTRY = "file.js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_TYPICAL_SIDE, _SIDE = 160, 96  # pixels of the longer side
_QUALITY = 78

PictureOf = Callable[[Record], Image.Image]


def map_page(
    found: CollectionMap,
    picture_of: PictureOf,
    *,
    title: str,
    about: str = "",
    thumbnails: int = 2000,
    progress: ProgressCallback | None = None,
) -> str:
    """Return the map as an HTML page that needs no server and no network.

    ``picture_of`` returns the picture of a record, and raises LookalikeError where it can't be read, which
    leaves it out. The typical pictures of all clusters are in the page, and those of others up to
    ``thumbnails``, spread over the map. Files are named without their folders.
    """
    rows = shown_rows(found, thumbnails)
    pictures: dict[str, str] = {}
    large = set(_typical(found))
    for row in tracked(rows, "reading pictures", len(rows), progress):
        try:
            image = picture_of(found.records[row])
        except LookalikeError:
            continue
        pictures[str(row)] = _small(image, _TYPICAL_SIDE if row in large else _SIDE)
    script = inlined_script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page(
        "map.html",
        title=title,
        about=about,
        style=(MAP_FILES / "map.css").read_text("utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        data=_data(found, pictures),
    )


def shown_rows(found: CollectionMap, n: int) -> list[int]:
    """Return the rows whose pictures are in the page: the typical ones, then every n-th of the others.

    Rows are in the order of their ids, which are random, so that these are spread over the map.
    """
    typical = _typical(found)
    others = [row for row in range(len(found)) if row not in set(typical)]
    n_more = max(0, n - len(typical))
    step = max(1.0, len(others) / n_more) if n_more else 1.0
    return typical + [others[int(i * step)] for i in range(min(n_more, len(others)))]


def inlined_script() -> str:
    """Return the page's modules as one, each after those that it imports; no name occurs in two of them."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        text = (MAP_FILES / name).read_text("utf-8")
        for needed in _IMPORT.findall(text):
            add(needed)
        done[name] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    add(_ENTRY)
    return "\n".join(done.values())


def _typical(found: CollectionMap) -> list[int]:
    row_of = {record.id: row for row, record in enumerate(found.records)}
    return list(dict.fromkeys(row for group in found.groups for row in _rows(row_of, group)))


def _rows(row_of: Mapping[str, int], group: MapCluster) -> list[int]:
    return [row_of[id] for id in group.typical]


def _small(image: Image.Image, side: int) -> str:
    copy = image.convert("RGB")
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    copy.save(buffer, format="WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _data(found: CollectionMap, thumbnails: dict[str, str]) -> str:
    """All of it as JSON that can stand in a page."""
    row_of = {record.id: row for row, record in enumerate(found.records)}
    values: dict[str, Any] = {
        "layout": found.layout,
        "layouts": [found.layout],
        "n_pictures": len(found),
        "remark": found.remark,
        "fields": found.fields,
        "clusters": [
            {"number": each.number, "size": each.size, "title": each.title, "typical": _rows(row_of, each)}
            for each in found.groups
        ],
        "points": base64.b64encode(packed_points(found)).decode(),
        "columns": [map_column(found.records, name).to_dict() for name in found.fields],
        "names": [Path(record.path).name for record in found.records],
        "metadata": [dict(record.metadata) for record in found.records],
        "csv": found.csv_lines(with_folders=False),
        "thumbnails": thumbnails,
    }
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def packed_points(found: CollectionMap) -> bytes:
    """Return x and y of each row (float32), the clusters (int32), the ids (10 bytes each), little-endian."""
    ids = bytes.fromhex("".join(record.id for record in found.records))
    return found.points.astype("<f4").tobytes() + np.asarray(found.clusters, "<i4").tobytes() + ids
