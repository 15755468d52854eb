"""A packed list answers as a list, in a fraction of its memory."""

import tracemalloc

import pytest

from lookalike.types.packed_texts import PackedTexts


def test_packed_texts_answer_as_a_list(monkeypatch):
    monkeypatch.setattr("lookalike.types.packed_texts._BLOCK", 4)
    texts = [
        "/ä/1.jpg",
        "",
        "line\nbreak",
        "nul\0",
        "not UTF-8: \udcff",
        "quote\"'\\",
        "🖼",
        "/ä/1.jpg",
        "last",
    ]
    packed = PackedTexts(iter(texts))
    assert list(packed) == texts and len(packed) == len(texts)
    assert [packed[i] for i in range(-9, 9)] == texts * 2
    assert packed[1:8:3] == texts[1:8:3] and packed[::-1] == texts[::-1]
    assert "last" in packed and packed.index("🖼") == 6
    with pytest.raises(IndexError, match="item 9 of 9"):
        packed[9]
    assert list(PackedTexts()) == [] and not PackedTexts()


def test_a_packed_path_takes_a_tenth_of_a_plain_one():
    paths = [f"/photos/2024/05/17/IMG_{number:09d}.jpg" for number in range(20_000)]
    tracemalloc.start()
    packed = PackedTexts(iter(paths))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(packed) == paths and held < 10 * len(paths)  # bytes; 85 and a pointer as str
