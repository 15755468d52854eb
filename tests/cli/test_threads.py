"""Commands take the cores that are free, and leave what the user decided."""

import os

import pytest

from lookalike.cli import threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes a machine of some cores, load and quota."""

    def made(cores, load, quota="max 100000"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
        (tmp_path / "cpu.max").write_text(quota + "\n")
        monkeypatch.setattr(threads.sys, "platform", "linux")

    return made


@pytest.mark.parametrize(
    "cores, load, quota, free",
    [
        (8, 0.0, "max 100000", 8),
        (8, 5.2, "max 100000", 3),
        (2, 12.0, "max 100000", 1),
        (64, 0.1, "150000 100000", 2),
        (4, 0.0, "no numbers here", 4),
    ],
)
def test_free_cores(machine, cores, load, quota, free):
    machine(cores, load, quota)
    assert threads.free_cores() == free


def test_the_users_number_and_training_are_left_alone(machine, monkeypatch):
    machine(4, 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads.choose_threads(["search", "a.jpg"])
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads.choose_threads(["train", "birds/"])
    assert "OMP_NUM_THREADS" not in os.environ
    threads.choose_threads(["search", "a.jpg"])
    assert os.environ.pop("OMP_NUM_THREADS") == "4"
