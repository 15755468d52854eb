"""Request and response schemas of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lookalike.types import Explanation, FloatArray, Geometry

RecordId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{20}$")]
PictureId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{20}|[0-9a-f]{32})$")]
BoxText = Annotated[str, StringConstraints(pattern=r"^-?[\d.]{1,12}(,-?[\d.]{1,12}){3}$")]
Grid = list[list[float]]
BoxPixels = tuple[float, float, float, float]

_EXAMPLE_ID = "3f2a9c0b7d1e4f5a6b7c"


class Refusal(BaseModel):
    """The reason why a request was refused, in one sentence."""

    detail: str


class Health(BaseModel):
    """The state of the server and the limits that it enforces."""

    status: Literal["ok"] = "ok"
    version: str
    galleries: list[str]
    rerankers: list[str]
    max_upload_bytes: int
    may_add: bool = Field(description="Whether pictures may be added to galleries here.")


class GalleryOut(BaseModel):
    """The description of a gallery."""

    name: str
    n_images: int
    n_files: int
    model: str
    created: str
    has_probabilities: bool
    metadata_fields: dict[str, int] = Field(description="Field and how many pictures have it.")


class PictureOut(BaseModel):
    """A picture of a gallery."""

    id: PictureId
    name: str
    metadata: dict[str, Any] = {}


class UploadOut(PictureOut):
    """An uploaded picture, held in memory under a random id until newer uploads evict it."""

    height: int
    width: int


class PicturesOut(BaseModel):
    """One page of a gallery's pictures."""

    total: int
    pictures: list[PictureOut]


class SearchSettings(BaseModel):
    """The settings of a search."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"k": 12, "box": [120, 40, 300, 220], "rerank": "k-reciprocal"}]},
    )

    k: int = Field(default=20, ge=1, le=200)
    box: BoxPixels | None = Field(
        default=None, description="Left, top, right, bottom in pixels of the query."
    )
    polygon: list[tuple[float, float]] | None = Field(default=None, min_length=3, max_length=1000)
    rerank: str | None = Field(
        default=None, max_length=80, description="A re-ranker, or several joined by +."
    )
    shortlist: int = Field(default=200, ge=1, le=1000, description="How many are re-ranked.")
    where: str | dict[str, Any] | None = Field(default=None, description="label == 'hall' and year >= 2019")
    min_similarity: float | None = Field(default=None, ge=-1, le=1)
    min_probability: float | None = Field(default=None, ge=0, le=1)
    leave_self_out: bool = False


class SearchRequest(SearchSettings):
    """A search with a picture on the server, by the id of an upload or of a record."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": _EXAMPLE_ID, "k": 12}]})

    query: PictureId


class GeometryOut(BaseModel):
    """The position of a map on its picture."""

    original_size: tuple[int, int] = Field(description="Height, width in pixels.")
    crop: tuple[float, float, float, float] = Field(description="Top, left, height, width in pixels.")

    @classmethod
    def of(cls, geometry: Geometry) -> GeometryOut:
        """The fields of a geometry that drawing needs."""
        return cls(original_size=geometry.original_size, crop=geometry.crop)


class HitOut(BaseModel):
    """A picture found by a search."""

    rank: int = Field(description="1 is the best.")
    id: RecordId
    name: str
    sha256: str
    copies: int = Field(description="Further files with this content.")
    similarity: float = Field(description="Cosine with the query, [-1, 1].")
    score: float = Field(description="What the order is by: the cosine, or the re-ranker's score.")
    rank_before: int | None = Field(description="Before re-ranking.")
    probability: float | None = Field(description="That it is a match, in a calibrated gallery.")
    metadata: dict[str, Any]
    query_map: Grid = Field(description="Shares of the similarity over cells of the query.")


class SearchOut(BaseModel):
    """The result of a search."""

    query: UploadOut
    query_geometry: GeometryOut
    hits: list[HitOut] = Field(description="Best first; empty where none is good enough.")
    limit: float = Field(description="Largest share per 1 % of the view, over all query maps.")
    seconds: float


class ExplanationOut(BaseModel):
    """Signed maps of a pair, each of which sums to the similarity minus its residual."""

    similarity: float
    method: str
    model: str
    residual: float
    match_residual: float
    query_map: Grid
    match_map: Grid
    query_geometry: GeometryOut
    match_geometry: GeometryOut
    limit: float = Field(description="Largest share per 1 % of the view, over both maps.")

    @classmethod
    def of(cls, explanation: Explanation, limit: float) -> ExplanationOut:
        """The schema of an additive explanation."""
        return cls(
            similarity=explanation.similarity,
            method=explanation.method,
            model=explanation.model,
            residual=explanation.residual,
            match_residual=explanation.match_residual,
            query_map=as_grid(explanation.query_map),
            match_map=as_grid(explanation.match_map),
            query_geometry=GeometryOut.of(explanation.query_geometry),
            match_geometry=GeometryOut.of(explanation.match_geometry),
            limit=limit,
        )


class CellMatchOut(BaseModel):
    """One cell of a picture compared with all cells of another."""

    cell: tuple[int, int] = Field(description="Row, column of the cell on its own grid.")
    cell_box: BoxPixels = Field(description="The same as left, top, right, bottom in pixels.")
    best_cell: tuple[int, int] = Field(description="Row, column of the most alike cell.")
    best_box: BoxPixels
    cosines: Grid = Field(description="How alike each cell of the other picture is, [-1, 1].")
    shares: Grid = Field(description="What each pair of cells gives to the similarity; signed.")
    contribution: float = Field(description="What the cell gives altogether: the sum of the shares.")
    geometry: GeometryOut = Field(description="Where both maps lie on the other picture.")


class PaletteOut(BaseModel):
    """Colors of maps, from the value -limit to the value limit."""

    rgba: list[tuple[int, int, int, int]]


class AddRequest(BaseModel):
    """A request to add a folder."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"folder": "2024/rooms"}]})

    folder: str = Field(
        default=".", max_length=500, description="Below the folder that the server was started with."
    )


class UnreadableOut(BaseModel):
    """A file that could not be read, and the reason."""

    name: str
    reason: str


class JobOut(BaseModel):
    """The progress and the result of adding images."""

    id: str
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    done: int = Field(default=0, description="Files.")
    total: int = 0
    rate: float = Field(default=0, description="Files a second.")
    remaining: float | None = Field(default=None, description="Seconds; unknown at first.")
    added: int = 0
    known: int = 0
    unreadable: list[UnreadableOut] = []
    error: str | None = None


def as_grid(values: FloatArray) -> Grid:
    """A map (h, w) as rows of numbers with seven significant digits."""
    return [[float(f"{value:.7g}") for value in row] for row in values.tolist()]
