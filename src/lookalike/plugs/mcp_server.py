"""A gallery as tools of the Model Context Protocol, for assistants (extra ``[mcp]``).

Read-only unless told. Clients name pictures by id, or send them; never by a path of this machine.
"""

from __future__ import annotations

import base64
import binascii
import io
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image as Sent
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from PIL import Image
from pydantic import Field

from lookalike import __version__, render
from lookalike.errors import LookalikeError
from lookalike.explainers import make_explainer
from lookalike.gallery import Gallery, Hit
from lookalike.gallery.groups import PictureGroup
from lookalike.images import load, path_text
from lookalike.store import Record
from lookalike.types import Explanation

_INSTRUCTIONS = (
    "Finds pictures of one gallery that look alike, and shows why: maps whose cells sum to the similarity, a "
    "cosine in [-1, 1]. A picture is the id of one in the gallery, as search returns it, or the base64 of an "
    "image file."
)
_THUMBNAIL = 320  # pixels, the longer side of a hit's picture
_WIDTH = 900  # pixels, of a picture of maps
_MOST_BYTES = 20_000_000  # of a picture that a client sends
_MOST_HITS, _MOST_SHOWN = 50, 12

_Picture = Annotated[str, Field(description="Id of a picture in the gallery, or base64 of an image file.")]
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def mcp_server(gallery: Gallery, *, add_from: str | Path | None = None) -> MCPServer[Any]:
    """A server with the tools search, why, compare and groups over a gallery; ``run()`` serves it.

    ``add_from`` adds a tool that brings the gallery up to date with this folder, the only one that writes;
    which folder that is, no client decides.
    """
    server: MCPServer[Any] = MCPServer("lookalike", version=__version__, instructions=_INSTRUCTIONS)
    tools = _Tools(gallery)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.search, tools.why, tools.compare, tools.groups):
        server.add_tool(tools.guarded(tool), annotations=reads, structured_output=False)
    if add_from is not None:
        folder = Path(add_from)

        def update() -> str:
            """Bring the gallery up to date with its folder: new and changed pictures are added."""
            report = gallery.add(folder)
            return f"{len(gallery)} pictures; {report}"

        writes = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
        server.add_tool(tools.guarded(update), annotations=writes, structured_output=False)
    return server


class _Tools:
    """The tools; their docstrings are what assistants read."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._lock = threading.Lock()  # one model, and clients may ask at once

    def guarded(self, tool: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
        """The tool, one call at a time, with our errors as answers that an assistant can read."""

        @wraps(tool)
        def call(*args: _Given.args, **options: _Given.kwargs) -> _Answer:
            with self._lock:
                try:
                    return tool(*args, **options)
                except (LookalikeError, ValueError) as error:
                    raise ToolError(self._without_folders(str(error))) from error

        return call

    def search(
        self,
        picture: Annotated[str | None, Field(description="Id in the gallery, or base64 of a file.")] = None,
        text: Annotated[str | None, Field(description="Words, for a model that knows words.")] = None,
        k: Annotated[int, Field(ge=1, le=_MOST_HITS, description="Number of hits.")] = 5,
        where: Annotated[str | None, Field(description="Filter on metadata, such as: year >= 1900")] = None,
        rerank: Annotated[str | None, Field(description="Re-ranker, such as geometry.")] = None,
        show: Annotated[bool, Field(description="Return the pictures as well.")] = True,
    ) -> list[Any]:
        """Find the pictures of the gallery that are most similar to a picture or to words, best first."""
        query = None if picture is None else self._query(picture)
        hits = self._gallery.search(query, text=text, k=k, where=where, rerank=rerank)
        rows = [_row(hit) for hit in hits]
        return [{"hits": rows}, *(_thumbnails(hit.record for hit in hits[:_MOST_SHOWN]) if show else ())]

    def why(
        self,
        query: _Picture,
        match: Annotated[str, Field(description="Id of the hit.")],
        method: Annotated[str | None, Field(description="shares (default), occlusion, ...")] = None,
    ) -> list[Any]:
        """Show why a picture is similar to one of the gallery: both with their maps.

        Red cells add to the similarity, blue ones take away.
        """
        return self._explained(self._picture(query), self._record(match).path, method)

    def compare(
        self,
        a: _Picture,
        b: _Picture,
        method: Annotated[str | None, Field(description="shares (default), occlusion, ...")] = None,
    ) -> list[Any]:
        """Compare any two pictures: their similarity, and both with their maps."""
        return self._explained(self._picture(a), self._picture(b), method)

    def groups(
        self,
        kind: Annotated[
            str | None, Field(description="copy, near-duplicate or same; default: all three")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=200, description="Number of groups.")] = 20,
    ) -> list[Any]:
        """List groups of the gallery: copies, near-duplicates and pictures of the same thing."""
        options: dict[str, Any] = {} if kind is None else {"kinds": [kind]}
        found = self._gallery.groups(**options)
        ids = {file.path: record.id for record in self._gallery.records() for file in record.files}
        first = [_group_row(group, ids) for group in found[:limit]]
        return [{"groups": len(found), "remark": found.remark, "first": first}]

    def _explained(self, query: str | bytes, match: str | bytes, method: str | None) -> list[Any]:
        explanation = make_explainer(self._gallery.embedder, method or "shares")(query, match)
        return [_summary(explanation), _sent(render.side_by_side(explanation, width=_WIDTH))]

    def _query(self, picture: str) -> str | bytes:
        """What ``Gallery.search`` takes: an id, or the bytes of a file."""
        return picture if self._is_known(picture) else _decoded(picture)

    def _picture(self, picture: str) -> str | bytes:
        """The file of a picture of the gallery, or the bytes of one that was sent."""
        return self._record(picture).path if self._is_known(picture) else _decoded(picture)

    def _without_folders(self, message: str) -> str:
        """A message without the folders of this machine that lie before names in it."""
        paths = [file.path for record in self._gallery.records() for file in record.files]
        folders = {path_text(Path(path).parent) for path in [*paths, *filter(None, [self._gallery.uri])]}
        for folder in sorted(folders, key=len, reverse=True):
            message = message.replace(f"{folder}/", "")
        return message

    def _is_known(self, id: str) -> bool:
        return len(id) < 200 and bool(self._found(id))

    def _found(self, id: str) -> list[Record]:
        return list(self._gallery.records([id]))

    def _record(self, id: str) -> Record:
        found = self._found(id) if len(id) < 200 else []
        if not found:
            raise ToolError(f"the gallery has no picture with the id {id[:80]!r}; search returns ids")
        return found[0]


def _decoded(picture: str) -> bytes:
    """The bytes of a picture in base64, alone or as a data URL."""
    encoded = picture.partition("base64,")[2] if picture.startswith("data:") else picture
    if len(encoded) > _MOST_BYTES * 4 // 3:
        raise ToolError(f"a picture has at most {_MOST_BYTES:,} bytes; scale it down")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ToolError(
            f"{picture[:60]!r} is no id of the gallery and no base64 of an image; paths are not taken"
        ) from error


def _row(hit: Hit) -> dict[str, Any]:
    """What an assistant is told of a hit: the file's name without its folders."""
    row = hit.to_dict()
    kept = ("rank", "id", "similarity", "score", "probability", "metadata")
    return {"name": hit.path.name, **{name: row[name] for name in kept}}


def _group_row(group: PictureGroup, ids: Mapping[str, str]) -> dict[str, Any]:
    """What an assistant is told of a group: its files by id and name, what to keep, what was changed."""
    advice = {each.path: each for each in group.advice}
    number = {path: place for place, path in enumerate(group.paths)}
    pictures = [
        {
            "id": ids[path],
            "name": Path(path).name,
            "keep": advice[path].keep if path in advice else None,
            "reason": group.with_names(advice[path].reason) if path in advice else "",
        }
        for path in group.paths
    ]
    links = [
        {"first": number[link.first], "second": number[link.second], "change": list(link.change)}
        for link in group.links
    ]
    return {"kind": group.kind, "pictures": pictures, "links": links}


def _summary(explanation: Explanation) -> dict[str, Any]:
    residual = {"residual": explanation.residual} if explanation.additive else {}
    return {
        "similarity": explanation.similarity,
        "method": explanation.method,
        "maps_sum_to_the_similarity": explanation.additive,
        **residual,
    }


def _thumbnails(records: Iterable[Record]) -> list[Sent]:
    """The pictures of hits, scaled down; a gray one where the file is gone, so that the order is kept."""
    shown = []
    for record in records:
        try:
            image = load(record.path, at_least=(_THUMBNAIL, _THUMBNAIL)).image
        except LookalikeError:
            image = Image.new("RGB", (32, 32), "gray")
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        shown.append(_sent(image))
    return shown


def _sent(image: Image.Image) -> Sent:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=85)
    return Sent(data=file.getvalue(), format="jpeg")
