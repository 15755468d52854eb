"""What ``lookalike search`` does with its options: check them, search, write, print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import typer

from lookalike.cli.cases import add_to_case, examples_in
from lookalike.cli.hit_table import is_good, print_hits, print_remarks
from lookalike.cli.many_queries import search_queries
from lookalike.cli.options import keep_inputs
from lookalike.cli.printing import echo, print_json, write_text
from lookalike.cli.tables import write_rows
from lookalike.cli.verified import check_alone, print_regions

if TYPE_CHECKING:
    from lookalike.gallery import Gallery, Hit, SearchResult
    from lookalike.types import Explanation

_SHORTLIST = 200  # hits to re-rank by default
_RECORDED = ("k", "rerank", "where", "min_similarity", "text", "unlike", "correct")  # in a case


@final
@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """One call of the command, by its options; call it after ``check``."""

    uri: str
    queries: list[str]
    text: str | None
    weight: float
    unlike: list[str]
    each: Path | None
    k: int
    box: str | None
    polygon: str | None
    regions: str | None
    rerank: str | None
    shortlist: int | None
    where: str | None
    min_similarity: float | None
    leave_self_out: bool
    correct: str | None
    set_aside: list[str]
    report: Path | None
    contrast: bool
    csv: Path | None
    case: str | None
    as_json: bool

    def check(self) -> None:
        """Raise BadParameter for options that can't be combined."""
        alone = (self.queries, self.box, self.polygon, self.contrast, self.case, self.regions)
        if self.each is not None and any(alone):
            raise typer.BadParameter(
                "searches for whole images by themselves; leave IMAGE, --box, --polygon, --regions, "
                "--contrast and --case out",
                param_hint="--each",
            )
        if self.each is not None and self.csv is None:
            raise typer.BadParameter("needs a table to write; add --csv out.csv", param_hint="--each")
        if self.each is None and not self.queries and self.text is None:
            raise typer.BadParameter("give an image to search for, --text WORDS, or --each FOLDER")
        if self.case is not None and not self.queries:
            raise typer.BadParameter("needs an image: a case holds pairs of pictures", param_hint="--case")
        if self.case is not None and self.set_aside:
            raise typer.BadParameter(
                "a case holds similarities of the gallery as it is; leave --case out",
                param_hint="--set-aside",
            )
        if self.regions is not None:
            self._check_regions()
        if self.contrast and self.report is None:
            raise typer.BadParameter(
                "changes the maps of a report; add --report hits.html", param_hint="--contrast"
            )

    def _check_regions(self) -> None:
        if not self.queries:
            raise typer.BadParameter("needs an image", param_hint="--regions")
        others = {
            "--box": self.box,
            "--polygon": self.polygon,
            "--rerank": self.rerank,
            "--csv": self.csv,
            "--case": self.case,
            "--text": self.text,
            "--not": self.unlike,
        }
        check_alone(self.queries, {name: value for name, value in others.items() if value})

    def __call__(self) -> None:
        """Search, write what was asked for, and print."""
        from lookalike.gallery import Gallery

        keep_inputs(self.queries, self.report, self.csv)
        gallery = Gallery.open(self.uri)
        if self.set_aside:
            gallery = gallery.without(self.set_aside)
        if self.regions is not None:
            chosen = None if self.regions == "auto" else [_box(text) for text in self.regions.split("/")]
            query, limits = self.queries[0], (self.shortlist, self.where, self.leave_self_out)
            print_regions(gallery, query, chosen, *limits, self.report, self.as_json)
        elif self.each is not None and self.csv is not None:
            options = self._options()
            search_queries(
                gallery, self.each, self.csv, report=self.report, options=options, as_json=self.as_json
            )
        else:
            hits = self._search(gallery)
            self._write(hits, gallery)
            self._print(hits, gallery)

    def _options(self) -> dict[str, Any]:
        """Those of ``Gallery.search`` that do not depend on the query."""
        return {
            "k": self.k, "rerank": self.rerank, "shortlist": self.shortlist or _SHORTLIST,
            "where": self.where, "min_similarity": self.min_similarity,
            "leave_self_out": self.leave_self_out, "text": self.text, "unlike": self.unlike,
            "weight": self.weight, "correct": self.correct,
        }  # fmt: skip

    def _search(self, gallery: Gallery) -> SearchResult:
        """Search for one query, with what was decided about it in a case, and add the hits to the case."""
        options, queries = self._options(), self.queries
        box, corners = _box(self.box), _corners(self.polygon)
        examples = examples_in(gallery, self.case, queries, box, corners)
        hits = gallery.search(
            queries[0] if len(queries) == 1 else queries or None,
            box=box,
            polygon=corners,
            liked=examples["liked"],
            disliked=examples["disliked"],
            **options,
        )
        if self.case is not None:
            settings = {name: options[name] for name in _RECORDED if options[name]}
            add_to_case(hits, gallery.case(self.case), queries[0], settings | {"examples": examples})
        return hits

    def _write(self, hits: SearchResult, gallery: Gallery) -> None:
        if self.csv is not None:  # before the report, which takes long and may fail
            from lookalike.reports.search import hits_csv

            write_rows(self.csv, hits, lambda: hits_csv(hits))
        if self.report is not None:
            from lookalike.reports.search import search_report

            facts, explain = self._facts(hits), _explainer(self.contrast)
            write_text(self.report, search_report(hits, gallery, parameters=facts, explain=explain))

    def _facts(self, hits: SearchResult) -> Mapping[str, str]:
        """What a report says about how it was made."""
        reranked = hits.rerank and f"{hits.rerank}, the first {self.shortlist or _SHORTLIST}"
        parameters = {
            "query": ", ".join(self.queries),
            "words": self.text,
            "not": ", ".join(self.unlike),
            "k": str(self.k),
            "box": self.box,
            "polygon": self.polygon,
            "set aside": ", ".join(self.set_aside),
            "corrected by": self.correct,
            "filter": self.where,
            "re-ranked by": reranked,
            "maps": "beyond what all pictures of the gallery share" if self.contrast else None,
        }
        return {name: value for name, value in parameters.items() if value}

    def _print(self, hits: SearchResult, gallery: Gallery) -> None:
        if self.as_json:
            asked = {"query": self.queries, "text": self.text, "unlike": self.unlike}
            asked |= {"set_aside": self.set_aside, "gallery": self.uri}
            print_json({**asked, "good_match": is_good(hits), **hits.to_dict()})
            return
        print_hits(hits, with_scores=hits.rerank == "avsl" or bool(self.correct))
        for path in (self.report, self.csv):
            if path is not None:
                echo(f"wrote {path}")
        if self.set_aside:
            echo(f"set aside in the query and in all images: {', '.join(self.set_aside)} of the last audit")
        print_remarks(
            hits,
            correction=self.correct,
            has_text=self.text is not None,
            has_words=self.text is not None or bool(self.unlike),
            has_region=bool(self.box or self.polygon),
            is_calibrated=gallery.calibration is not None,
        )


def _explainer(contrast: bool) -> Callable[[Hit], Explanation]:
    return lambda hit: hit.why(contrast="gallery") if contrast else hit.why()


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--box takes four numbers: left,top,right,bottom")
    if len(numbers) != 4:
        raise typer.BadParameter(f"--box takes four numbers: left,top,right,bottom; got {text!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _corners(text: str | None) -> list[tuple[float, float]] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--polygon takes x,y of each corner")
    if len(numbers) % 2:
        raise typer.BadParameter(
            f"--polygon takes x,y of each corner, an even count of numbers; got {len(numbers)}"
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(text: str, expected: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError as error:
        raise typer.BadParameter(f"{expected}; got {text!r}") from error
