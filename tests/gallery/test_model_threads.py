"""Batches of decoded files are embedded behind the caller, in their order, and none is lost."""

import numpy as np
import pytest
import torch

from lookalike.gallery.embedding import EmbeddedFile, ModelThreads
from lookalike.images import DecodedFile
from lookalike.models.runtimes import CheckedRuntime


@pytest.fixture(params=[1, 2])
def n_cores(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def batches_of(mini, sizes):
    draw = np.random.default_rng(0)
    shape = (*mini.preprocessing.input_size, 3)
    files = [
        DecodedFile(f"/{n}.png", f"{n:064x}", n, n, draw.integers(0, 256, shape, np.uint8), None)
        for n in range(sum(sizes))
    ]
    ends = np.cumsum(sizes)
    return [files[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def test_what_comes_back_is_in_order_and_all_of_it(mini, n_cores):
    model = ModelThreads(mini, keep_shares=False, runtime=None)
    batches = batches_of(mini, (9, 1, 7, 3))
    found = [model.embed(batch) for batch in batches]
    assert [bool(each) for each in found] == [n >= n_cores for n in range(4)]  # so many run at once
    assert [file.path for file in model.files] == [f.path for batch in batches[4 - n_cores :] for f in batch]
    while model.files:
        found.append(model.embed(()))
    results = [each for some in found for each in some]
    assert [each.file.path for each in results] == [f"/{n}.png" for n in range(20)]
    assert all(isinstance(each, EmbeddedFile) and each.file.pixels is None for each in results)
    alone = mini.embed_pixels([file.pixels for batch in batches for file in batch]).numpy()
    np.testing.assert_allclose([each.embedding for each in results], alone, atol=1e-5)
    assert model.embed(()) == []


@pytest.mark.parametrize("kind", ["shares", "runtime"])
def test_what_can_not_run_beside_itself_takes_one_batch_at_a_time(mini, n_cores, kind):
    runtime = CheckedRuntime(mini, "eager") if kind == "runtime" else None
    model = ModelThreads(mini, keep_shares=kind == "shares", runtime=runtime)
    assert model._most == 1


def test_what_is_forgotten_does_not_come_back(mini, n_cores):
    model = ModelThreads(mini, keep_shares=False, runtime=None)
    model.embed(batches_of(mini, (2,))[0])
    model.forget()
    assert model.files == [] and model.embed(()) == []
