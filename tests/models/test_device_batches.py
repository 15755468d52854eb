"""Batches by the memory of a device: with a network that runs out of memory on the processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike import Embedder
from lookalike.errors import DeviceMemoryError, UnknownNameError
from lookalike.images import Preprocessing, normalize
from lookalike.models.device_batches import DeviceBatches, images_that_fit, to_device
from lookalike.models.devices import choose_device

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 3, 5, 3), np.uint8)
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"


@pytest.fixture
def own(mini: Embedder) -> Embedder:
    """An embedder on the weights of ``mini`` whose batches no other test sees."""
    return Embedder.of(mini.as_loaded(), device="cpu")


class Memory:
    """Work that gives each image's sum, for as many images as there is memory for."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.error, self.sizes = room, error or torch.OutOfMemoryError(OUT_OF_MEMORY), []

    def __call__(self, pixels):
        self.sizes.append(len(pixels))
        if len(pixels) > self.room:
            raise self.error
        return torch.from_numpy(pixels).sum((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    "error",
    [None, MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x")],
)
def test_a_batch_for_which_memory_lacks_is_halved_and_gives_the_same(error):
    batches, work = DeviceBatches(CPU), Memory(3, error)
    assert torch.equal(batches.run(work, PIXELS), Memory(99)(PIXELS))
    assert work.sizes == [11, 5, 2, 2, 2, 2, 2, 1]
    work.sizes.clear()
    batches.run(work, PIXELS)
    assert work.sizes[0] == 2  # it is not tried again


def test_no_memory_for_one_image_is_one_sentence():
    with pytest.raises(DeviceMemoryError, match=r"memory of cpu .* 3 x 5 pixels \(CUDA out of memory\); end"):
        DeviceBatches(CPU).run(Memory(0), PIXELS)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="sizes differ"):
        DeviceBatches(CPU).run(Memory(0, RuntimeError("sizes differ")), PIXELS)


@pytest.mark.parametrize(("taken", "expected"), [(320, 96), (3200, 32), (1, 256), (0, 256)])
def test_as_many_images_as_fit_into_four_fifths_of_the_free_memory(taken, expected):
    assert images_that_fit(32, taken, 1200) == expected  # bytes


def test_pixels_are_normalized_on_a_device_bit_for_bit():
    preprocessing = Preprocessing("squash", (3, 5), mean=(0.1, 0.5, 0.7), std=(0.2, 0.3, 0.9))
    assert torch.equal(
        to_device(PIXELS, preprocessing, CPU), torch.from_numpy(normalize(PIXELS, preprocessing))
    )


def test_an_embedder_that_runs_out_of_memory_gives_the_same_embeddings(own, monkeypatch):
    height, width = own.preprocessing.input_size
    noise = list(np.random.default_rng(0).integers(0, 256, (7, height, width, 3), np.uint8))
    expected, forward = own.embed_pixels(noise), type(own.network).forward

    def forward_of_two(network, images):
        if len(images) > 2:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return forward(network, images)

    monkeypatch.setattr(type(own.network), "forward", forward_of_two)
    assert_close(own.embed_pixels(noise), expected, rtol=0, atol=1e-6)
    assert own.images_at_once <= 2


def test_shares_without_memory_for_them_are_one_sentence(own, pictures, monkeypatch):
    def fail(*_args, **_options):
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    monkeypatch.setattr(type(own.network), "shares", fail)
    with pytest.raises(DeviceMemoryError, match="does not suffice for one image"):
        own.shares(pictures[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_maps_are_in_fp32_whatever_the_precision(mini: Embedder, pictures, precision):
    rounded = Embedder.of(mini.as_loaded(), device="cpu", precision=precision)
    exact, embeddings = mini.embed(pictures), rounded.embed(pictures)
    assert embeddings.dtype == torch.float32 and not torch.equal(embeddings, exact)
    assert (embeddings * exact).sum(1).min() > 0.98
    assert torch.equal(rounded.shares(pictures[0]).values, mini.shares(pictures[0]).values)


def test_devices_that_are_not_there_are_named():
    with pytest.raises(UnknownNameError, match="device is auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(UnknownNameError, match="device cuda:99 is a GPU, and torch"):
        choose_device("cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_pixels_are_the_same_bits_and_the_first_batch_tells_how_many_fit():
    preprocessing, gpu = Preprocessing("squash", (3, 5)), torch.device("cuda")
    assert torch.equal(
        to_device(PIXELS, preprocessing, gpu).cpu(), torch.from_numpy(normalize(PIXELS, preprocessing))
    )
    batches = DeviceBatches(gpu)
    many = np.repeat(PIXELS, 3, axis=0)
    batches.run(lambda some: torch.from_numpy(some).to(gpu).float().sum((1, 2, 3))[:, None], many)
    assert batches.most > 32
