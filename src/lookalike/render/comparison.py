"""One query and several matches with their maps."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from lookalike.render.brush import Brush, density, photo
from lookalike.render.layout import Sheet, blank, centered, composed, row, side_title, stack
from lookalike.render.legend import captioned, ends_bar, legend, spreads_in_words, unit_of
from lookalike.render.placement import fitted
from lookalike.render.text import MUTED, text_line
from lookalike.types import Explanation, Picture


def strip(
    explanations: Sequence[Explanation],
    *,
    colors: str = "lookalike",
    width: int = 1400,
    columns: int = 5,
    smooth: bool = True,
) -> Image.Image:
    """Draw the query, and a column for each match with its map and the query's map below it: RGB.

    Attributions share one range, so a weak match looks weak; where one of both sides would be blank, the
    queries' maps and the matches' have one each. Heat maps and "jet" are drawn each between its own ends.
    Matches keep the order of the explanations, ``columns`` per row. The image is ``width`` pixels wide
    (480 or more). Raises ValueError without explanations, if they differ in query, method or model, for
    maps that are not finite, and for a width that leaves a column less than 40 pixels.
    """
    _check(explanations, columns)
    sheet = Sheet(width)
    side = sheet.columns(min(columns, len(explanations)) + 1)
    if side < 40:
        raise ValueError(f"{columns} columns do not fit into {width} pixels; use fewer columns or more width")
    tiles = _Tiles(explanations, sheet, Brush.of(explanations, colors=colors, smooth=smooth), side)
    drawn = [tiles.draw(rank, explanation) for rank, explanation in enumerate(explanations, 1)]
    rows = [row(drawn[start : start + columns], sheet.gap) for start in range(0, len(drawn), columns)]
    body = row([tiles.query(), stack(rows, sheet.gap)], sheet.gap)
    return composed(_headline(explanations, sheet), [body, tiles.legend()], sheet)


class _Tiles:
    """Draws columns with common sizes and one brush."""

    def __init__(self, explanations: Sequence[Explanation], sheet: Sheet, brush: Brush, side: int) -> None:
        self.explanations, self.first = explanations, explanations[0]
        self.sheet, self.brush, self.side = sheet, brush, side
        self.height = max(self.fitted(each.match.picture)[0] for each in explanations)

    def query(self) -> Image.Image:
        """The column with the query's photo."""
        picture = self.first.query.picture
        image = photo(picture, self.fitted(picture))
        return self._column("query", picture.name, [centered(image, self.side, self.height)])

    def draw(self, rank: int, explanation: Explanation) -> Image.Image:
        """The column of one match."""
        match, query = (
            brush.paint(density(explanation, side), self.fitted(side.picture))
            for brush, side in (
                (self.brush, explanation.match),
                (self.brush.for_queries(), explanation.query),
            )
        )
        images = [centered(match, self.side, self.height), centered(query, self.side)]
        return self._column(f"{rank}.  {explanation.similarity:z.3f}", explanation.match.name, images)

    def legend(self) -> Image.Image:
        """The bar of the range that all maps share, or of the ends that each has for itself."""
        pairs = [(each, side) for each in self.explanations for side in (each.query, each.match)]
        geometries = [side.geometry for _, side in pairs]
        unit = unit_of(self.brush, additive=self.first.additive)
        if self.brush.shared is not None:
            matches = legend(self.brush.shared, unit, self.sheet, geometries=geometries)
            if self.brush.of_queries is None:
                return matches
            queries = legend(self.brush.of_queries, "the same on the query", self.sheet, geometries=())
            return stack([matches, queries], self.sheet.gap // 2, align=0.5)
        scales = [self.brush.scale(density(each, side), self.fitted(side.picture)) for each, side in pairs]
        bar = ends_bar(scales, self.sheet, colors=self.brush.colors)
        title = ", ".join(words for words in (unit, spreads_in_words(scales)) if words)
        return captioned(bar, title, self.sheet, geometries)

    def fitted(self, picture: Picture) -> tuple[int, int]:
        """The size (H, W) of a picture in a column."""
        return fitted(picture.original_size, (round(self.side * 1.2), self.side))

    def _column(self, title: str, name: str, images: list[Image.Image]) -> Image.Image:
        words = blank(self.side, self.sheet.line)
        words.paste(side_title(title, name, self.sheet, self.side), (0, 0))
        return stack([words, *images], self.sheet.gap // 2)


def _headline(explanations: Sequence[Explanation], sheet: Sheet) -> Image.Image:
    first = explanations[0]
    matches = "1 match" if len(explanations) == 1 else f"{len(explanations)} matches"
    title = f"{first.query.name} and {matches}"
    maps = "attributions" if first.additive else "heat maps"
    facts = (
        f"method {first.method} · model {first.model} · {maps} of each pair: the match, and the query below"
    )
    return stack(
        [
            text_line(title, sheet.large, max_width=sheet.inner, bold=True),
            text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner),
        ]
    )


def _check(explanations: Sequence[Explanation], columns: int) -> None:
    if not explanations:
        raise ValueError("a strip needs at least one explanation, got none")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    for what, values in (
        ("query", {(each.query.name, each.query.picture.original_size) for each in explanations}),
        ("method", {(each.method, each.additive) for each in explanations}),
        ("model", {each.model for each in explanations}),
    ):
        if len(values) > 1:
            raise ValueError(
                f"maps share one range only if the {what} is the same; got {sorted(map(str, values))}"
            )
