"""Filters on metadata: a dictionary of equalities, or an expression such as ``year >= 2019``.

An expression has field names, strings, numbers, True, False, None and lists; the comparisons ``== != < <= >
>= in``, ``not in``; and ``and or not`` with parentheses. ``"x" in field`` searches a string or a list. A
field whose name is no single word stands in backticks: `` `product id` == 12 ``, with those in it doubled.
A field that holds true and false may stand alone: ``ok and not sold``. A field that an image lacks is None.
A number equals the text that writes it: 7 and "7", but not "007". Values that have no order (a string and a
number, anything and None) make ``<`` and the like false. The expression is parsed, never evaluated as
Python.
"""

from __future__ import annotations

import ast
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lookalike.datasets.texts import label_text
from lookalike.errors import FilterError
from lookalike.store import Record

Where = str | Mapping[str, Any]
Predicate = Callable[[Mapping[str, Any]], bool]
_Term = Callable[[Mapping[str, Any]], Any]

_LONGEST = 2000  # characters
# A field's name: any word but those of the grammar, Python's others ("class", "from") included.
_WORD = r"\b(?!(?:and|or|not|in|True|False|None)\b)[^\W\d]\w*"
_STRING_OR_FIELD = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?P<quoted>(?:[^`]|``)+)`|""" + rf"(?P<word>{_WORD})"
)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda left, right: _is_same(left, right),
    ast.NotEq: lambda left, right: not _is_same(left, right),
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, container: _is_in(value, container),
    ast.NotIn: lambda value, container: not _is_in(value, container),
}


def parse_filter(where: Where) -> Predicate:
    """Return a function from metadata to whether it passes the filter. Raises FilterError.

    With a dictionary, every field must equal its value, or be one of the values of a list.

    >>> parse_filter("label == 'cat' and year >= 2019")({"label": "cat", "year": 2020})
    True
    >>> parse_filter({"label": ["cat", "dog"]})({"label": "cow"})
    False
    """
    if isinstance(where, Mapping):
        return _all_equal(dict(where))
    if not isinstance(where, str):
        raise FilterError(f"a filter must be a string or a dictionary, got {type(where).__name__}")
    if not where.strip() or len(where) > _LONGEST:
        raise FilterError(f"a filter must have 1 to {_LONGEST} characters, got {len(where)}")
    try:
        condition = _condition(_parsed(where))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FilterError(
            f"the filter {where!r} can't be parsed; write it like label == 'cat' and year >= 2019, and put "
            "backticks around a field whose name has spaces or signs: `product id` == 12"
        ) from error
    return condition


def which_pass(records: Sequence[Record], where: Where) -> list[bool]:
    """Return for each record whether one of its files passes the filter. Raises FilterError."""
    passes = parse_filter(where)
    check_fields(where, (file.metadata for record in records for file in record.files))
    return [any(passes(file.metadata) for file in record.files) for record in records]


def check_fields(where: Where, metadata: Iterable[Mapping[str, Any]]) -> None:
    """Raise FilterError if the filter names a field that none of the records has.

    Without any records every field is accepted.
    """
    names = (
        set(where)
        if isinstance(where, Mapping)
        else {node.id for node in ast.walk(_parsed(where)) if isinstance(node, ast.Name)}
    )
    known: dict[str, set[bool]] = {}  # field -> whether its values are text
    examples: dict[str, Any] = {}
    n_records = 0
    for values in metadata:
        for name, value in values.items():
            examples.setdefault(name, value)
            known.setdefault(name, set()).add(isinstance(value, str))
        n_records += 1
    if n_records and (unknown := sorted(names - known.keys())):
        raise FilterError(
            f"no image has the metadata field {unknown[0]!r}; there are {', '.join(sorted(known)) or 'none'} "
            "(text stands in quotes; no value is None)"
        )
    for name, value in _ordered(where):
        if known.get(name) == {not isinstance(value, str)}:
            kinds = ("numbers", "text") if isinstance(value, str) else ("text", "numbers")
            raise FilterError(
                f"the field {name!r} holds {kinds[0]}, such as {examples[name]!r}, which has no order with "
                f"{value!r}; compare it with {kinds[0]}, or state its type when indexing (--types {name}=...)"
            )
    for name in _alone(where):
        if True in known.get(name, ()):
            raise FilterError(
                f"the field {name!r} holds text, which is neither true nor false alone; compare it, as in "
                f"{name} == {examples[name]!r}, or index it as truths (--types {name}=boolean)"
            )


def _ordered(where: Where) -> Iterator[tuple[str, Any]]:
    """Fields and the values that a filter compares them with by order."""
    for node in ast.walk(_parsed(where)) if isinstance(where, str) else ():
        if isinstance(node, ast.Compare):
            for op, (left, right) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
                if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                    for one, other in ((left, right), (right, left)):
                        if isinstance(one, ast.Name) and isinstance(other, ast.Constant):
                            yield one.id, other.value


def _alone(where: Where) -> Iterator[str]:
    """Fields that stand for true or false by themselves."""
    pending = [_parsed(where)] if isinstance(where, str) else []
    while pending:
        match pending.pop():
            case ast.Name(id=name):
                yield name
            case ast.UnaryOp(operand=operand):
                pending.append(operand)
            case ast.BoolOp(values=values):
                pending += values


def _parsed(where: str) -> ast.expr:
    """Syntax tree of an expression; fields that Python would not take as names go through it renamed."""
    fields: dict[str, str] = {}
    where = unicodedata.normalize("NFC", where)

    def renamed(match: re.Match[str]) -> str:
        field = (match["quoted"] or "").replace("``", "`") or match["word"]
        if field is None:  # a string
            return match[0]
        name = "_" * len(where) + str(len(fields))  # longer than any name in the expression
        fields[name] = field
        return f" {name} "

    tree = ast.parse(_STRING_OR_FIELD.sub(renamed, where).strip(), mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = fields.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            node.attr = fields.get(node.attr, node.attr)
    return tree


def _all_equal(wanted: dict[str, Any]) -> Predicate:
    def passes(metadata: Mapping[str, Any]) -> bool:
        return all(_equals(metadata.get(name), value) for name, value in wanted.items())

    return passes


def _equals(found: Any, wanted: Any) -> bool:
    return _is_in(found, wanted) if isinstance(wanted, list | tuple | set) else _is_same(found, wanted)


def _is_same(left: Any, right: Any) -> bool:
    """Whether two values are equal, or one is a text that writes the other exactly: 7 and "7", not "007"."""
    if isinstance(left, str) != isinstance(right, str) and left is not None and right is not None:
        text, value = (left, right) if isinstance(left, str) else (right, left)
        if isinstance(value, bool):
            return bool(text.lower() == label_text(value))
        return isinstance(value, int | float) and text in (label_text(value), repr(value))
    return bool(_composed(left) == _composed(right))


def _composed(value: Any) -> Any:
    """A text in composed form (NFC), so that é is é however it was entered; other values as they are."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) and not value.isascii() else value


def _is_in(value: Any, container: Any) -> bool:
    if isinstance(container, list | tuple | set):
        return any(_is_same(value, each) for each in container)
    return _composed(value) in _composed(container)  # a part of a text; TypeError for other values


def _condition(node: ast.expr) -> Predicate:
    """One node of an expression as a function from the metadata to true or false."""
    match node:
        case ast.Constant(value=bool() as value):
            return lambda _metadata: value
        case ast.Name(id=name):
            return lambda metadata: bool(metadata.get(name))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _condition(operand)
            return lambda metadata: not inner(metadata)
        case ast.BoolOp(op=op, values=values):
            parts = [_condition(value) for value in values]
            together = all if isinstance(op, ast.And) else any
            return lambda metadata: together(part(metadata) for part in parts)
        case ast.Compare():
            return _comparison(node)
        case ast.Constant() | ast.List() | ast.Tuple():
            raise FilterError(
                f"{ast.unparse(node)} stands alone in the filter, compared with nothing; for one of several "
                "values write label in ['cat', 'dog']"
            )
    raise _foreign(node)


def _value(node: ast.expr) -> _Term:
    """One side of a comparison as a function of the metadata."""
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return lambda _metadata: value
        case ast.Name(id=name):
            return lambda metadata: metadata.get(name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return lambda _metadata: -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            terms = [_value(item) for item in items]
            return lambda metadata: [term(metadata) for term in terms]
        case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            raise FilterError(
                f"a filter compares fields and values, and {ast.unparse(node)!r} is a condition; for one of "
                "several values write label in ['cat', 'dog']"
            )
    raise _foreign(node)


def _foreign(node: ast.expr) -> FilterError:
    return FilterError(
        f"a filter may hold fields, values, comparisons, and, or, not; {ast.unparse(node)!r} is none of them"
    )


def _comparison(node: ast.Compare) -> Predicate:
    terms = [_value(side) for side in (node.left, *node.comparators)]
    operators = [_COMPARISONS.get(type(op)) for op in node.ops]
    if None in operators:
        raise FilterError(f"a filter compares with == != < <= > >= in; {ast.unparse(node)!r} does not")

    for op, side in zip(node.ops, node.comparators, strict=True):
        is_text = isinstance(side, ast.Constant) and isinstance(side.value, str)
        if (
            isinstance(op, ast.In | ast.NotIn)
            and isinstance(side, ast.Constant | ast.UnaryOp)
            and not is_text
        ):
            raise FilterError(f"after in stands a list, a text or a field, not {ast.unparse(side)}")

    def compare(metadata: Mapping[str, Any]) -> bool:
        values = [term(metadata) for term in terms]
        return all(_holds(op, *pair) for op, pair in zip(operators, pairwise(values), strict=True))

    return compare


def _holds(compare: Callable[[Any, Any], bool] | None, left: Any, right: Any) -> bool:
    assert compare is not None
    try:
        return bool(compare(left, right))
    except TypeError:
        return compare is _COMPARISONS[ast.NotIn]  # "x" not in None holds
