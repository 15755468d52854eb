"""Tags of images: a list of short texts in the metadata of each of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookalike.errors import GalleryError
from lookalike.store import Record, VectorStore

TAGS = "tags"  # the field of the metadata
LONGEST_RECORD_TAG, MOST_RECORD_TAGS = 60, 30  # characters; tags of one image


def tag_records(
    store: VectorStore, ids: Sequence[str], add: Sequence[str], remove: Sequence[str]
) -> list[Record]:
    """Add and remove tags of records in one step; see ``Gallery.tag``."""
    wanted, unwanted = _checked(add), _checked(remove)
    if not (wanted or unwanted):
        raise ValueError("no tags: give some to add or to remove")
    unique = list(dict.fromkeys(ids))
    known = {record.id for record in store.records(unique)}
    if missing := [id for id in unique if id not in known]:
        raise GalleryError(f"the gallery has no image {missing[0]!r}; nothing was tagged")
    return store.revise(unique, _with_tags(wanted, unwanted))


def tags_of(metadata: Mapping[str, Any], path: str) -> list[str]:
    """Return the tags of a file; one text is one tag. Raises GalleryError if the field holds other values."""
    found = metadata.get(TAGS)
    if found in (None, ""):
        return []
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise GalleryError(
            f"the field {TAGS} of {Path(path).name} holds {found!r:.80}, which are no tags; give that field "
            "another name"
        )
    return texts


def _with_tags(wanted: Sequence[str], unwanted: Sequence[str]) -> Callable[[Record], Record]:
    def change(record: Record) -> Record:
        files = []
        for file in record.files:
            before = tags_of(file.metadata, file.path)
            kept = [tag for tag in dict.fromkeys([*before, *wanted]) if tag not in unwanted]
            if len(kept) > MOST_RECORD_TAGS:
                name = Path(file.path).name
                raise ValueError(f"{name} would have {len(kept)} tags and can have {MOST_RECORD_TAGS}")
            others = {name: value for name, value in file.metadata.items() if name != TAGS}
            if kept != before:
                files.append(replace(file, metadata=others | ({TAGS: kept} if kept else {})))
            else:
                files.append(file)
        return record.with_files(files)

    return change


def _checked(tags: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if isinstance(tags, str) or len(found) > MOST_RECORD_TAGS:
        raise ValueError(f"tags are a list of up to {MOST_RECORD_TAGS} texts; got {tags!r:.80}")
    for tag in found:
        if len(tag) > LONGEST_RECORD_TAG or not tag.isprintable():  # nor halves of surrogate pairs
            raise ValueError(
                f"a tag has up to {LONGEST_RECORD_TAG} characters, all of them printable; got {tag!r:.80}"
            )
    return found
