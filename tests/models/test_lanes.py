from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike import Embedder
from lookalike.models.lanes import in_lanes, parts_of

ONE = 224 * 224  # pixels


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_are_consecutive_and_of_nearly_equal_size_and_as_many_as_fill_the_lanes(two_threads):
    parts = parts_of(range(9), ONE)
    assert [list(part) for part in parts] == [[0, 1], [2, 3], [4, 5], [6, 7, 8]]


def test_the_larger_the_images_the_fewer_are_in_a_part(two_threads):
    assert [len(parts_of(range(32), (size * ONE) // 4)) for size in (1, 4, 100)] == [2, 8, 32]


def test_a_part_that_fits_is_not_cut(two_threads):
    assert [list(part) for part in parts_of([5, 6, 7], ONE)] == [[5, 6, 7]]


def test_parts_run_at_once_on_one_torch_thread_each_and_answer_in_order(two_threads):
    together = threading.Barrier(2, timeout=10)

    def work(part: int) -> tuple[int, int]:
        together.wait()  # breaks unless two parts run at the same time
        return part, torch.get_num_threads()

    assert in_lanes(work, [3, 1, 2, 0]) == [(3, 1), (1, 1), (2, 1), (0, 1)]


def test_threads_that_start_later_keep_the_number_of_torch_threads(two_threads):
    in_lanes(abs, [1, 2])
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert (torch.get_num_threads(), seen) == (2, [2])


def test_an_error_of_a_part_is_raised(two_threads):
    with pytest.raises(ZeroDivisionError):
        in_lanes(lambda part: 1 // part, [1, 0, 2])


@pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "darwin", reason="processes are not forked here"
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_lanes_of_its_own(two_threads):
    in_lanes(abs, [1, 2])
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(2)
            os._exit(0 if in_lanes(abs, [-1, -2]) == [1, 2] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_embeddings_of_a_batch_in_lanes_are_those_of_each_image_alone(mini: Embedder, two_threads):
    height, width = mini.preprocessing.input_size
    noise = np.random.default_rng(0).integers(0, 256, (9, height, width, 3), np.uint8)
    alone = torch.cat([mini.embed_pixels([image]) for image in noise])
    assert_close(mini.embed_pixels(list(noise)), alone, rtol=0, atol=1e-6)
