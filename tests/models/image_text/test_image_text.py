"""Image-text models against the libraries that they come from: embeddings, shares, words, errors."""

import json
import os
import subprocess
import sys

import open_clip
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from lookalike.errors import CheckpointError, UnknownModelError, UnsupportedMethodError
from lookalike.models import hub
from lookalike.models.embedder import Embedder
from lookalike.models.image_text import with_absolute_weights
from made_image_text import OPEN_CLIP_TOWERS, save_open_clip, save_transformers

TEXTS = ["red sofa under a window", "stripes", "not a picture of noise"]


def load(folder):
    return Embedder.load(folder, device="cpu")


def check_shares(embedder, picture):
    shares, unit = embedder.shares(picture), embedder.embed(picture)[0]
    torch.testing.assert_close(F.normalize(shares.total, dim=0), unit, atol=1e-5, rtol=0)
    assert float(shares.values.norm()) > 0.01 * float(shares.total.norm())
    return shares


@pytest.mark.parametrize("tower", OPEN_CLIP_TOWERS)
@torch.inference_mode()
def test_open_clip_gives_the_same_scores_for_pictures_and_words(tower, tmp_path, pictures):
    folder = save_open_clip(tmp_path / "model", tower, quick_gelu=tower == "own", seed=1)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = model.eval().encode_image(torch.stack([transform(p) for p in pictures]), normalize=True)
    words = model.encode_text(tokenizer(TEXTS), normalize=True)
    embedder = load(folder)
    torch.testing.assert_close(embedder.embed(pictures), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(embedder.embed_text(TEXTS), words, atol=1e-5, rtol=0)
    scores = embedder.embed_text(TEXTS) @ embedder.embed(pictures).T
    torch.testing.assert_close(scores, words @ images.T, atol=1e-5, rtol=0)
    assert torch.equal(scores.argsort(1), (words @ images.T).argsort(1))
    assert float(scores.std()) > 1e-3
    check_shares(embedder, pictures[2])


@pytest.mark.parametrize("family", ["clip", "siglip"])
@torch.inference_mode()
def test_transformers_give_the_same_scores_for_pictures_and_words(family, tmp_path, pictures):
    folder = save_transformers(tmp_path / "model", family)
    embedder = load(folder)
    pixels = torch.cat([embedder.tensor(picture)[0] for picture in pictures])
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    padding = {"padding": True} if family == "clip" else {"padding": "max_length", "max_length": 10}
    inputs = tokenizer(TEXTS, return_tensors="pt", **padding)
    if family == "siglip":
        inputs = {"input_ids": inputs["input_ids"]}
    else:
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    output = model(pixel_values=pixels, **inputs)
    torch.testing.assert_close(embedder.embed(pictures), output.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(embedder.embed_text(TEXTS), output.text_embeds, atol=1e-5, rtol=0)
    shares = check_shares(embedder, pictures[1])
    assert shares.grid == (6, 6)


def test_a_file_of_weights_goes_with_the_name_of_an_architecture(tmp_path, monkeypatch):
    with pytest.raises(UnknownModelError, match="no architecture 'ViT-B-33'"):
        Embedder.load("open_clip:ViT-B-33@weights.pt")
    with pytest.raises(UnknownModelError, match="needs weights"):
        Embedder.load("open_clip:ViT-B-32")
    with pytest.raises(UnknownModelError, match="no tag of ViT-B-32"):
        Embedder.load("open_clip:ViT-B-32@weights.pt")
    save_open_clip(tmp_path)
    monkeypatch.chdir(tmp_path)
    weights = "open_clip_model.safetensors"
    assert with_absolute_weights(f"open_clip:RN50@{weights}") == f"open_clip:RN50@{tmp_path / weights}"
    assert with_absolute_weights("open_clip:RN50@openai") == "open_clip:RN50@openai"
    with pytest.raises(CheckpointError, match="modified ResNet"):
        Embedder.load(f"open_clip:RN50@{weights}")
    with pytest.raises(CheckpointError, match="not those of"):
        Embedder.load(f"open_clip:ViT-B-32@{weights}")


def test_a_model_without_words_says_so(mini, tmp_path):
    with pytest.raises(UnsupportedMethodError, match="no text tower, so it does not answer words"):
        mini.embed_text("a sofa")
    embedder = load(save_open_clip(tmp_path))
    with pytest.raises(ValueError, match="at least one word"):
        embedder.embed_text(["a", " "])
    pooled = Embedder.load(tmp_path, pooling="mean", device="cpu")
    with pytest.raises(UnsupportedMethodError, match="no text tower"):
        pooled.embed_text("a sofa")


def test_words_are_refused_where_the_library_sees_another_image_tower(tmp_path):
    embedder = load(save_open_clip(tmp_path, seed=1))
    save_open_clip(tmp_path, seed=2)
    with pytest.raises(CheckpointError, match="other embeddings here than by open_clip"):
        embedder.embed_text("a sofa")


def test_broken_folders_are_one_sentence(tmp_path):
    folder = save_transformers(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "blip"}))
    with pytest.raises(CheckpointError, match="a blip of transformers"):
        load(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        load(folder)
    folder = save_open_clip(tmp_path / "other")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    with pytest.raises(CheckpointError, match="'vision_cfg' is missing"):
        load(folder)


def test_pictures_need_neither_library(tmp_path, pictures):
    folders = [str(save_open_clip(tmp_path / "a")), str(save_transformers(tmp_path / "b", "siglip"))]
    code = (
        "import sys; from lookalike.models.embedder import Embedder; import numpy as np\n"
        f"for folder in {folders!r}:\n"
        "    Embedder.load(folder).embed(np.zeros((9, 7, 3), np.uint8))\n"
        "    print({'open_clip', 'transformers'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert answer.stdout.split() == ["set()", "set()"], answer.stderr


@pytest.mark.parametrize("save", [save_open_clip, save_transformers])
def test_a_repository_of_the_hub_is_read_as_the_folder_that_it_is(save, tmp_path, pictures, monkeypatch):
    folder = save(tmp_path / "model")

    def download(repository, name):
        assert repository == "someone/model"
        if not (folder / name).is_file():
            raise EntryNotFoundError(name)
        return str(folder / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    embedder = Embedder.load("hf-hub:someone/model", device="cpu")
    assert embedder.name == "hf-hub:someone/model"
    torch.testing.assert_close(embedder.embed(pictures[:1]), load(folder).embed(pictures[:1]))
    assert embedder.text.name in ("hf-hub:someone/model", str(folder))


@pytest.mark.parametrize("tower", ["own", "own-avg", "timm-map"])
def test_a_saved_image_tower_embeds_alike_and_has_no_words(tower, tmp_path, pictures):
    embedder = load(save_open_clip(tmp_path / "model", tower, quick_gelu=tower == "own"))
    embedder.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.fingerprint() == embedder.fingerprint() and again.text is None
    assert torch.equal(again.embed(pictures[:1]), embedder.embed(pictures[:1]))
