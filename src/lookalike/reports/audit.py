"""Report of an audit: what recurs in a collection, with crops and what it carries."""

from __future__ import annotations

import datetime

from PIL import Image, ImageDraw

from lookalike import __version__, images
from lookalike.errors import UnreadableImageError
from lookalike.gallery.recurrences import Audit, Recurrence
from lookalike.gallery.regions import Box
from lookalike.reports.page import data_uri, page, thumbnail
from lookalike.types import Picture

_SIDE = 260  # pixels of the longer side of a picture
_LOADED = (520, 520)  # pixels, at least, of which crops are taken
_EXAMPLES = 8  # pictures of a finding
_MARK = (255, 140, 0)


def audit_report(audit: Audit, *, title: str) -> str:
    """Return the HTML report of an audit, with up to 8 pictures of each finding, and crops of its place."""
    rules = [
        "A finding is what agrees at one place of many pictures (edges of windows of the frame), or at "
        "changing places (points in one arrangement), far more than windows at different places do. "
        "The order is by how much agrees.",
        "Nearer to each other: the mean cosine between the pictures that carry it less that between them and "
        "others; with its place filled in all of them from what surrounds it; and set aside.",
        "Set aside: up to 8 directions that it adds to embeddings are removed from queries and images alike.",
        "A finding need not be a fault: what many pictures show may be what you look for.",
    ]
    return page(
        "audit.html",
        title=title,
        summary=audit.sentence if not len(audit) else audit.sentence.split(" First: ")[0],
        findings=[_shown(each) for each in audit],
        remarks=audit.remarks,
        rules=rules,
        made=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, lookalike {__version__}",
    )


def _shown(found: Recurrence) -> dict[str, object]:
    pictures = [_example(path, box) for path, box in list(found.boxes.items())[:_EXAMPLES]]
    return {
        "id": found.id,
        "what": found.what,
        "place": found.place,
        "count": f"{len(found.paths)} pictures, {found.part:.0%} of those looked at",
        "numbers": {
            ("mean similarity" if found.part == 1 else "nearer to each other than to others"): (
                f"{found.preference:+z.3f}"
            ),
            "with its place filled in all": f"{found.preference_without:+z.3f}",
            "set aside": f"{found.preference_aside:+z.3f}",
            "nearest picture carries it too": f"{found.nearest:.0%}",
            "nearest, set aside": f"{found.nearest_aside:.0%}",
            "nearest, by chance": f"{found.nearest_chance:.0%}",
            "share of the similarity of all pairs": f"{found.share:z.2%}",
        },
        "pictures": [each for each in pictures if each is not None],
        "paths": found.paths,
    }


def _example(path: str, box: Box) -> dict[str, str] | None:
    """A picture with the place outlined, and a crop of it; None for a file that can't be read."""
    try:
        picture = images.load(path, at_least=_LOADED)
    except UnreadableImageError:
        return None
    corners = _on_image(box, picture)
    crop = picture.image.crop(corners)
    outlined = picture.image.copy()
    width = max(2, max(outlined.size) // 150)
    ImageDraw.Draw(outlined).rectangle(corners, outline=_MARK, width=width)
    return {"name": picture.name, "path": path, "photo": _small(outlined), "crop": _small(crop)}


def _on_image(box: Box, picture: Picture) -> tuple[int, int, int, int]:
    """The box in pixels of the image as it was loaded, at least one pixel wide and high."""
    (height, width), image = picture.original_size, picture.image
    x, y = image.width / width, image.height / height
    left, top = min(int(box[0] * x), image.width - 1), min(int(box[1] * y), image.height - 1)
    return left, top, max(round(box[2] * x), left + 1), max(round(box[3] * y), top + 1)


def _small(image: Image.Image) -> str:
    return data_uri(thumbnail(image, _SIDE))
