"""``evaluate``: one call for images, galleries and arrays; and how its result shows itself."""

import json

import numpy as np
import pytest
import torch

from lookalike.errors import DatasetError
from lookalike.evaluation import evaluate, labeled, retrieve
from lookalike.gallery import Gallery, folder_labels
from made_classes import class_folders, tiny_cnn

ROWS = torch.eye(4)[[0, 0, 1, 1, 2]] + 0.01
LABELS = ["a", "a", "<b>", "<b>", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("classes") / "data")


def test_arrays_of_torch_and_numpy_with_any_labels_are_evaluated_alike():
    first = evaluate((ROWS, LABELS), clustering=False)
    other = evaluate((ROWS.double().numpy(), np.array([0, 0, 1, 1, 0])), clustering=False)
    assert first.metric("r_precision").value == other.metric("r_precision").value == pytest.approx(0.8)
    assert first.n_queries == 5 and first.n_classes == 2
    among = evaluate((ROWS, LABELS), queries=(ROWS[:1], ["a"]), ks=[1], clustering=False)
    assert (among.n_queries, among.n_gallery) == (1, 5)


def test_images_and_a_gallery_of_them_have_the_same_metrics(folder, tmp_path):
    seen = []
    embedder = tiny_cnn()
    of_images = evaluate(folder, embedder, clustering=False, progress=seen.append)
    gallery = Gallery.create(str(tmp_path / "g"), model=embedder)
    gallery.add(folder, metadata=folder_labels(folder))
    of_gallery = evaluate(str(tmp_path / "g"), clustering=False)
    for ours, theirs in zip(of_images.metrics, of_gallery.metrics, strict=True):
        assert (ours.name, ours.value) == (theirs.name, pytest.approx(theirs.value, abs=1e-6))
    assert {p.stage for p in seen} == {"embedding with resnet10t", "ranking"}
    assert (seen[0].done, seen[0].total) == (0, 12)


def test_options_that_do_not_go_together_are_refused(folder):
    with pytest.raises(ValueError, match="arrays have no model and no splits"):
        evaluate((ROWS, LABELS), "mini")
    with pytest.raises(ValueError, match="got both"):
        evaluate(folder, queries=(ROWS, LABELS), query_split="test")
    with pytest.raises(DatasetError, match="5 embeddings and 2 labels"):
        evaluate((ROWS, LABELS[:2]))


def test_an_evaluation_is_plain_data_one_line_and_a_small_table():
    evaluation = evaluate((ROWS, LABELS), clustering=False)
    plain = json.loads(json.dumps(evaluation.to_dict()))
    assert plain["metrics"][0]["name"] == "recall_at_1" and plain["clusters"] is None
    assert "retrieved" not in plain
    assert "\n" not in repr(evaluation) and "R-precision 80.0%" in repr(evaluation)
    html = evaluation._repr_html_()
    assert html.count("<tr>") == 1 + len(evaluation.metrics) and len(html) < 3000
    assert evaluation == evaluate((ROWS, LABELS), clustering=False)
    assert hash(evaluation) == hash(evaluate((ROWS, LABELS), clustering=False))
    with pytest.raises(KeyError, match="there are recall_at_1"):
        evaluation.metric("accuracy")


def test_ranks_of_first_hits_are_kept():
    far = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
    assert retrieve(labeled(far, list("abba"), source="made")).first_ranks.tolist() == [3, 2, 1, 3]


def test_unit_embeddings_are_judged_as_they_are():
    units = torch.nn.functional.normalize(torch.randn(200, 33, generator=torch.Generator().manual_seed(0)))
    kept = evaluate((units, ["a", "b"] * 100), clustering=False).retrieved.gallery.values
    assert torch.equal(kept, units)


def test_the_precision_is_stated_and_can_be_chosen(folder, tmp_path):
    tiny_cnn().save(tmp_path / "model")
    found = {p: evaluate(folder, tmp_path / "model", precision=p, clustering=False) for p in (None, "bf16")}
    assert found[None].precision == "fp32" and "Embeddings were computed in fp32." in found[None].rules
    assert found["bf16"].precision == "bf16" and any("computed in bf16" in r for r in found["bf16"].rules)
    assert not torch.equal(*(each.retrieved.gallery.values for each in found.values()))
    assert any("not known" in rule for rule in evaluate((ROWS, LABELS), clustering=False).rules)


def test_a_gallery_states_the_precision_it_was_made_with(folder, tmp_path):
    gallery = Gallery.create(str(tmp_path / "g"), model=tiny_cnn())
    gallery.add(folder, metadata=folder_labels(folder))
    assert evaluate(str(tmp_path / "g"), clustering=False).precision == "fp32"
    with pytest.raises(ValueError, match="is a gallery, embedded when it was made"):
        evaluate(str(tmp_path / "g"), precision="bf16")


def test_a_precision_of_what_is_embedded_already_is_refused(folder):
    for data, model in (((ROWS, LABELS), None), (folder, tiny_cnn())):
        with pytest.raises(ValueError, match="precision='bf16' is for a model by name"):
            evaluate(data, model, precision="bf16")
