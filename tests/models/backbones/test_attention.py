import threading

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.models.backbones.attention import recorded_attention, recorded_input

SIZE = (32, 48)  # a 2 x 3 grid of patches
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
MODELS = {
    "CLS": ("vit_tiny_patch16_224", {}),
    "registers": ("vit_small_patch14_reg4_dinov2", {}),
    "rotary": ("eva02_tiny_patch14_224", {}),
    "rotary, registers": ("vit_small_patch16_dinov3", {}),
}


def qkv_by_hand(block, tokens):
    """Queries and keys (B, A, T, d) of a block, before any positions."""
    b, t, c = tokens.shape
    heads = block.attn.num_heads
    projected = block.attn.qkv(block.norm1(tokens)).reshape(b, t, 3, heads, c // heads)
    return projected.permute(2, 0, 3, 1, 4)


@torch.inference_mode()
def test_weights_equal_softmax_by_hand(tiny_backbone, noise):
    backbone = tiny_backbone("vit_tiny_patch16_224", SIZE, **TINY)
    block = backbone.model.blocks[1]
    images = noise(2, 3, *SIZE)
    with recorded_attention() as calls, recorded_input(block) as inputs:
        backbone(images)
    query, key, value = qkv_by_hand(block, inputs[0])
    expected = (query @ key.transpose(-2, -1) / 8**0.5).softmax(-1)
    assert len(calls) == 2
    assert_close(calls[1].weights, expected)
    assert_close(calls[1].value, value)


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_weights_explain_what_the_layer_returned(name, tiny_backbone, noise):
    architecture, options = MODELS[name]
    size = (28, 42) if "patch14" in architecture else SIZE
    backbone = tiny_backbone(architecture, size, depth=2, **options)
    block = backbone.model.blocks[-1]
    outputs = []
    handle = block.attn.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    with recorded_attention() as calls:
        features = backbone(noise(1, 3, *size))
    handle.remove()
    n_tokens = features.prefix.shape[1] + features.cells.shape[1]
    call = calls[-1]
    assert call.weights.shape == (1, block.attn.num_heads, n_tokens, n_tokens)
    assert_close(call.weights.sum(-1), torch.ones(1, block.attn.num_heads, n_tokens))
    mixed = (call.weights @ call.value).transpose(1, 2).flatten(2)
    norm = getattr(block.attn, "norm", None)
    assert_close(block.attn.proj(mixed if norm is None else norm(mixed)), outputs[0])


@torch.inference_mode()
def test_attention_pooling_is_heard_after_the_layers(tiny_backbone, noise):
    backbone = tiny_backbone("vit_base_patch16_siglip_224", SIZE, **TINY)
    trace = backbone.trace(noise(1, 3, *SIZE))
    assert [call.query.shape[2] for call in trace.attention] == [6, 6, 1]
    assert_close(trace.attention[-1].weights.sum(-1), torch.ones(1, 3, 1))


def test_masks_and_scales_are_part_of_the_weights(noise):
    query, key, value = noise(1, 2, 4, 5), noise(1, 2, 4, 5, seed=1), noise(1, 2, 4, 5, seed=2)
    bias = noise(2, 4, 4, seed=3)
    allowed = torch.tensor([True, True, False, True]).expand(4, 4)
    variants = [{"attn_mask": bias}, {"attn_mask": allowed}, {"is_causal": True}, {"scale": 0.3}]
    for options in variants:
        with recorded_attention() as calls:
            output = F.scaled_dot_product_attention(query, key, value, **options)
        assert_close(calls[0].weights @ value, output)


def test_shared_keys_are_repeated_for_their_queries(noise):
    query, key, value = noise(1, 4, 6, 5), noise(1, 2, 6, 5, seed=1), noise(1, 2, 6, 5, seed=2)
    with recorded_attention() as calls:
        output = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert_close(calls[0].weights @ calls[0].value, output)


def attend(noise):
    F.scaled_dot_product_attention(noise(1, 1, 2, 3), noise(1, 1, 2, 3), noise(1, 1, 2, 3))


def test_nothing_is_recorded_outside_the_block(noise):
    with recorded_attention() as calls:
        attend(noise)
    attend(noise)
    assert len(calls) == 1


def test_the_listener_leaves_after_an_error(noise):
    with pytest.raises(RuntimeError, match="planted"), recorded_attention() as calls:
        raise RuntimeError("planted")
    attend(noise)
    assert calls == []


def test_nested_blocks_each_hear_what_happens_in_them(noise):
    with recorded_attention() as outer:
        attend(noise)
        with recorded_attention() as inner:
            attend(noise)
    assert (len(outer), len(inner)) == (2, 1)


def test_other_threads_are_not_heard(noise):
    with recorded_attention() as calls:
        thread = threading.Thread(target=attend, args=(noise,))
        thread.start()
        thread.join()
    assert calls == []


@torch.inference_mode()
def test_listening_leaves_the_model_and_its_answer_unchanged(tiny_backbone, noise):
    backbone = tiny_backbone("vit_tiny_patch16_224", SIZE, **TINY)
    images = noise(1, 3, *SIZE)
    weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    expected = backbone(images).cells
    traced = backbone.trace(images).features.cells
    assert torch.equal(traced, expected)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in backbone.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.modules())


def test_the_input_hook_leaves_after_an_error():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError), recorded_input(layer):
        layer(torch.ones(3))
    assert not layer._forward_pre_hooks
