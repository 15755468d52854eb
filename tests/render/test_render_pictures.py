from dataclasses import replace

import numpy as np
import pytest
from made_up import a_difference, a_graph, an_affinity, explanation, one_hot, pixels
from PIL import Image

from lookalike import render
from lookalike.render.layout import Sheet, justified
from lookalike.render.legend import ends_in_words, legend, number
from lookalike.render.text import printable, shortened, text_line, text_width
from lookalike.types import ColorScale, Geometry

CELLS = [((0, 0), (3, 1)), ((2, 4), (0, 0))]
NAMES = ("größe 日本 \udcff\n😀.png", "x" * 500 + ".jpg", "ملف.png")
FIGURES = {
    "side_by_side": lambda **how: render.side_by_side(explanation(names=NAMES[:2]), **how),
    "heat maps": lambda **how: render.side_by_side(explanation(additive=False, method="rollout"), **how),
    "jet": lambda **how: render.side_by_side(explanation(), colors="jet", **how),
    "constant heat maps": lambda **how: render.side_by_side(
        explanation(np.ones((3, 5)), np.ones((2, 2)), additive=False), **how
    ),
    "signed heat maps": lambda **how: render.side_by_side(
        explanation(one_hot((3, 5), (1, 2)) - 0.3, one_hot((2, 2), (0, 1)) - 1e-6, additive=False), **how
    ),
    "heat strip": lambda **how: render.strip(
        [explanation(one_hot((3, 5), (1, 2)) - 0.3, additive=False), explanation(additive=False)], **how
    ),
    "jet strip": lambda **how: render.strip([explanation()] * 2, colors="jet", **how),
    "difference": lambda **how: render.preference(
        a_difference(one_hot((3, 5), (1, 2), -0.1), names=NAMES), **how
    ),
    "match_lines": lambda **how: render.match_lines(an_affinity(CELLS, names=NAMES[:2]), **how),
    "no matches": lambda **how: render.match_lines(an_affinity([]), **how),
    "strip": lambda **how: render.strip([explanation(names=NAMES[:2])] * 7, columns=4, **how),
    "levels and nodes": lambda **how: render.side_by_side(a_graph(), **how),
    "panoramas of nodes": lambda **how: render.side_by_side(
        a_graph(query_size=(10, 3000), match_size=(3000, 10)), **how
    ),
    "zero": lambda **how: render.side_by_side(explanation(np.zeros((2, 3)), np.zeros((3, 2))), **how),
    "one pixel": lambda **how: render.side_by_side(explanation(query_size=(1, 1)), **how),
    "panorama": lambda **how: render.side_by_side(
        explanation(query_size=(10, 3000), match_size=(3000, 10)), **how
    ),
    "panorama strip": lambda **how: render.strip([explanation(query_size=(10, 3000))], **how),
    "panorama lines": lambda **how: render.match_lines(an_affinity(CELLS, query_size=(10, 3000)), **how),
    "tall difference": lambda **how: render.preference(
        a_difference(np.ones((3, 5), np.float32), size=(2000, 20)), **how
    ),
}


@pytest.mark.parametrize("width", [480, 1000])
@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_picture_has_its_width_and_a_clean_margin(draw, width):
    image = draw(width=width)
    assert image.mode == "RGB" and image.width == width
    border = pixels(image)
    edge = Sheet(width).margin - 2
    for side in (border[:edge], border[-edge:], border[:, :edge], border[:, -edge:]):
        assert side.min() == 255


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_picture_that_is_too_narrow_is_refused(draw):
    with pytest.raises(ValueError, match="at least 480"):
        draw(width=300)


def test_side_by_side_shows_the_plain_photo_and_the_map():
    image = pixels(render.side_by_side(explanation(one_hot((3, 5), (1, 2)), np.zeros((2, 2)))))
    orange = (image[..., 0] > image[..., 2] + 80).sum()
    plain = (image == 128).all(axis=2).sum()
    assert orange > 500 and plain > 100_000


def test_a_crop_is_explained_in_the_legend():
    whole = explanation()
    geometry = Geometry((60, 90), (224, 224), (5.0, 20.0, 50.0, 50.0))
    cropped = replace(whole, query=replace(whole.query, geometry=geometry))
    assert render.side_by_side(cropped).height > render.side_by_side(whole).height


def test_levels_and_nodes_follow_the_maps_of_a_graph():
    maps_alone = pixels(render.side_by_side(explanation(method="avsl")))
    whole = pixels(render.side_by_side(a_graph(one_hot((3, 5), (1, 2)))))
    margin = Sheet(1200).margin
    top, below = whole[: len(maps_alone) - margin], whole[len(maps_alone) - margin :]
    assert np.array_equal(top, maps_alone[:-margin])
    orange = np.argwhere(below[..., 0] > below[..., 2] + 80)[:, 0]
    n_groups = 1 + (np.diff(np.unique(orange)) > 20).sum()
    assert n_groups == 3 + 4  # a row for each level and for each chain


def test_bars_are_as_full_as_the_reliability():
    def n_filled(reliability):
        image = pixels(render.side_by_side(a_graph(np.zeros((2, 3), np.float32), reliability=reliability)))
        return (image == (70, 118, 170)).all(axis=2).sum()

    assert n_filled(0.0) == 0
    assert n_filled(0.5) == pytest.approx(n_filled(1.0) / 2, rel=0.02)


def test_strip_shares_one_range_over_all_matches():
    strong, weak = one_hot((3, 5), (1, 2), 0.9), one_hot((3, 5), (1, 2), 0.0001)
    zero = np.zeros((3, 5), np.float32)
    image = pixels(render.strip([explanation(strong, zero), explanation(weak, zero)], width=900))
    sheet = Sheet(900)
    above_legend = image[: -sheet.margin - 5 * sheet.line]
    warmth = above_legend[..., 0] - above_legend[..., 2]
    third = sheet.margin + 2 * (sheet.columns(3) + sheet.gap)
    assert warmth[:, :third].max() > 80
    assert warmth[:, third:].max() <= 12  # the grayed photo alone


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "at least one explanation"),
        ([explanation(), explanation(method="rollout", additive=False)], "method is the same"),
        ([explanation(), explanation(names=("z.png", "b.png"))], "query is the same"),
    ],
)
def test_strip_refuses_what_cannot_be_compared(others, message):
    with pytest.raises(ValueError, match=message):
        render.strip(others)


def test_strip_refuses_more_columns_than_fit():
    with pytest.raises(ValueError, match="do not fit"):
        render.strip([explanation()] * 40, columns=40)


def test_heat_maps_side_by_side_use_the_whole_range_each():
    values = 1 + 1e-4 * one_hot((3, 5), (1, 2))
    image = pixels(render.side_by_side(explanation(values, 1000 * values, additive=False), width=1000))
    warm = (image[..., 0] - image[..., 2] > 120)[: -5 * Sheet(1000).line]
    assert warm[:, :500].sum() > 300 and warm[:, 500:].sum() > 300


def test_a_heat_map_has_a_bar_of_its_own_and_an_attribution_shares_one():
    both = explanation(one_hot((3, 5), (1, 2)), one_hot((3, 5), (1, 2)))
    heat = replace(both, additive=False)
    bars = [pixels(render.side_by_side(each, smooth=False))[-200:] for each in (both, heat)]
    blue = [(bar[..., 2] - bar[..., 0] > 60).sum() for bar in bars]
    assert blue[0] > 100 and blue[1] == 0  # only the shared range goes below zero


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1.2034, 1.2036, "+1.20340 to +1.20360, spread 0.017 %"),
        (0.5, 1.0, "+0.500 to +1.00, spread 50 %"),
        (-1.0, -0.25, "-1.00 to -0.250, spread 75 %"),
        (-0.5, 2.0, "-0.500 to +2.00"),
        (0.125, 0.125, "+0.125 everywhere"),
        (0.0, 0.0, "0 everywhere"),
    ],
)
def test_the_ends_of_a_map_are_told_apart_in_words(low, high, words):
    assert ends_in_words(ColorScale.between_ends(np.array([[low, high]]))) == words


def test_difference_draws_cells_for_the_other_match_in_blue():
    image = pixels(render.preference(a_difference(one_hot((3, 5), (1, 2), -1.0))))
    red, blue = image[..., 0], image[..., 2]
    left = image.shape[1] // 2
    above_legend = slice(0, image.shape[0] * 3 // 4)
    assert (blue - red)[above_legend, :left].max() > 80
    assert (red - blue)[above_legend, :left].max() < 40


def test_match_lines_draws_no_more_than_n_lines():
    one, two = (render.match_lines(an_affinity(CELLS), n=n) for n in (1, 2))
    assert one.tobytes() != two.tobytes()
    with pytest.raises(ValueError, match="at least 1"):
        render.match_lines(an_affinity(CELLS), n=0)


def test_match_lines_color_the_cells_that_match():
    cell_similarity = an_affinity([((2, 4), (0, 0))])
    image = pixels(render.match_lines(cell_similarity, width=1000))
    sheet = Sheet(1000)
    above_list = image[: -sheet.margin - 2 * sheet.line]
    colorful = np.argwhere(np.ptp(above_list, axis=2) > 60)
    query, match = justified((60, 90), (80, 50), sheet.inner, 3 * sheet.gap)
    x = np.sort(np.unique(colorful[:, 1])) - (1000 - query[1] - match[1] - 3 * sheet.gap) / 2
    assert x[0] == pytest.approx(query[1] * 4 / 5, abs=5)  # left edge of the query's cell
    assert x[-1] == pytest.approx(query[1] + 3 * sheet.gap + match[1] / 2, abs=5)  # right edge of the match's


def test_nan_is_refused_by_every_picture():
    bad = np.full((2, 3), np.nan, np.float32)
    for draw in (
        lambda: render.side_by_side(explanation(bad)),
        lambda: render.side_by_side(a_graph(bad)),
        lambda: render.strip([explanation(bad)]),
        lambda: render.preference(a_difference(bad)),
    ):
        with pytest.raises(ValueError, match="not finite"):
            draw()


def test_justified_gives_two_ordinary_images_one_height_and_the_whole_width():
    first, second = justified((300, 400), (600, 900), 1000, 20)
    assert abs(first[0] - second[0]) <= 1
    assert abs(first[1] + second[1] - 980) <= 1


def test_justified_leaves_a_third_to_the_neighbor_of_a_panorama():
    assert justified((100, 5000), (300, 300), 1000, 20)[1] == (327, 327)


def test_names_are_shortened_in_the_middle():
    name = "IMG_" + "0" * 200 + "_end.jpg"
    short = shortened(name, 16, 150)
    assert short.startswith("IMG") and short.endswith("end.jpg") and "…" in short
    assert text_width(short, 16) <= 150


def test_letters_that_the_font_lacks_are_replaced():
    assert printable("Größe \u2013 é…\n日\udcff") == "Grosse - e… ??"


@pytest.mark.parametrize("text", ["", " ", "…", "W" * 2000])
def test_any_text_gives_a_line(text):
    assert text_line(text, 14, max_width=60).width <= 62


def test_text_has_ink():
    assert np.asarray(text_line("similarity 0.123", 18)).min() < 80


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.02, "+0.0200"), (-1.0, "-1.00"), (123.0, "+123"), (1e-7, "+1.00e-07")]
)
def test_numbers_have_three_digits_and_a_sign(value, text):
    assert number(value) == text


def test_the_legend_runs_from_blue_to_orange():
    image = legend(ColorScale.symmetric(0.5), "unit", Sheet(1000), geometries=[])
    values = pixels(image)
    warm = np.argwhere((values[..., 0] - values[..., 2]) > 100)[:, 1].mean()
    cold = np.argwhere((values[..., 2] - values[..., 0]) > 100)[:, 1].mean()
    assert cold < image.width / 2 < warm


def test_pictures_are_not_changed_by_drawing():
    before = explanation()
    copy = before.query.picture.image.copy()
    render.side_by_side(before)
    assert before.query.picture.image.tobytes() == copy.tobytes()


def test_gray_and_transparent_images_are_drawn():
    given = explanation()
    for mode in ("L", "RGBA", "P", "CMYK"):
        picture = replace(given.query.picture, image=Image.new(mode, (90, 60)))
        query = replace(given.query, picture=picture)
        assert render.side_by_side(replace(given, query=query)).mode == "RGB"
