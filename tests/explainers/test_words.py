"""Words: maps that sum to the score, for CLS as for attention pooling; words by leaving them out."""

import numpy as np
import pytest
import torch

from lookalike.explainers.shares import SharesExplainer
from lookalike.explainers.words import answered, asked_text, combined, explain_text
from lookalike.models.embedder import Embedder
from lookalike.models.last_pass import LastPass
from lookalike.render import side_by_side
from made_image_text import save_open_clip, save_transformers

TEXT = "red sofa under a window"


@pytest.fixture(scope="module", params=["cls", "attention", "siglip", "mean"])
def embedder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "siglip":
        save_transformers(folder, "siglip")
    else:
        save_open_clip(folder, {"cls": "own", "attention": "timm-map", "mean": "timm-conv"}[request.param])
    return Embedder.load(folder, device="cpu")


@pytest.mark.parametrize("layer", [None, "last"])
def test_the_map_of_the_words_sums_to_the_score(embedder, pictures, layer):
    why = explain_text(pictures[2], TEXT, model=embedder, layer=layer)
    score = float(embedder.embed_text(TEXT)[0] @ embedder.embed(pictures[2])[0])
    assert why.similarity == pytest.approx(score, abs=1e-5)
    stated = sum(value for _, value in why.match.residual_parts)
    assert why.match_map.sum() + stated == pytest.approx(score, abs=1e-5)
    assert np.abs(why.match_map).max() > 0


def test_a_word_is_what_the_text_loses_without_it(embedder, pictures):
    why = explain_text(pictures[1], TEXT, model=embedder, layer="last")
    unit = embedder.embed(pictures[1])[0]
    words = TEXT.split()
    assert [part.label for part in why.parts] == words and why.by_words
    for i, part in enumerate(why.parts):
        less = " ".join(words[:i] + words[i + 1 :])
        loss = float(unit @ (embedder.embed_text(TEXT)[0] - embedder.embed_text(less)[0]))
        assert part.value == pytest.approx(loss, abs=1e-5)
        stated = sum(value for _, value in part.map.residual_parts)
        assert part.map.values.sum() + stated == pytest.approx(loss, abs=1e-5)
    assert why.query_map.shape == (1, 5)
    together = dict(why.query.residual_parts)["words together"]
    assert why.query_map.sum() + together == pytest.approx(why.similarity, abs=1e-5)
    assert why.residual == pytest.approx(together, abs=1e-5)


def test_one_word_is_the_whole_text(embedder, pictures):
    why = explain_text(pictures[0], "stripes", model=embedder, layer="last")
    (part,) = why.parts
    assert part.value == pytest.approx(why.similarity, abs=1e-7)
    np.testing.assert_allclose(part.map.values, why.match_map, rtol=0, atol=1e-7)


def test_several_wishes_sum_to_the_score(embedder, pictures):
    image, words = embedder.embed(pictures[0])[0], embedder.embed_text("stripes")[0]
    against = embedder.embed(pictures[1])[0]
    asked = combined(
        embedder.width, [("a.jpg", 0.7, image), ("stripes", 0.3, words), ("b.jpg", -0.5, against)]
    )
    expected = 0.7 * image + 0.3 * words - 0.5 * against
    torch.testing.assert_close(asked.unit, expected / expected.norm())
    assert asked.labels == ("a.jpg", "stripes", "not b.jpg")
    reading = embedder.read(pictures[3])
    explainer = SharesExplainer(embedder, layer="last")
    why = answered(asked, reading, LastPass(embedder.shares(reading)), explainer)
    assert sum(part.value for part in why.parts) == pytest.approx(why.similarity, abs=1e-5)
    np.testing.assert_allclose(sum(part.map.values for part in why.parts), why.match_map, atol=1e-5)
    with pytest.raises(ValueError, match="cancel out"):
        combined(embedder.width, [("a", 1.0, image), ("b", -1.0, image)])


def test_the_words_are_embedded_once(embedder, monkeypatch):
    calls = []
    embed = Embedder.embed_text
    monkeypatch.setattr(Embedder, "embed_text", lambda self, texts: calls.append(texts) or embed(self, texts))
    asked_text(embedder, TEXT)
    assert len(calls) == 1 and len(calls[0]) == 6


@pytest.mark.parametrize("colors", ["lookalike", "jet"])
def test_the_picture_has_a_map_for_each_word(embedder, pictures, colors):
    one = side_by_side(explain_text(pictures[1], "stripes", model=embedder, layer="last"), colors=colors)
    five = side_by_side(explain_text(pictures[1], TEXT, model=embedder, layer="last"), colors=colors)
    assert one.width == five.width == 1200 and five.height > one.height + 400
