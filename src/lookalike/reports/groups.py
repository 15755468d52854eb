"""Report of groups: a page with the pictures of each group, what was changed, and what to keep."""

from __future__ import annotations

import datetime
from pathlib import Path

from lookalike import __version__, images
from lookalike.errors import UnreadableImageError
from lookalike.gallery.groups import Groups, PictureGroup
from lookalike.gallery.links import GROUP_KINDS
from lookalike.reports.page import data_uri, page, thumbnail

_SIDE = 220  # pixels of the longer side
_SHOWN = 200  # groups with pictures; the CSV has all
_FILES = 24  # pictures of a group


def groups_report(found: Groups, *, title: str) -> str:
    """Return the HTML report of the groups, the first 200 of them with pictures."""
    words = {"copy": "of exact copies", "near-duplicate": "of near-duplicates", "same": "of the same thing"}
    counts = ", ".join(
        f"{sum(group.kind == kind for group in found):,} {words[kind]}" for kind in GROUP_KINDS
    )
    summary = f"{len(found):,} group{'' if len(found) == 1 else 's'}: {counts}."
    if len(found) > _SHOWN:
        summary += f" The first {_SHOWN} are shown; a CSV or JSON file has all."
    if found.unreadable:
        summary += f" {len(found.unreadable):,} files could not be read."
    rules = [
        "copy: the files have the same bytes.",
        "near-duplicate: one picture, altered: an affine transformation was found under which both agree.",
        "same: different pictures of one thing, by the similarity of their embeddings"
        + (f" ({found.threshold:z.3f} or more)." if found.threshold is not None else ": not sought."),
        "Keep and drop are suggestions; nothing was deleted.",
    ]
    return page(
        "groups.html",
        title=title,
        summary=f"{summary} {found.remark[:1].upper()}{found.remark[1:]}".strip(),
        groups=[_shown(number, group) for number, group in enumerate(found[:_SHOWN], start=1)],
        rules=rules,
        made=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, lookalike {__version__}",
    )


def _shown(number: int, group: PictureGroup) -> dict[str, object]:
    advice = {each.path: each for each in group.advice}
    files = []
    for path in group.paths[:_FILES]:
        given = advice.get(path)
        files.append(
            {
                "name": Path(path).name,
                "path": path,
                "photo": _photo(path),
                "keep": None if given is None else given.keep,
                "reason": "" if given is None else group.with_names(given.reason),
            }
        )
    links = [
        f"{Path(link.first).name} → {Path(link.second).name}: {'; '.join(link.change) or link.kind}, "
        f"similarity {link.similarity:z.3f}"
        + ("" if link.alignment is None else f", agreement {link.alignment.agreement:.2f}")
        for link in group.links[:_FILES]
    ]
    more = len(group.paths) - len(files)
    return {"number": number, "kind": group.kind, "files": files, "links": links, "more": more}


def _photo(path: str) -> str | None:
    try:
        return data_uri(thumbnail(images.load(path, at_least=(_SIDE, _SIDE)).image, _SIDE))
    except UnreadableImageError:
        return None
