"""Pictures of concurrent requests share forward passes, and otherwise nothing."""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest
from torch.testing import assert_close

from lookalike.errors import ModelOutputError
from lookalike.gallery import Gallery
from lookalike.web import WebLimits, clients, create_app, model_turns
from lookalike.web.clients import VanishedError
from lookalike.web.model_turns import GatheringRunner, ModelLock
from made_server import serving


@pytest.fixture(scope="module")
def readings(mini):
    noise = np.random.default_rng(0).integers(0, 256, (6, 60, 90, 3), dtype=np.uint8)
    return [mini.read(each) for each in noise]


@pytest.fixture
def batches(monkeypatch):
    """The sizes of the batches that the model ran, and by name what it fails for."""
    sizes, failing = [], set()
    run = model_turns.batched_shares

    def noting(embedder, several):
        sizes.append(len(several))
        if any(id(each) in failing for each in several):
            raise ModelOutputError("the model gives NaN for a picture")
        return run(embedder, several)

    monkeypatch.setattr(model_turns, "batched_shares", noting)
    return sizes, failing


def while_the_model_is_busy(model, runner, several):
    """Ask for the shares of each picture in a thread of its own, all before the model is free."""
    with ThreadPoolExecutor(len(several)) as threads:
        with model.held():
            asked = [threads.submit(copy_context().run, runner.shares, [each]) for each in several]
            until = time.monotonic() + 20
            while len(runner._waiting) < len(several) and time.monotonic() < until:
                time.sleep(0.005)
        return [each.exception() or each.result()[0] for each in asked]


def test_pictures_that_wait_share_a_forward_pass_and_get_what_they_get_alone(mini, readings, batches):
    model = ModelLock()
    found = while_the_model_is_busy(model, GatheringRunner(mini, model, WebLimits()), readings)
    assert batches[0] == [6]
    for each, reading in zip(found, readings, strict=True):
        alone = mini.shares(reading)
        assert each.grid == alone.grid and each.geometry == alone.geometry
        length = float(alone.total.norm())
        assert_close(each.values / length, alone.values / length, rtol=0, atol=1e-6)
        assert_close(each.total / length, alone.total / length, rtol=0, atol=1e-6)


def test_a_batch_is_bounded(mini, readings, batches):
    model = ModelLock()
    while_the_model_is_busy(model, GatheringRunner(mini, model, WebLimits(max_batch=4)), readings)
    assert batches[0] == [4, 2]


def test_a_picture_that_fails_harms_no_other_in_its_batch(mini, readings, batches):
    model = ModelLock()
    batches[1].add(id(readings[1]))
    found = while_the_model_is_busy(model, GatheringRunner(mini, model, WebLimits()), readings[:3])
    assert isinstance(found[1], ModelOutputError)
    assert [each.grid for each in (found[0], found[2])] == [mini.shares(readings[0]).grid] * 2


def test_pictures_whose_client_is_gone_are_left_out(mini, readings, batches):
    model, gone = ModelLock(), threading.Event()
    runner = GatheringRunner(mini, model, WebLimits())
    gone.set()
    token = clients._GONE.set(gone)
    try:
        found = while_the_model_is_busy(model, runner, readings[:2])
    finally:
        clients._GONE.reset(token)
    assert all(isinstance(each, VanishedError) for each in found) and batches[0] == []


def test_who_holds_the_model_runs_at_once(mini, readings, batches):
    model = ModelLock()
    with model.held():
        GatheringRunner(mini, model, WebLimits()).shares(readings[:2])
        assert model.is_mine
    assert batches[0] == [2] and not model.is_mine


def test_a_forward_pass_waits_for_a_picture_that_is_being_read(mini, readings, batches):
    model = ModelLock()
    runner = GatheringRunner(mini, model, WebLimits(gathering_seconds=20))
    with ThreadPoolExecutor(2) as threads:
        with runner.expecting():
            first = threads.submit(runner.shares, readings[:1])
            second = threads.submit(runner.shares, readings[1:2])
            until = time.monotonic() + 20
            while len(runner._waiting) < 2 and time.monotonic() < until:
                time.sleep(0.005)
        assert len(first.result()) == len(second.result()) == 1
    assert batches[0] == [2]


def test_a_search_whose_client_left_while_it_waited_for_its_turn_is_not_made(gallery, records, monkeypatch):
    app = create_app(gallery, limits=WebLimits(max_searches=1))
    started, go_on, searched = threading.Event(), threading.Event(), []
    search = Gallery.search

    def slow(self, query, **options):
        searched.append(query.id)
        started.set()
        assert go_on.wait(20)
        return search(self, query, **options)

    monkeypatch.setattr(Gallery, "search", slow)
    path, kind = "/api/galleries/rooms/search", {"content-type": "application/json"}
    with serving(app) as port:
        first, second, last = (http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(3))
        first.request("POST", path, f'{{"query": "{records[0].id}"}}', kind)
        assert started.wait(20)
        second.request("POST", path, f'{{"query": "{records[1].id}"}}', kind)
        time.sleep(0.5)
        second.close()
        time.sleep(0.5)
        go_on.set()
        assert first.getresponse().status == 200
        last.request("POST", path, f'{{"query": "{records[2].id}"}}', kind)
        assert last.getresponse().status == 200
        for each in (first, last):
            each.close()
    assert searched == [records[0].id, records[2].id]


def test_a_client_that_leaves_in_the_middle_of_its_upload_is_no_error_of_the_server(gallery, caplog):
    with serving(create_app(gallery)) as port:
        leaving = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        leaving.putrequest("POST", "/api/galleries/rooms/search/upload")
        leaving.putheader("content-type", "multipart/form-data; boundary=b")
        leaving.putheader("content-length", "10000")
        leaving.endheaders(
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\nhalf'
        )
        time.sleep(0.2)
        leaving.close()
        counted, until = "", time.monotonic() + 20
        while 'status="499"' not in counted and time.monotonic() < until:
            asking = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            asking.request("GET", "/api/metrics")
            counted = asking.getresponse().read().decode()
            asking.close()
    assert 'search/upload",status="499"} 1.0' in counted
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
