from collections import Counter
from pathlib import Path

from lookalike.datasets.pairs import ImagePair, KnownImage
from lookalike.datasets.pairs.drawing import Candidates, draw_pairs


def pair(query, match):
    return ImagePair(KnownImage(Path(query)), KnownImage(Path(match)), "x")


def of_classes(**sizes):
    """Candidates of so many images in each class, where all of a class match."""
    members = {label: [f"{label}{i}" for i in range(n)] for label, n in sizes.items()}
    matches = {name: names for names in members.values() for name in names}
    return Candidates(matches, {name: label for label, names in members.items() for name in names}, pair)


def names(pairs):
    return [(p.query.path.name, p.match.path.name) for p in pairs]


def test_each_image_is_a_query_once_before_any_is_twice():
    drawn = names(draw_pairs(of_classes(a=4, b=4), 8, seed=3))
    assert set(Counter(query for query, _ in drawn).values()) == {1}
    assert len(drawn) == 8


def test_pairs_are_spread_over_classes_of_unequal_size():
    drawn = names(draw_pairs(of_classes(a=50, b=3, c=9), 6, seed=1))
    assert Counter(query[0] for query, _ in drawn) == {"a": 2, "b": 2, "c": 2}


def test_a_small_limit_gives_the_first_pairs_of_a_large_one():
    assert names(draw_pairs(of_classes(a=5, b=7), 4, 0)) == names(draw_pairs(of_classes(a=5, b=7), 20, 0))[:4]


def test_another_seed_draws_other_pairs():
    assert names(draw_pairs(of_classes(a=30), 10, 0)) != names(draw_pairs(of_classes(a=30), 10, 1))


def test_without_limit_every_pair_comes_once_and_no_mirror():
    drawn = names(draw_pairs(of_classes(a=5, b=4), 1000, 0))
    assert len({frozenset(names) for names in drawn}) == len(drawn) == 5 * 4 // 2 + 4 * 3 // 2


def test_no_image_matches_itself_and_none_alone_matches():
    assert draw_pairs(of_classes(a=1, b=1), 5, 0) == ()


def test_the_order_of_names_does_not_matter():
    first = of_classes(a=5, b=7)
    turned = Candidates(
        {name: first.matches[name][::-1] for name in reversed(first.matches)}, first.classes, first.pair
    )
    assert names(draw_pairs(first, 9, 0)) == names(draw_pairs(turned, 9, 0))


def test_queries_without_class_come_once_each_before_any_twice():
    candidates = Candidates({"q1": ["a", "b", "c"], "q2": ["a", "b", "c"]}, {}, pair)
    assert [query for query, _ in names(draw_pairs(candidates, 6, 0))] in (
        ["q1", "q2"] * 3,
        ["q2", "q1"] * 3,
    )


def test_only_pairs_that_are_drawn_are_read():
    read = []
    candidates = of_classes(a=20)

    def reading(query, match):
        read.append((query, match))
        return pair(query, match)

    draw_pairs(Candidates(candidates.matches, {}, reading), 3, 0)
    assert len(read) == 3


def test_images_without_a_label_get_one_by_all_matches_drawn_or_not():
    """a and b share the match m, which the drawn pairs need not show."""
    matches = {"a": ["m", "n"], "b": ["o", "m"], "c": ["p"]}
    for seed in range(5):
        drawn = {p.query.path.name: p for p in draw_pairs(Candidates(matches, {}, pair), 3, seed)}
        labels = {name: {p.query.label, p.match.label} for name, p in drawn.items()}
        assert labels == {"a": {"a"}, "b": {"a"}, "c": {"c"}}


def test_a_label_that_is_known_stays():
    def labeled(query, match):
        return ImagePair(KnownImage(Path(query), "mine"), KnownImage(Path(match)), "x")

    (found,) = draw_pairs(Candidates({"a": ["b"]}, {}, labeled), 1, 0)
    assert (found.query.label, found.match.label) == ("mine", "")
