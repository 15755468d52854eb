"""Filters: an expression of the grammar equals a naive evaluation; any text is a filter or an error."""

import operator
import unicodedata
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import FilterError
from lookalike.gallery.filters import parse_filter
from made_examples import few

FIELDS = ("label", "year", "class", "product id", "größe", "a.b")
letters = st.text(alphabet="ab7é\u0301 '\"\\\n`%{}<>&", max_size=6)
numbers = st.one_of(st.integers(-(10**6), 10**6), st.sampled_from([7, 7.0, 0.5, -2.25, 1e-9]))
values = st.one_of(letters, numbers, st.booleans(), st.none(), st.sampled_from(["7", "007", "true", "0.5"]))
metadata = st.dictionaries(st.sampled_from(FIELDS), values, max_size=5)
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

sides = st.one_of(st.tuples(st.just("field"), st.sampled_from(FIELDS)), st.tuples(st.just("value"), values))
lists = st.tuples(st.just("list"), st.lists(values, max_size=3))
texts = st.tuples(st.just("value"), letters)
containers = st.one_of(
    st.tuples(st.just("field"), st.sampled_from(FIELDS)), texts, lists
)  # others are refused
comparisons = st.one_of(
    st.tuples(st.just("compare"), sides, st.sampled_from(["==", "!=", *ORDER]), sides),
    st.tuples(st.just("compare"), sides, st.sampled_from(["in", "not in"]), containers),
    st.tuples(st.just("chain"), sides, sides, sides),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=5,
)


def written(node, blank):
    """The text of an expression; every operand in parentheses."""
    match node:
        case ("field", name):
            is_word = name.isidentifier()
            return name if is_word else f"`{name}`"
        case ("value", value):
            return repr(value)
        case ("list", items):
            return "[" + ", ".join(map(repr, items)) + "]"
        case ("compare", left, op, right):
            return f"{written(left, blank)}{blank}{op}{blank}{written(right, blank)}"
        case ("chain", a, b, c):
            return f"{written(a, blank)} <= {written(b, blank)} < {written(c, blank)}"
        case ("not", inner):
            return f"not{blank}({written(inner, blank)})"
        case (op, parts):
            return f"{blank}{op}{blank}".join(f"({written(part, blank)})" for part in parts)


def naive(node, found):
    """What the expression says of metadata, by the rules of the documentation."""
    match node:
        case ("field", name):
            return found.get(name)
        case ("value", value):
            return value
        case ("list", items):
            return items
        case ("compare", left, op, right):
            return compared(naive(left, found), op, naive(right, found))
        case ("chain", a, b, c):
            each = [naive(side, found) for side in (a, b, c)]
            return all(compared(*pair) for pair in zip(each, ("<=", "<"), each[1:], strict=False))
        case ("not", inner):
            return not naive(inner, found)
        case ("and", parts):
            return all(naive(part, found) for part in parts)
        case ("or", parts):
            return any(naive(part, found) for part in parts)


def compared(left, op, right):
    if op in ("==", "!="):
        return same(left, right) == (op == "==")
    if op in ORDER:
        try:
            return ORDER[op](left, right)
        except TypeError:
            return False
    if isinstance(right, list):
        is_in = any(same(left, each) for each in right)
    else:
        is_in = isinstance(left, str) and isinstance(right, str) and composed(left) in composed(right)
    return is_in == (op == "in")


def same(left, right):
    """Equal, or one is the text that writes the other."""
    if isinstance(left, str) and isinstance(right, bool):
        return left.lower() == ("true" if right else "false")
    if isinstance(left, str) and isinstance(right, int | float):
        return left == (str(int(right)) if right == int(right) else repr(right))
    if isinstance(right, str) and not isinstance(left, str):
        return same(right, left) if left is not None else False
    return composed(left) == composed(right)


def composed(value):
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@given(expressions, metadata, st.sampled_from([" ", "  ", "\t"]))
@few(300)
def test_any_expression_equals_a_naive_evaluation(node, found, blank):
    text = written(node, blank)
    assert parse_filter(text)(found) is bool(naive(node, found)), text


@given(metadata, metadata)
@few(100)
def test_a_dictionary_passes_what_has_all_of_its_values(wanted, found):
    expected = all(same(found.get(name), value) for name, value in wanted.items())
    assert parse_filter(wanted)(found) is expected


@given(st.text(alphabet="abc_ \"'`=<>!()[],.0123456789\\\n+-*{}:@andortif", max_size=40), metadata)
@few(300)
def test_any_text_is_a_filter_or_one_sentence(text, found):
    try:
        passes = parse_filter(text)
    except FilterError as error:
        assert "\n" not in str(error)
        return
    assert passes(found) in (True, False)


accented = st.sampled_from(["é", "e\u0301", "caf\u0301e\u0301", "cafe", "ﬁ", "Å", "A\u030a", "\u212b"])


@given(accented, accented)
@few(64)
def test_texts_that_look_the_same_are_the_same_in_every_form_of_unicode(wanted, found):
    is_same = unicodedata.normalize("NFC", wanted) == unicodedata.normalize("NFC", found)
    for where in (f"label == {wanted!r}", {"label": wanted}, {"label": [wanted]}, f"label in [{wanted!r}]"):
        assert parse_filter(where)({"label": found}) is is_same
    assert parse_filter(f"{wanted!r} in label")({"label": f"x{found}"}) or not is_same


@given(st.lists(st.sampled_from([1, 2, 3, None, "a", "b"]), min_size=3, max_size=3))
@few(40)
def test_a_chain_holds_if_each_pair_holds(each):
    found = dict(zip("abc", each, strict=True))
    pairs = [parse_filter(f"{x} <= {y}")(found) for x, y in pairwise("abc")]
    assert parse_filter("a <= b <= c")(found) is all(pairs)
