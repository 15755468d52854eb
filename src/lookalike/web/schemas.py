"""Request and response bodies of the HTTP API; their docstrings are the OpenAPI descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lookalike.types import Explanation, FloatArray, Geometry, TextExplanation

MAX_CORNERS = 1000  # of a polygon
RecordId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{20}$")]
PictureId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{20}|[0-9a-f]{32})$")]
_NUMBER = r"-?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})"
BoxText = Annotated[str, StringConstraints(pattern=rf"^{_NUMBER}(,{_NUMBER}){{3}}$")]
PolygonText = Annotated[str, StringConstraints(pattern=rf"^{_NUMBER}(,{_NUMBER})+$", max_length=20_000)]
WordsText = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"\S")]
Grid = list[list[float]]
BoxPixels = tuple[float, float, float, float]  # left, top, right, bottom

_EXAMPLE_ID = "3f2a9c0b7d1e4f5a6b7c"


class ErrorOut(BaseModel):
    """The reason a request failed, in one sentence."""

    detail: str


class HealthOut(BaseModel):
    """Status of the server, its galleries and its limits."""

    status: Literal["ok"] = "ok"
    version: str
    galleries: list[str]
    answers_words: list[str] = Field(description="Those of the galleries that can be searched by words.")
    rerankers: list[str]
    max_upload_bytes: int
    may_add: bool = Field(description="Whether clients may add pictures.")
    person: str = Field(default="", description="Whose token this is; empty where no token has a name.")


class GalleryOut(BaseModel):
    """A gallery's size, model and metadata."""

    name: str
    n_images: int = Field(description="Images with distinct content.")
    n_files: int = Field(description="Files, including copies of the same image.")
    model: str
    created: str
    has_probabilities: bool
    infers_distance: bool = Field(description="Whether whole pictures are ranked by an AVSL distance.")
    answers_words: bool = Field(description="Whether a search takes a text.")
    metadata_fields: dict[str, int] = Field(description="Number of pictures with each field.")


class PictureOut(BaseModel):
    """A picture of the gallery or an uploaded picture."""

    id: PictureId
    name: str
    metadata: dict[str, Any] = {}


class UploadOut(PictureOut):
    """An uploaded picture, kept in memory under a random id until newer uploads replace it."""

    height: int = Field(description="In pixels.")
    width: int = Field(description="In pixels.")


class PicturesOut(BaseModel):
    """A page of a gallery's pictures."""

    total: int
    pictures: list[PictureOut]


class SearchSettings(BaseModel):
    """Settings of a search."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"k": 12, "box": [120, 40, 300, 220], "rerank": "k-reciprocal"}]},
    )

    k: int = Field(default=20, ge=1, le=200, description="Number of hits.")
    box: BoxPixels | None = Field(
        default=None, description="Left, top, right, bottom in pixels of the query."
    )
    polygon: list[tuple[float, float]] | None = Field(
        default=None,
        min_length=3,
        max_length=MAX_CORNERS,
        description="Corners (x, y) in pixels of the query; give either box or polygon.",
    )
    rerank: str | None = Field(
        default=None,
        max_length=80,
        description="Name of a re-ranker, or several joined by +. By default none, but avsl for a whole "
        "picture in a gallery of an AVSL model; none leaves it out.",
    )
    shortlist: int = Field(default=200, ge=1, le=1000, description="Number of hits to re-rank.")
    where: Annotated[str, StringConstraints(max_length=4000)] | dict[str, Any] | None = Field(
        default=None, description="Filter on metadata, such as: label == 'hall' and year >= 2019"
    )
    min_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="Leave out hits with a lower cosine."
    )
    min_probability: float | None = Field(
        default=None, ge=0, le=1, description="For a calibrated gallery: leave out less likely matches."
    )
    correct: Literal["csls", "center"] | None = Field(
        default=None, description="Correct scores for pictures that are near everything."
    )
    leave_self_out: bool = Field(
        default=False, description="Leave out pictures with the same content as the query."
    )
    liked: list[RecordId] = Field(
        default=[], max_length=200, description="Pictures of the gallery that the query is moved towards."
    )
    disliked: list[RecordId] = Field(
        default=[], max_length=200, description="Pictures of the gallery that it is moved away from."
    )
    text: WordsText | None = Field(
        default=None,
        description="Words to search for, alone or with a picture; if it answers_words.",
    )
    weight: float = Field(default=0.5, gt=0, lt=1, description="Of the text, beside a picture.")
    unlike: list[WordsText] = Field(
        default=[], max_length=8, description="Ids of pictures, or words, that hits should not look like."
    )


class SearchRequest(SearchSettings):
    """A search with a picture on the server, given by the id of an upload or of a gallery picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": _EXAMPLE_ID, "k": 12}]})

    query: PictureId | None = Field(default=None, description="May be left out with a text.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.query is None and self.text is None:
            raise ValueError("give a query, a text, or both")
        return self


class GeometryOut(BaseModel):
    """The area of a picture that its map covers."""

    original_size: tuple[int, int] = Field(description="Height, width of the picture in pixels.")
    crop: tuple[float, float, float, float] = Field(
        description="Top, left, height, width of the map's area in pixels."
    )

    @classmethod
    def of(cls, geometry: Geometry) -> GeometryOut:
        """Return the part of a geometry needed for drawing."""
        return cls(original_size=geometry.original_size, crop=geometry.crop)


class HitOut(BaseModel):
    """A picture found by a search."""

    rank: int = Field(description="Position in the list, from 1.")
    id: RecordId
    name: str
    sha256: str
    copies: int = Field(description="Number of further files with the same content.")
    copy_names: list[str] = Field(default_factory=list, description="Names of these files.")
    similarity: float = Field(description="Cosine with the query, [-1, 1].")
    score: float = Field(description="Value the hits are sorted by: the cosine or the re-ranker's score.")
    rank_before: int | None = Field(description="Rank before re-ranking.")
    probability: float | None = Field(
        description="Probability of a match; null unless the gallery is calibrated."
    )
    geometry: dict[str, Any] | None = Field(
        default=None,
        description="Evidence of re-ranker `geometry`: inliers, kind, mirrored, transformation (3 x 3, query "
        "to match), outline (corners x, y of the match on the query, in pixels), match_outline, and the "
        "points that agree on both pictures.",
    )
    metadata: dict[str, Any]
    query_map: Grid = Field(
        description="Attribution of each cell of the query; sums to the similarity less a residual. "
        "Empty for words: explanation/words maps the hit."
    )


class SearchOut(BaseModel):
    """Result of a search."""

    query: UploadOut | None = Field(description="The picture; null for words alone.")
    query_content: str = Field(description="First 20 digits of the SHA-256 of the query's file.")
    query_geometry: GeometryOut | None = Field(description="Of the query maps; null for words.")
    asked: str | None = Field(default=None, description="What was asked for, if not one picture.")
    hits: list[HitOut] = Field(description="Best first; empty if no picture passes the filters.")
    limit: float = Field(description="Largest attribution per 1% of the view, over all query maps.")
    rerank: str | None = Field(default=None, description="The re-ranker that made the order; none: cosine.")
    unreadable: list[str] = Field(
        default=[], description="Pictures that re-ranking could not read; they rank as if no cells matched."
    )
    seconds: float = Field(description="Time taken by the search.")


class ExplanationOut(BaseModel):
    """Signed maps over both pictures, each summing to the similarity less its residual."""

    similarity: float
    method: str
    form: str = Field(description="Of the method, for people: what is split, and against what.")
    model: str
    residual: float = Field(description="Similarity less the sum of query_map.")
    match_residual: float = Field(description="Similarity less the sum of match_map.")
    residual_parts: dict[str, float] = Field(description="Residual of the query by kind, where it is known.")
    query_map: Grid
    match_map: Grid
    query_geometry: GeometryOut
    match_geometry: GeometryOut
    limit: float = Field(description="Largest attribution per 1% of the view, over both maps.")

    @classmethod
    def of(cls, explanation: Explanation, limit: float) -> ExplanationOut:
        """Return an additive explanation for the API."""
        return cls(
            similarity=explanation.similarity,
            method=explanation.method,
            form=explanation.form,
            model=explanation.model,
            residual=explanation.residual,
            match_residual=explanation.match_residual,
            residual_parts=dict(explanation.query.residual_parts),
            query_map=as_grid(explanation.query_map),
            match_map=as_grid(explanation.match_map),
            query_geometry=GeometryOut.of(explanation.query_geometry),
            match_geometry=GeometryOut.of(explanation.match_geometry),
            limit=limit,
        )


class TextPartOut(BaseModel):
    """A word, or one of several texts and pictures, and where a picture answers it."""

    label: str
    value: float = Field(description="Of a word: what the similarity loses without it.")
    map: Grid = Field(description="Over the picture; sums to the value less a residual.")


class TextExplanationOut(ExplanationOut):
    """Maps of words over a picture: `match_map` of all of them, and one for each part."""

    text: str
    by_words: bool = Field(description="Whether the parts are the words of one text.")
    parts: list[TextPartOut]
    part_limit: float = Field(description="Largest attribution per 1% of the view, over the parts.")

    @classmethod
    def of_text(cls, explanation: TextExplanation, limit: float) -> TextExplanationOut:
        """Return an explanation by words for the API."""
        parts = [
            TextPartOut(label=part.label, value=part.value, map=as_grid(part.map.values))
            for part in explanation.parts
        ]
        most = max(float(abs(part.map.values).max()) * part.map.values.size for part in explanation.parts)
        known = ExplanationOut.of(explanation, limit).model_dump()
        return cls(
            **known, text=explanation.text, by_words=explanation.by_words, parts=parts, part_limit=most / 100
        )


class CellMatchOut(BaseModel):
    """A cell of one picture compared with every cell of another."""

    cell: tuple[int, int] = Field(description="Row, column of the cell on its own grid, from 0.")
    cell_box: BoxPixels = Field(description="Left, top, right, bottom of the cell in pixels.")
    best_cell: tuple[int, int] = Field(description="Row, column of the most similar cell.")
    best_box: BoxPixels = Field(description="Left, top, right, bottom of that cell in pixels.")
    cosines: Grid = Field(description="Cosine with each cell of the other picture, [-1, 1].")
    shares: Grid = Field(description="Signed contribution of each pair of cells to the similarity.")
    contribution: float = Field(
        description="Contribution of the cell to the similarity: the sum of `shares`."
    )
    geometry: GeometryOut = Field(description="The area of the other picture that both maps cover.")


class PaletteOut(BaseModel):
    """Colors of maps, evenly spaced from the lowest value, -limit, to the highest, limit."""

    rgba: list[Annotated[list[int], Field(min_length=4, max_length=4)]] = Field(
        description="Red, green, blue, opacity; 0 to 255."
    )


class AddRequest(BaseModel):
    """A request to add a folder."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"folder": "2024/rooms"}]})

    folder: str = Field(
        default=".", max_length=500, description="Path relative to the folder given by --add-from."
    )


class UnreadableOut(BaseModel):
    """A file that could not be read, and the reason."""

    name: str
    reason: str


class JobOut(BaseModel):
    """State, progress and result of a job that adds pictures."""

    id: str
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    done: int = Field(default=0, description="Number of files processed.")
    total: int = Field(default=0, description="Number of files found.")
    rate: float = Field(default=0, description="Files per second.")
    remaining: float | None = Field(default=None, description="Estimated seconds left; null at first.")
    added: int = Field(default=0, description="Number of new pictures.")
    known: int = Field(default=0, description="Number of files already in the gallery.")
    moved: int = Field(default=0, description="Number of files that were moved or renamed.")
    unreadable: list[UnreadableOut] = []
    skipped: list[UnreadableOut] = Field(default=[], description="Folders that can't be read.")
    conflicts: list[str] = Field(
        default=[], description="Copies of one picture whose metadata differ, and how; each keeps its own."
    )
    error: str | None = None


def as_grid(values: FloatArray) -> Grid:
    """Return a map (h, w) as rows of numbers, rounded to seven significant digits."""
    return [[float(f"{value:.7g}") for value in row] for row in values.tolist()]


def validation_message(errors: Sequence[Mapping[str, Any]], *, skip: int = 0) -> str:
    """Return the first of pydantic's errors as one sentence, without ``skip`` parts of its location."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"][skip:]) or "the request"
    if first["type"] == "json_invalid":
        cause = first.get("ctx", {}).get("error", "it is damaged")
        return f"the body can't be read as JSON: {cause}; send valid JSON"
    if first["type"] == "extra_forbidden":
        return f"{field}: the request has no such setting; /api/openapi.json lists them"
    return f"{field}: {first['msg']}"
