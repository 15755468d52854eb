"""Request and response bodies of the routes for cases; their docstrings are the OpenAPI descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lookalike.gallery import CasePair
from lookalike.web.schemas import BoxPixels, PictureId, RecordId, SearchRequest

PairId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
PersonName = Annotated[str, StringConstraints(max_length=80)]
_ID_OF_CONTENT = 32  # digits of a SHA-256 that serve as the id of a query


class CaseRequest(BaseModel):
    """A case to be begun."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "wall photographs"}]})

    name: str = Field(min_length=1, max_length=80)


class CaseSummaryOut(BaseModel):
    """A case and how far it has come."""

    name: str
    created: str = Field(description="UTC, ISO 8601.")
    n_pairs: int
    n_undecided: int
    damage: str = Field(default="", description="Why its pairs can't be read; empty if they can be.")


class CasePictureOut(BaseModel):
    """A picture of a case, by its content."""

    id: PictureId = Field(description="To show it or to search with it.")
    sha256: str
    name: str


class PairOut(BaseModel):
    """Two pictures, what was found, and what was decided."""

    id: PairId
    query: CasePictureOut
    hit: CasePictureOut
    box: BoxPixels | None
    polygon: list[tuple[float, float]] | None
    verdict: Literal["same", "different", "unsure"] | None = Field(description="Null while undecided.")
    note: str
    tags: list[str]
    who: str
    when: str = Field(description="Of the last change: UTC, ISO 8601; empty if there was none.")
    seen: str = Field(description="The map that was seen, in words.")
    similarity: float
    probability: float | None
    rank: int | None
    method: str
    model: str
    fingerprint: str
    parameters: dict[str, Any]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, pair: CasePair) -> PairOut:
        """Return a pair for the API, without the folders of its files."""
        values = pair.to_dict()
        query = {
            "id": pair.query.sha256[:_ID_OF_CONTENT],
            "sha256": pair.query.sha256,
            "name": pair.query.name,
        }
        hit = {"id": pair.hit.id, "sha256": pair.hit.sha256, "name": pair.hit.name}
        return cls.model_validate({**values, "query": query, "hit": hit})


class CaseOut(CaseSummaryOut):
    """A case with its pairs, those found first first."""

    pairs: list[PairOut]


class DecisionRequest(BaseModel):
    """What is decided about a pair of the case, or about a hit of a search, which is then added to it."""

    model_config = ConfigDict(extra="forbid")

    pair: PairId | None = None
    search: SearchRequest | None = Field(default=None, description="The search that found `hit`.")
    hit: RecordId | None = None
    verdict: Literal["same", "different", "unsure", "undecided"] | None = None
    note: str | None = Field(default=None, max_length=4000)
    tags: list[str] | None = Field(default=None, max_length=30)
    seen: str = Field(default="", max_length=200, description="The map that was seen, in words.")
    who: PersonName = Field(default="", description="Ignored where the token says who it is.")


class UndoRequest(BaseModel):
    """Whose last decision is taken back."""

    model_config = ConfigDict(extra="forbid")

    who: PersonName | None = Field(
        default=None, description="Null: anyone's. Ignored where the token says who it is."
    )


class ImportedOut(BaseModel):
    """How many pairs an import held, and how many of them were new or changed."""

    n_pairs: int
    n_changed: int
