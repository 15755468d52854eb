"""Vision models of transformers: their own embeddings, as sums over cells."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.explainers import make_explainer
from lookalike.models.embedder import Embedder
from lookalike.models.transformers_folders import preprocessing_by

transformers = pytest.importorskip("transformers")

VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 42,
    "patch_size": 14,
}
PLAIN = {**VIT, "intermediate_size": 40}
STAGES = {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 1, 1, 1], "image_size": 96}
WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 32}
# By class: settings, grid of the input of its own size, and whether the embedding is the pooler's.
MODELS = {
    "Dinov2": (VIT, (3, 3), True),
    "Dinov2WithRegisters": ({**VIT, "use_swiglu_ffn": True}, (3, 3), True),
    "DINOv3ViT": ({**PLAIN, "num_register_tokens": 4, "use_gated_mlp": True}, (3, 3), True),
    "DINOv3ConvNext": (STAGES, (3, 3), True),
    "SiglipVision": (PLAIN, (3, 3), True),
    "CLIPVision": (PLAIN, (3, 3), True),
    "ViT": (PLAIN, (3, 3), False),
    "DeiT": (PLAIN, (3, 3), False),
    "ConvNext": (STAGES, (3, 3), True),
    "Swin": (WINDOWS, (4, 4), True),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("transformers")

    def make(name, kind="Model"):
        folder = root / f"{name}{kind}"
        if not folder.exists():
            torch.manual_seed(0)
            config = getattr(transformers, f"{name}Config")(**MODELS[name][0])
            getattr(transformers, f"{name}{kind}")(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50, 70, 3), np.uint8), rng.integers(0, 256, (64, 40, 3), np.uint8)]


@pytest.mark.parametrize("name", MODELS)
def test_the_embedding_is_the_models_and_the_sum_of_its_shares(name, saved, images):
    folder = saved(name)
    embedder = Embedder.load(folder, device="cpu")
    tensor, _ = embedder.tensor(images[0])
    with torch.inference_mode():
        output = transformers.AutoModel.from_pretrained(folder)(tensor)
        theirs = output.pooler_output if MODELS[name][2] else output.last_hidden_state[:, 0]
        assert_close(embedder.network(tensor), theirs.flatten(1), atol=2e-6, rtol=1e-5)
    shares = embedder.shares(images[0])
    assert shares.grid == MODELS[name][1]
    assert_close(shares.total, theirs[0].flatten(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["Dinov2", "DINOv3ViT", "SiglipVision", "ViT", "ConvNext"])
def test_maps_and_residual_sum_to_the_similarity(name, saved, images):
    embedder = Embedder.load(saved(name), device="cpu")
    why = make_explainer(embedder, "shares")(*images)
    assert float(why.query_map.sum()) + why.residual == pytest.approx(why.similarity, abs=1e-5)
    assert why.similarity == pytest.approx(float(embedder.similarity(*images)), abs=1e-5)


@pytest.mark.parametrize("name", ["DINOv3ViT", "ConvNext"])
def test_saved_as_our_own_it_is_the_same_model(name, saved, images, tmp_path):
    embedder = Embedder.load(saved(name), device="cpu")
    embedder.save(tmp_path / "ours")
    again = Embedder.load(tmp_path / "ours", device="cpu")
    assert torch.equal(again.embed(images), embedder.embed(images))
    assert again.fingerprint() == embedder.fingerprint()


def test_a_classifier_is_left_out(saved, images):
    embedder = Embedder.load(saved("ViT", "ForImageClassification"), device="cpu")
    assert embedder.embed(images).shape == (2, 24)


def test_another_input_size_resamples_positions(saved, images):
    embedder = Embedder.load(saved("ViT"), input_size=(28, 70), device="cpu")
    assert embedder.shares(images[0]).grid == (2, 5)
    with pytest.raises(Exception, match="patches are 14x14"):
        Embedder.load(saved("ViT"), input_size=(30, 70), device="cpu")


def test_the_processor_decides_on_crop_size_and_colors():
    cut = preprocessing_by(
        {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3}, (42, 42)
    )
    assert (cut.mode, cut.input_size, cut.crop_pct) == ("crop", (224, 224), 224 / 256)
    squashed = preprocessing_by(
        {"size": {"height": 64, "width": 96}, "resample": 2, "image_mean": [0.5] * 3}, (42, 42)
    )
    assert (squashed.mode, squashed.input_size, squashed.interpolation) == ("squash", (64, 96), "bilinear")
    assert squashed.mean == (0.5, 0.5, 0.5)


def test_models_of_words_and_missing_weights_are_refused(saved, tmp_path):
    torch.manual_seed(0)
    words = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertModel(words).save_pretrained(tmp_path / "words")
    with pytest.raises(CheckpointError, match="bert of transformers is no model of pictures"):
        Embedder.load(tmp_path / "words")
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    config = json.loads((saved("ViT") / "config.json").read_text())
    (deeper / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    (deeper / "model.safetensors").write_bytes((saved("ViT") / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="lacks 16 of its tensors"):
        Embedder.load(deeper)
