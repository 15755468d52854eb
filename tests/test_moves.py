"""The lines of docs/moves.md run, in their order, on files with the names and layouts of the sources."""

import pickle
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import typer
from PIL import Image
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.training.presets import PRESETS
from made_checkpoints import in_jax, made_weights, published, shapes_of
from made_classes import class_folders
from made_tensorflow import slim_tensors, write_bundle

PAGE = (Path(__file__).parents[1] / "docs" / "moves.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
LESS = {  # options that make a line's work small, appended to it
    "--input-size 256": "--input-size 40",
    "train cub200/": "--epochs 1 --batch-size 4 --dims 8 --input-size 64 --device cpu",
    "train-reranker": "--steps 2 --batch-size 4 --candidates 9 --anchors 6 --device cpu --set width=16 "
    "--set heads=2 --set hidden=20 --set depth=1",
    "--method csa": "--set heads=2",
    "--rerank csa": "--set heads=2",
    "--resolution 1024": "--resolution 64",
}


def lines_of(title, language):
    (section,) = (text for name, text in SECTIONS.items() if name.startswith(title))
    blocks = re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def run_lines(title):
    lines = lines_of(title, "sh")
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "lookalike"
        for words, options in LESS.items():
            arguments += shlex.split(options) if words in line else []
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        for name in re.findall(r"-o (\S+\.(?:png|npz))", line):
            assert Path(name).stat().st_size > 0


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_section_is_run_here():
    titles = ("Visualizing Deep", "Visualizing Paired", "Attributable", "Contextual", "CNN Image Retrieval")
    assert all(name.startswith(title) for name, title in zip(SECTIONS, titles, strict=True))
    assert all("\n| theirs | ours |\n" in text and "\nBetter: " in text for text in SECTIONS.values())


def test_deep_similarity_networks(here, goldens):
    for i, side in enumerate("ab", 1):
        Image.open(goldens / f"image_{side}.png").convert("RGB").save(f"hotels{i}.jpg")
    Path("hotels").mkdir()
    write_bundle(here / "hotels" / "hotels", slim_tensors())
    np.save("hotels_meanIm.npy", np.full((224, 224, 3), 110, np.float32))
    run_lines("Visualizing Deep")
    assert {path.name for path in Path("maps").iterdir()} == {
        "hotels1_simmap_with_hotels2.png",
        "hotels2_simmap_with_hotels1.png",
    }
    values = {}
    exec("\n".join(lines_of("Visualizing Deep", "python")), values)
    cosine = torch.cosine_similarity(values["conv_a"].mean(0), values["conv_b"].mean(0), dim=0)
    assert values["map_a"].shape == (49,) and values["map_b"].shape == (35,)
    assert float(values["map_a"].sum()) == pytest.approx(float(cosine), abs=1e-5)


def test_paired_similarity_in_transformers(here, goldens):
    transformer = {f"module.{name}": tensor for name, tensor in published().items()}
    for data in ("SOP", "Hotels-50k"):
        Path("images", data).mkdir(parents=True)
        Path("weights", data).mkdir(parents=True)
        for i, side in enumerate("ab", 1):
            shutil.copy(goldens / f"image_{side}.png", f"images/{data}/img{i}.png")
        torch.save(transformer, f"weights/{data}/ViT-B16.pth")
    resnet = made_weights(shapes_of((3, 4, 23, 3), 32, output=16), seed=0)
    torch.save({f"module.{name}": tensor for name, tensor in resnet.items()}, "weights/SOP/resnet-101.pth")
    np.savez("weights/ViT-B_16.npz", **in_jax(published()))
    run_lines("Visualizing Paired")
    for folder in ("SOP/ViT-B16", "SOP/resnet-101", "Hotels-50k/ViT-B16"):
        for names in (("img1", "img2"), ("img2", "img1")):
            assert Path(f"results/{folder}/{'_simmap_with_'.join(names)}.png").is_file()


def test_attributable_similarity(here):
    class_folders(here / "cub200/train")
    class_folders(here / "cub200/test")
    run_lines("Attributable")
    assert len(list(Path("nodes").iterdir())) > 2


def test_lines_that_fetch_weights_are_understood(here):
    for folder in ("cub200", "cars196", "online_products"):
        (here / folder).mkdir()
    for line in lines_of("Attributable", "bash"):
        name, *arguments = shlex.split(line)[1:]
        command = typer.main.get_command(app).commands[name]
        assert command.make_context(name, arguments).params["preset"] in PRESETS


def test_contextual_aggregation(here, noise):
    name, labels = "gl18-tl-resnet101-gem-w.pkl", [i % 5 for i in range(30)]
    gallery = noise(30, 8).numpy()
    gnd = [{"easy": [5 + i, 10 + i], "hard": [15 + i], "junk": [], "bbx": [0, 0, 9, 9]} for i in range(2)]
    truth = {"imlist": [f"i{i}" for i in range(30)], "qimlist": ["i0", "i1"], "gnd": gnd}
    for path, content in {
        "annotations/retrieval-SfM-120k.pkl": {"train": {"cluster": labels}, "val": {"cluster": [1]}},
        "annotations/roxford5k/gnd_roxford5k.pkl": truth,
        "annotations/rparis6k/gnd_rparis6k.pkl": truth,
        f"test/roxford5k/{name}": {"query": gallery[:2], "db": gallery},
        f"test/rparis6k/{name}": {"query": gallery[:2], "db": gallery},
        f"train/{name}": {"train": gallery, "val": gallery[:1]},
        "train/gl18-tl-resnet50-gem-w.pkl": {"train": gallery[:, ::2], "val": gallery[:1, ::2]},
        f"test/r1m/{name}": noise(40, 8, seed=1).numpy(),
    }.items():
        file = here / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(content))
    run_lines("Contextual")
    with np.load("ranks.npz") as found:
        assert found["ranks"].shape == (30, 2)


def test_image_retrieval_and_its_protocol(here):
    (here / "roxford5k" / "jpg").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(9):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"roxford5k/jpg/image_{i}.jpg")
    gnd = [{"easy": [3, 4], "hard": [5], "junk": [], "bbx": [2, 1, 40, 30]} for _ in range(2)]
    truth = {"imlist": [f"image_{i}" for i in range(9)], "qimlist": ["image_0", "image_1"], "gnd": gnd}
    Path("roxford5k/gnd_roxford5k.pkl").write_bytes(pickle.dumps(truth))
    network = torchvision.models.resnet18(weights=None).eval()
    features = torch.nn.Sequential(*list(network.children())[:-2])
    tensors = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    meta = {"architecture": "resnet18", "pooling": "gem", "outputdim": 512, "mean": [0.4, 0.5, 0.6]}
    meta |= {"std": [0.2, 0.3, 0.2], "local_whitening": False, "regional": False, "whitening": False}
    learned = {"m": rng.random((512, 1)), "P": np.linalg.qr(rng.standard_normal((512, 512)))[0]}
    meta["Lw"] = {"retrieval-SfM-120k": {"ss": learned, "ms": learned}}
    torch.save({"meta": meta, "state_dict": tensors | {"pool.p": torch.tensor([2.9])}}, "network.pth")
    run_lines("CNN Image Retrieval")
    with np.load("ranks.npz") as found:
        assert found["ranks"].shape == (9, 2)
