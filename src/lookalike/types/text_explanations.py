"""Explanations of an image by words: which of its cells answer a text, as a whole and word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lookalike.types.explanations import Explanation
from lookalike.types.maps import ImageMap


@dataclass(frozen=True)
class TextPart:
    """A part of what was asked for, and where an image answers it."""

    label: str  # a word, or an image or text of several
    value: float  # what it adds to the similarity; of a word, what the text loses without it
    map: ImageMap  # on the image; sums to the value, less the stated residual


@dataclass(frozen=True, repr=False)
class TextExplanation(Explanation):
    """An explanation of the similarity of an image with a text, or with several texts and images.

    The match's map sums to the similarity less its residual. The query is a picture of the parts in a row,
    and its map holds their values. Words are left out one by one: a word's value is the similarity with the
    text less that with the text without it, so words need not sum to the whole, and what is missing is the
    residual "words together". Several texts and images are added up, and sum to it exactly.
    """

    text: str  # all that was asked for, in words
    parts: tuple[TextPart, ...]
    by_words: bool  # whether the parts are the words of one text

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON types, without the images."""
        parts = [
            {"label": part.label, "value": part.value, "map": part.map.values.tolist()} for part in self.parts
        ]
        return {**super().to_dict(), "text": self.text, "by_words": self.by_words, "parts": parts}
