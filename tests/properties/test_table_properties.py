"""Tables, lists and labels: what was written is what is read, in any encoding, with any separator."""

import csv
import io
import unicodedata

from hypothesis import assume, given
from hypothesis import strategies as st

from lookalike.datasets.tables import read_table
from lookalike.datasets.texts import cleaned, label_text, read_lines
from made_examples import few

texts = st.text(
    alphabet=st.one_of(st.sampled_from("abc019 ,;'\"-.\té中e\u0301"), st.characters(codec="utf-8")),
    max_size=9,
)
plain = texts.map(lambda text: cleaned("".join(c for c in text if c.isprintable())))
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@given(
    st.lists(st.tuples(plain, plain), min_size=1, max_size=5),
    st.sampled_from(",;\t"),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n"]),
)
@few(120)
def test_texts_of_a_table_are_read_as_they_were_written(tmp_path, rows, separator, encoding, end):
    rows = [
        (f"{first}x", f"{second}y" if second else "") for first, second in rows
    ]  # no number, no empty row
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end)
    writer.writerows([("path", "the label"), *rows])
    file = tmp_path / "table.csv"
    file.write_bytes(buffer.getvalue().encode(encoding))
    found = read_table(file)
    assert found.columns == ("path", "the label")
    normal = [[unicodedata.normalize("NFC", cell) or None for cell in row] for row in rows]
    assert [[row["path"], row["the label"]] for row in found.rows] == normal


numbers = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?0?[0-9]{1,4}(\.[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["007", "1.50", "1e5", "12E4", "1,5", "+3", "-0", "0.0", "1_000", "٣", "nan", "inf"]),
)


@given(st.lists(numbers, min_size=1, max_size=4))
@few(150)
def test_a_column_becomes_numbers_only_if_each_is_written_as_it_was(tmp_path, cells):
    file = tmp_path / "numbers.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("path", "n"), *((f"{i}.png", cell) for i, cell in enumerate(cells))])
    found = [row["n"] for row in read_table(file).rows]
    assert len({isinstance(value, str) for value in found}) == 1  # the column has one kind
    written = [value if isinstance(value, str) else repr(value) for value in found]
    assert written == [unicodedata.normalize("NFC", cell) for cell in cells]
    if all(cell.isascii() and cell.isdigit() and str(int(cell)) == cell and len(cell) < 16 for cell in cells):
        assert found == [int(cell) for cell in cells]


@given(st.lists(plain, max_size=6), st.sampled_from(ENCODINGS), st.sampled_from(["\n", "\r\n", "\r"]))
@few(100)
def test_lines_are_read_as_they_were_written(tmp_path, lines, encoding, end):
    assume(not lines or lines[-1])
    file = tmp_path / "labels.txt"
    file.write_bytes(end.join(lines).encode(encoding))
    assert read_lines(file) == lines


@given(st.one_of(texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
@few(150)
def test_the_label_of_a_label_is_itself(value):
    once = label_text(value)
    assert label_text(once) == once
    assert label_text(unicodedata.normalize("NFD", once)) == once
