"""``encode`` gives what sentence-transformers gives: shapes, types and order."""

import numpy as np
import torch


def test_several_images_give_an_array_and_one_a_row(pictures, mini):
    found = mini.encode(pictures[:3], batch_size=2)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, mini.embed(pictures[:3]).numpy(), atol=1e-6)
    np.testing.assert_allclose(mini.encode(pictures[1]), found[1], atol=1e-6)
    assert mini.encode(pictures[1]).shape == (mini.get_sentence_embedding_dimension(),)


def test_tensors_and_lists_on_request(pictures, mini):
    expected = mini.embed(pictures[:2])
    assert torch.equal(mini.encode(pictures[:2], convert_to_tensor=True), expected)
    rows = mini.encode(iter(pictures[:2]), convert_to_numpy=False)
    assert isinstance(rows, list) and torch.equal(torch.stack(rows), expected)
    assert mini.encode([]).shape == (0, mini.width)


def test_the_bar_changes_nothing(pictures, mini, capsys):
    shown = mini.encode(pictures[:2], show_progress_bar=True)
    np.testing.assert_array_equal(shown, mini.encode(pictures[:2]))
    assert "2/2" in capsys.readouterr().err
