"""From the folders of CUB, Cars and Online Products to an evaluated model, in one command each."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.models.backbones import create_backbone
from lookalike.models.embedder import Embedder
from lookalike.models.loading import from_timm
from lookalike.models.saving import save_folder

N_CLASSES, N_IMAGES = 6, 4  # the first half of the classes trains
SMALL = ("--epochs", 2, "--warm-up-epochs", 1, "--batch-size", 4, "--dims", 8, "--input-size", 64,
         "--backbone-rate", 1e-3, "--head-rate", 1e-3, "--device", "cpu", "--json")  # fmt: skip


def pictures():
    """(number of the class from 1, number of the image, picture): each class has its color, and noise."""
    random = np.random.default_rng(4)
    for number in range(1, N_CLASSES + 1):
        color = random.integers(30, 226, 3)
        for i in range(N_IMAGES):
            pixels = color + random.normal(0, 45, (40 + 3 * i, 52, 3))
            yield number, i, Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def saved(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def cub(top):
    """As the authors of AVSL arrange it: train and test, a folder for each class."""
    for number, i, picture in pictures():
        split = "train" if number <= N_CLASSES // 2 else "test"
        saved(picture, top / split / f"{number:03}.Bird" / f"{i}.jpg")


def cub_as_published(top):
    """Lists of images and labels beside one folder of images."""
    lines = []
    for image, (number, i, picture) in enumerate(pictures(), 1):
        path = f"{number:03}.Bird/Bird_{i}.jpg"
        saved(picture, top / "images" / path)
        lines.append((f"{image} {path}", f"{image} {number}"))
    (top / "images.txt").write_text("".join(f"{line}\n" for line, _ in lines))
    (top / "image_class_labels.txt").write_text("".join(f"{line}\n" for _, line in lines))


def cars(top):
    """One folder of images, annotated in a MATLAB file."""
    rows = []
    for number, i, picture in pictures():
        path = f"car_ims/{number:03}{i:03}.jpg"
        saved(picture, top / path)
        rows.append((path, 1, 1, 40, 30, number, 0))
    names = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
    savemat(top / "cars_annos.mat", {"annotations": np.array(rows, dtype=[(n, "O") for n in names])[None]})


def online_products(top):
    """Images by kind of product, and two lists in Info_Files."""
    lines = {"train": [], "test": []}
    for image, (number, i, picture) in enumerate(pictures(), 1):
        path = f"{'chair' if number % 2 else 'lamp'}_final/{number:05}_{i}.JPG"
        saved(picture, top / "images" / path)
        lines["train" if number <= N_CLASSES // 2 else "test"].append(f"{image} {number} {number % 2} {path}")
    (top / "Info_Files").mkdir()
    for split, rows in lines.items():
        text = "\n".join(["image_id class_id super_class_id path", *rows])
        (top / "Info_Files" / f"Ebay_{split}.txt").write_text(text + "\n")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A start model with random weights, which stands for the preset's own."""
    folder = tmp_path_factory.mktemp("start") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_folder(from_timm("mobilenetv2_035", pretrained=False, input_size=(64, 64)), folder)
    return folder


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """BN-Inception with random weights, in a file as the published one."""
    path = tmp_path_factory.mktemp("inception") / "bn_inception-00000000.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(create_backbone("bninception").model.state_dict(), path)
    return path


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(("layout", "preset", "options"), [
    (cub, "cub200-resnet50", ("--set", "top_k=3")),
    (cub_as_published, "cub200-bninception-baseline", ()),
    (cars, "cars196-resnet50", ("--set", "top_k=3")),
    (cars, "cars196-resnet50-margin-baseline", ("--images-per-class", 2)),
    (online_products, "sop-resnet50", ("--set", "top_k=3")),
    (online_products, "sop-resnet50-baseline", ()),
    (online_products, "sop-bninception-margin", ("--images-per-class", 2, "--set", "top_k=3")),
])  # fmt: skip
def test_one_command_leads_from_the_published_layout_to_an_evaluated_model(
    layout, preset, options, tiny, tmp_path
):
    data, out = tmp_path / "data", tmp_path / "model"
    data.mkdir()
    layout(data)
    found = run("train", data, "--preset", preset, "--model", tiny, *SMALL, *options, "-o", out)
    record = json.loads((out / "training.json").read_text())
    assert record["data"]["classes"] == N_CLASSES // 2  # the others are for the evaluation
    ks = (1, 10, 100) if preset.startswith("sop") and "margin" not in preset else (1, 2, 4, 8)
    names = [*(f"recall_at_{k}" for k in ks), "map_at_r"]
    clustered = preset.endswith("-baseline") and not preset.startswith("sop")
    assert list(found["metrics"]) == names + ["nmi", "ami", "f1"] * clustered
    with (out / "evaluation.csv").open() as file:
        recalls = [float(row["recall_at_1"]) for row in csv.DictReader(file)]
    assert len(recalls) == 2 and found["metrics"]["recall_at_1"] == max(recalls)  # the best is kept
    embedder = Embedder.load(out, device="cpu")
    assert (embedder.network.graph is None) == preset.endswith("-baseline")
    again = run("evaluate", data, "--split", "test", "--model", out, "-k", ",".join(map(str, ks)), "--json")
    values = {metric["name"]: metric["value"] for metric in again["metrics"]}
    assert all(values[name] == pytest.approx(found["metrics"][name], abs=1e-9) for name in names)
    assert any("inferred" in rule or "infers" in rule for rule in again["rules"]) == (
        not preset.endswith("-baseline")
    )


@pytest.mark.parametrize("preset", ["cub200-bninception", "cub200-bninception-baseline"])
def test_a_file_of_bn_inception_is_trained_evaluated_and_explained(preset, inception, tmp_path):
    data, out = tmp_path / "data", tmp_path / "model"
    cub(data)
    is_avsl = not preset.endswith("-baseline")
    options = ("--set", "keep_best=false", *(("--set", "top_k=3") if is_avsl else ()))
    trained = run("train", data, "--preset", preset, "--model", inception, *SMALL, *options, "-o", out)
    judged = run("evaluate", data, "--split", "test", "--model", out, "--json")
    assert judged["metrics"][0]["value"] == pytest.approx(trained["metrics"]["recall_at_1"])
    network = Embedder.load(out, device="cpu").network
    start = torch.load(inception, weights_only=True)
    norm, layer = "inception_4c_3x3_bn", "inception_4c_3x3.weight"
    weights = network.backbone.model.state_dict()
    for part in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(weights[f"{norm}.{part}"], start[f"{norm}.{part}"])  # frozen whole
    assert not torch.equal(weights[layer], start[layer])
    pair = [next((data / "test").rglob(f"{i}.jpg")) for i in (0, 1)]
    why = run("explain", *pair, "--model", out, "--method", "avsl" if is_avsl else "shares", "--json")
    total = np.sum(why["query_map"]) + why["residual"]
    assert why["additive"] and total == pytest.approx(why["similarity"], abs=1e-4)
