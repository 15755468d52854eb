"""From labeled images to a folder; and what is refused before, and during."""

import json

import pytest
import torch
from torch.testing import assert_close

from lookalike.datasets import LabeledImages
from lookalike.errors import DatasetError, TrainingError
from lookalike.models.embedder import Embedder
from lookalike.training import Objective, train_network
from lookalike.training.log import CsvLog


@pytest.fixture
def train(tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data):
    """Trains in tmp_path / "out" unless told otherwise."""

    def run(model=None, objective=None, data=train_data, **options):
        options = {"settings": settings(), "out": tmp_path / "out", "runtime": runtime()} | options
        chosen = options.pop("settings")
        return train_network(model or tiny_model(), objective or proxy_anchor(), data, chosen, **options)

    return run


def test_the_loss_falls_and_unseen_classes_are_told_apart(
    train, tmp_path, tiny_model, settings, train_data, test_data
):
    model = tiny_model()
    metrics = train(model, settings=settings(epochs=16, evaluate_every=8), validation=test_data)
    rows = CsvLog(tmp_path / "out" / "log.csv").rows()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    evaluations = CsvLog(tmp_path / "out" / "evaluation.csv").rows()
    assert [row["epoch"] for row in evaluations] == [1, 9, 16]
    assert {name: evaluations[-1][name] for name in metrics} == metrics
    assert metrics["recall_at_1"] > 0.6  # 15 images of 3 classes: chance is 0.29


def test_the_folder_is_an_embedder_that_embeds_like_the_trained_network(
    train, tmp_path, tiny_model, test_data
):
    model = tiny_model()
    train(model)
    embedder = Embedder.load(tmp_path / "out", precision="fp32")
    assert embedder.preprocessing.input_size == (32, 48)
    assert embedder.preprocessing.crop_pct == 0.875
    pixels, _ = embedder.tensor(test_data.paths[0])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.cpu().eval()(pixels), dim=1)
    assert_close(embedder.embed(test_data.paths[:1]), expected, rtol=1e-4, atol=1e-5)
    total = embedder.shares(test_data.paths[0]).total
    assert_close(torch.nn.functional.normalize(total, dim=0), expected[0], rtol=1e-4, atol=1e-5)


def test_settings_and_description_lie_beside_the_weights(train, tmp_path, settings):
    train(settings=settings(epochs=1), description={"model": "tiny"})
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["settings"]["epochs"] == 1 and record["description"] == {"model": "tiny"}
    assert record["data"]["images"] == 20 and record["data"]["classes"] == 4


def test_curves_are_written_for_tensorboard_too(train, tmp_path, settings):
    train(settings=settings(epochs=1))
    (events,) = (tmp_path / "out" / "tensorboard").glob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()


def test_progress_says_how_far_how_fast_and_how_long(train):
    seen = []
    train(progress=seen.append)
    reading, steps = seen[:21], seen[21:]
    assert {p.stage for p in reading} == {"reading images"} and reading[-1].done == reading[-1].total == 20
    assert [p.done for p in steps] == list(range(1, 10)) and {p.total for p in steps} == {9}
    assert [p.stage for p in steps] == [f"epoch {i}" for i in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert steps[-1].remaining == 0 and all(p.rate > 0 and set(p.values) == {"loss"} for p in steps)


class Broken(Objective):
    """A loss that is no number from its third step."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, output, labels):
        self.calls += 1
        return {"broken": output.square().mean() * (float("nan") if self.calls > 2 else 1.0)}


def test_a_loss_that_is_no_number_stops_the_training_and_leaves_the_last_checkpoint(train, tmp_path, runtime):
    with pytest.raises(
        TrainingError, match=r"loss became nan at step 3 of 9 \(broken nan\); lower the learning"
    ):
        train(objective=Broken(), runtime=runtime(checkpoint_every=1))
    checkpoint = torch.load(tmp_path / "out" / "checkpoint.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_folder_that_holds_anything_is_left_alone(train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty; choose a new folder"):
        train()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_folder_that_can_not_be_written_is_said_before_the_start(train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="can't be written"):
        train(out=tmp_path / "file" / "out")
    with pytest.raises(TrainingError, match="holds no training to resume"):
        train(out=tmp_path / "file" / "out", resume=True)


def test_resuming_with_other_settings_or_images_names_them(train, settings, train_data):
    train(settings=settings(epochs=1))
    with pytest.raises(TrainingError, match=r"epochs was 1, is 2; head_rate was 0\.001, is 0\.5"):
        train(settings=settings(epochs=2, head_rate=0.5), resume=True)
    fewer = LabeledImages(train_data.paths[1:], train_data.labels[1:])
    with pytest.raises(TrainingError, match="images was 20, is 19"):
        train(data=fewer, settings=settings(epochs=1), resume=True)


def test_a_damaged_checkpoint_is_said(train, tmp_path, settings):
    train(settings=settings(epochs=1))
    (tmp_path / "out" / "checkpoint.ckpt").write_bytes(b"PK damaged")
    with pytest.raises(TrainingError, match=r"checkpoint\.ckpt can't be read"):
        train(settings=settings(epochs=1), resume=True)


def test_one_class_and_unjudgeable_evaluation_data_are_refused(train, tmp_path, train_data):
    one = LabeledImages(train_data.paths[:5], train_data.labels[:5])
    with pytest.raises(DatasetError, match="two classes or more"):
        train(data=one)
    singles = LabeledImages(train_data.paths[:2], ("a", "b"))
    with pytest.raises(DatasetError, match="a class with two images"):
        train(validation=singles)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_image_leaves_the_folder_free_for_another_start(train, tmp_path, train_data):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    data = LabeledImages((*train_data.paths, broken), (*train_data.labels, train_data.labels[0]))
    with pytest.raises(DatasetError, match=r"1 of 21 images can't be read, the first is .*broken\.png"):
        train(data=data)
    train()
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_device_that_is_not_there_is_said_before_the_start(train, tmp_path, runtime):
    with pytest.raises(TrainingError, match="can't train on 1 x tpuu"):
        train(runtime=runtime(accelerator="tpuu"))
    assert not (tmp_path / "out").exists()
