"""Levels, corrections and linked nodes of an AVSL explanation, drawn below its two maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageDraw

from lookalike.render.brush import Brush
from lookalike.render.layout import Sheet, blank, centered, row, stack
from lookalike.render.legend import number
from lookalike.render.placement import fitted
from lookalike.render.ranges import per_percent, shared_range
from lookalike.render.text import INK, MUTED, text_line
from lookalike.types import ColorScale, GraphExplanation, ImageMap, LevelReason, NodeChain, NodeReason

_BAR: tuple[int, int, int] = (70, 118, 170)  # of a reliability
_TRACK: tuple[int, int, int] = (226, 228, 232)


def graph_parts(explanation: GraphExplanation, sheet: Sheet, brush: Brush) -> list[Image.Image]:
    """Draw the maps of each level, what the graph corrected, and its strongest chains of nodes: RGB each."""
    drawing = _Drawing(explanation, sheet, brush)
    return [drawing.levels(), drawing.corrections(), drawing.chains()]


class _Drawing:
    """Draws the parts of one explanation with common measures and colors."""

    def __init__(self, explanation: GraphExplanation, sheet: Sheet, brush: Brush) -> None:
        self.explanation, self.sheet, self.brush = explanation, sheet, brush
        self.gap = sheet.gap // 2

    # --- levels -------------------------------------------------------------------------------

    def levels(self) -> Image.Image:
        """A row for each level, the highest first: its numbers, and its map on both images."""
        levels = self.explanation.levels
        rows = [self._level(i, levels[i]) for i in reversed(range(len(levels)))]
        title = self._title(
            "Levels",
            "what both images have in common; the maps of all levels add up to the maps above, each level in "
            "its own range",
        )
        return self._whole_width(stack([title, *rows], self.gap))

    def _level(self, index: int, level: LevelReason) -> Image.Image:
        words = self.sheet.inner // 4
        room = (round(self.sheet.width * 0.28), (self.sheet.inner - words - 2 * self.gap) // 2)
        sides = (level.query_common, level.match_common)
        limit = self._limit(sides)
        maps = [self._painted(side, room, limit) for side in sides]
        h, w = level.query_common.grid
        names = {0: ", the lowest", len(self.explanation.levels) - 1: ", the highest"}
        lines = [
            self._words(f"level {index + 1}{names.get(index, '')}", words, bold=True),
            self._words(f"{h} x {w} cells", words, soft=True),
            self._reliability(level.reliability, words),
            self._words(f"in common {number(level.common)}", words),
            self._words(f"distance {level.share:.3f}", words),
        ]
        if index:
            lines.append(self._words(f"corrected by {number(level.correction)}", words))
        unit = ", each map" if self.brush.shared is None else " per 1 % of area"
        lines.append(self._words(f"colors: {self._range_words(limit)}{unit}", words, soft=True))
        column = blank(words, max(image.height for image in maps))
        column.paste(stack(lines, self.gap // 2), (0, 0))
        return row([column, *maps], self.gap)

    # --- corrections --------------------------------------------------------------------------

    def corrections(self) -> Image.Image:
        """In words: the distance of the highest level alone, and the nodes that changed it most."""
        why = self.explanation
        change = why.distance - why.own_distance
        title = self._title(
            "What the graph corrected",
            f"the highest level alone has distance {why.own_distance:.3f}; "
            f"unreliable nodes are inferred from those below, {number(change)}: {why.distance:.3f}",
        )
        lines = [self._words(_corrected(node), self.sheet.inner) for node in why.corrected]
        return self._whole_width(stack([title, *lines], self.gap // 2))

    # --- chains -------------------------------------------------------------------------------

    def chains(self) -> Image.Image:
        """A row for each chain, its lowest node first, with the weight of each link on an arrow."""
        why = self.explanation
        signs = "; orange: above zero, blue: below; one color on both brings them together"
        signs = "" if self.brush.shared is None else signs
        title = self._title(
            "Strongest nodes",
            "from the node below that adds most, with the weight of the link" + signs,
        )
        parts = [title]
        parts += [self._chain(each, f"in common {number(each.amount)}") for each in why.together]
        parts += [self._chain(each, f"distance {each.amount:.4f}") for each in why.apart]
        return self._whole_width(stack(parts, self.gap))

    def _chain(self, chain: NodeChain, words: str) -> Image.Image:
        n = len(chain.nodes)
        arrow = round(4.2 * self.sheet.small)
        width = (self.sheet.inner - (n - 1) * (arrow + 2 * self.gap)) // n
        cells = [self._node(node, width) for node in reversed(chain.nodes)]
        height = max(cell.height for cell in cells)
        parts = [cells[0]]
        for cell, link in zip(cells[1:], reversed(chain.links), strict=True):
            parts += [centered(self._arrow(link, arrow), arrow, height), cell]
        return stack([self._words(words, self.sheet.inner, soft=True), row(parts, self.gap)], self.gap // 2)

    def _node(self, node: NodeReason, width: int) -> Image.Image:
        room = (width, (width - self.gap // 2) // 2)
        limit = self._limit((node.query, node.match))
        maps = [self._painted(side, room, limit) for side in (node.query, node.match)]
        caption = row(
            [
                self._words(f"level {node.level + 1}, node {node.node}", width),
                self._words(self._range_words(limit), width, soft=True),
            ],
            self.gap,
        )
        images = row(maps, self.gap // 2)
        lines = [caption, images]
        if node.level:
            lines.append(self._reliability(node.reliability, width))
        cell = blank(width, sum(line.height for line in lines) + self.gap)
        cell.paste(stack(lines, self.gap // 2), (0, 0))
        return cell

    def _arrow(self, link: float, width: int) -> Image.Image:
        """The weight of a link over an arrow that is thicker for a larger one."""
        height = round(self.sheet.small)
        image, middle = blank(width, height), height / 2
        draw, thick = ImageDraw.Draw(image), 1 + round(4 * min(link, 1.0))
        draw.line([(0, middle), (width - height / 2, middle)], INK, thick)
        draw.polygon([(width - 1, middle), (width - height / 2, 1), (width - height / 2, height - 1)], INK)
        return stack([centered(self._words(f"{link:.2f}", width), width), image], 0)

    # --- parts --------------------------------------------------------------------------------

    def _painted(self, side: ImageMap, room: tuple[int, int], limit: float) -> Image.Image:
        size = fitted(side.picture.original_size, room)
        brush = (
            self.brush
            if self.brush.shared is None
            else replace(self.brush, shared=ColorScale.symmetric(limit))
        )
        return centered(brush.paint(per_percent(side), size), room[1])

    def _limit(self, sides: Sequence[ImageMap]) -> float:
        return shared_range(*(per_percent(side).values for side in sides))[1]

    def _range_words(self, limit: float) -> str:
        return "own ends" if self.brush.shared is None else f"±{limit:#.3g}"

    def _whole_width(self, part: Image.Image) -> Image.Image:
        page = blank(self.sheet.inner, part.height)
        page.paste(part, (0, 0))
        return page

    def _reliability(self, value: float, width: int) -> Image.Image:
        """The number, and a bar that is as full as the value."""
        words = self._words(f"reliability {value:.2f}", width)
        bar = Image.new("RGB", (max(1, width - 1), max(3, round(self.sheet.small / 3))), _TRACK)
        bar.paste(_BAR, (0, 0, round(value * bar.width), bar.height))
        return stack([words, bar], 1)

    def _title(self, title: str, facts: str) -> Image.Image:
        inner, small = self.sheet.inner, self.sheet.small
        return stack(
            [
                text_line(title, (small + self.sheet.large) / 2, bold=True, max_width=inner),
                text_line(facts, small, color=MUTED, max_width=inner),
            ]
        )

    def _words(self, text: str, width: int, *, bold: bool = False, soft: bool = False) -> Image.Image:
        color = MUTED if soft else INK
        return text_line(text, self.sheet.small, color=color, max_width=width, bold=bold)


def _corrected(node: NodeReason) -> str:
    own = (node.query.total - node.match.total) ** 2
    return (
        f"level {node.level + 1}, node {node.node}, reliability {node.reliability:.2f}: "
        f"own difference {own:.4f}, changed the distance by {number(node.correction)}"
    )
