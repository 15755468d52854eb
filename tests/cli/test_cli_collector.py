"""The collector rests while libraries are imported, and then looks again."""

import gc
import time

import pytest

from lookalike.cli.collector import let_collector_rest


@pytest.fixture(autouse=True)
def as_before():
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


def test_the_collector_rests_for_a_while():
    gc.enable()
    let_collector_rest(0.2)
    assert not gc.isenabled()
    end = time.monotonic() + 20
    while not gc.isenabled() and time.monotonic() < end:
        time.sleep(0.02)
    assert gc.isenabled()


def test_a_collector_that_was_disabled_before_stays_so():
    gc.disable()
    let_collector_rest(0.01)
    time.sleep(0.1)
    assert not gc.isenabled()
