"""An embedder where a SentenceTransformer stands, and a SentenceTransformer where an embedder stands."""

import inspect

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike import scenes
from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.explainers import explain
from lookalike.models.embedder import Embedder

library = pytest.importorskip("sentence_transformers")
transformers = pytest.importorskip("transformers")

from lookalike.plugs.sentence_transformer import SentenceTransformerImages, embedder_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TOWER = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A SentenceTransformer on a random CLIP."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("clip")
    words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "red": 2}, unk_token="</s>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    of_text = {
        "vocab_size": 3,
        "max_position_embeddings": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    config = transformers.CLIPConfig(
        text_config={**TOWER, **of_text, "pad_token_id": 1},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessor(**size).save_pretrained(folder)
    return library.SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="module")
def walls():
    return [scenes.paint(i, 64) for i in (0, 1, 2, 0)]


def test_semantic_search_and_paraphrase_mining_take_an_embedder(mini, walls):
    corpus = mini.encode(walls[:3], convert_to_tensor=True)
    (hits,) = library.util.semantic_search(mini.encode(walls[3], convert_to_tensor=True), corpus, top_k=1)
    assert hits[0]["corpus_id"] == 0 and hits[0]["score"] == pytest.approx(1, abs=1e-4)
    score, *pair = library.util.paraphrase_mining(mini, walls)[0]
    assert sorted(pair) == [0, 3] and score == pytest.approx(1, abs=1e-4)


def test_every_option_that_pictures_can_have_is_taken(mini):
    theirs = set(inspect.signature(library.SentenceTransformer.encode).parameters)
    ours = set(inspect.signature(mini.encode).parameters)
    assert ours <= theirs | {"self"}
    assert theirs - ours == {"self", "output_value", "device", "pool", "chunk_size", "kwargs"}


def test_similarities_are_theirs(mini, clip, walls):
    a, b = mini.encode(walls[:2]), mini.encode(walls[2:])
    assert_close(mini.similarity(list(a), b), clip.similarity(a, b))
    assert_close(mini.similarity_pairwise(a, list(b)), clip.similarity_pairwise(a, b))
    assert mini.similarity_fn_name == clip.similarity_fn_name == "cosine"


def test_truncation_is_theirs_and_prompts_are_refused(mini, walls):
    short = mini.encode(walls[0], truncate_dim=8, normalize_embeddings=True)
    whole = mini.encode(walls[0])[:8]
    np.testing.assert_allclose(short, whole / np.linalg.norm(whole), atol=1e-6)
    with pytest.raises(ValueError, match="without a prompt"):
        mini.encode(walls, prompt="a photo of")
    with pytest.raises(ValueError, match="embeddings are float32"):
        mini.encode(walls, precision="int8")


def test_a_clip_model_becomes_an_embedder_with_shares(clip, walls):
    embedder = embedder_of(clip, name="their-clip", device="cpu")
    assert isinstance(embedder, Embedder) and embedder.name == "their-clip"
    same_size = [wall.resize((32, 32)) for wall in walls[:2]]
    assert_close(
        embedder.embed(same_size),
        torch.tensor(clip.encode(same_size, normalize_embeddings=True)),
        atol=1e-4,
        rtol=0,
    )
    why = explain(*same_size, model=embedder)
    assert float(why.query_map.sum()) + why.residual == pytest.approx(why.similarity, abs=1e-5)


def test_a_folder_that_it_saved_is_loaded(clip, walls, tmp_path):
    clip.save_pretrained(str(tmp_path / "saved"))
    embedder = Embedder.load(tmp_path / "saved", device="cpu")
    assert embedder.name == "saved"
    assert_close(embedder.embed(walls), embedder_of(clip, device="cpu").embed(walls))


def test_another_model_is_a_black_box(clip, walls, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense

    torch.manual_seed(0)
    longer = library.SentenceTransformer(modules=[*clip, Dense(12, 7)], device="cpu")
    model = embedder_of(longer)
    assert isinstance(model, SentenceTransformerImages)
    assert model.embed(walls[:2]).shape == (2, 7)
    why = explain(walls[0], walls[1], model=model, method="occlusion", cells=2)
    assert not why.additive and np.isfinite(why.query_map).all()
    longer.save_pretrained(str(tmp_path / "longer"))
    with pytest.raises(CheckpointError, match="has layers after its model"):
        Embedder.load(tmp_path / "longer")


def test_a_model_of_words_is_refused():
    words = library.SentenceTransformer.__new__(library.SentenceTransformer)
    words.encode = lambda *_, **__: (_ for _ in ()).throw(TypeError("text only"))
    words.model_card_data = None
    with pytest.raises(UnsupportedMethodError, match="embeds no pictures: text only"):
        embedder_of(words)
