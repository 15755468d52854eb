"""Bodies of the routes for maps and tags; their docstrings are the OpenAPI descriptions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lookalike.web.schemas import RecordId

LayoutText = Literal["pca", "umap"]
TagText = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"\S")]


class MapClusterOut(BaseModel):
    """A cluster of a map."""

    number: int
    size: int = Field(description="Pictures.")
    title: str
    typical: list[int] = Field(description="Rows of its typical pictures, the medoid first.")


class MapOut(BaseModel):
    """The map of a gallery; its points have a route of their own."""

    layout: LayoutText
    layouts: list[LayoutText] = Field(description="Those that can be asked for here.")
    key: str = Field(description="Changes with the gallery's pictures; rows are those of one key.")
    n_pictures: int
    remark: str
    fields: list[str] = Field(description="Metadata fields to color by.")
    clusters: list[MapClusterOut]


class MapColumnOut(BaseModel):
    """A metadata field of every picture, in the order of the rows."""

    name: str
    kind: Literal["category", "number"]
    values: list[str] = Field(description="Categories that have a color; at most 7.")
    counts: list[int] = Field(description="Pictures that have each.")
    codes: list[int] = Field(
        description="Position in `values` for each row; their number for another value, -1 for none. Empty "
        "for numbers."
    )
    numbers: list[float | None] = Field(description="Of each row; empty for categories.")


class PicturesRequest(BaseModel):
    """Pictures of a map that a table is wanted of."""

    model_config = ConfigDict(extra="forbid")

    layout: LayoutText | None = None
    ids: list[RecordId] = Field(min_length=1, max_length=20_000)


class TagsRequest(BaseModel):
    """Tags to be given to pictures, or taken from them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": ["3f2a9c0b7d1e4f5a6b7c"], "add": ["red"]}]}
    )

    ids: list[RecordId] = Field(min_length=1, max_length=20_000)
    add: list[TagText] = Field(default=[], max_length=30)
    remove: list[TagText] = Field(default=[], max_length=30)


class TaggedOut(BaseModel):
    """How many pictures got other tags."""

    n_changed: int
