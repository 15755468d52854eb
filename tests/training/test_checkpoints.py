"""A kill or a full disk while a checkpoint is written leaves a whole one, and a flipped bit is noticed."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lookalike.errors import TrainingError
from lookalike.training import checkpoints
from lookalike.training.checkpoints import CheckpointClock, SafeCheckpoints, sound_checkpoint
from lookalike.training.run_directory import RunDirectory


def value(path):
    return int(SafeCheckpoints().load_checkpoint(path)["step"])


@pytest.fixture
def path(tmp_path):
    """Two checkpoints: of step 1, the one before, and of step 2."""
    for step in (1, 2):
        SafeCheckpoints().save_checkpoint(
            {"step": step, "weights": torch.arange(1000.0)}, tmp_path / "c.ckpt"
        )
    return tmp_path / "c.ckpt"


def test_the_last_checkpoint_is_taken_and_the_one_before_is_kept(path):
    assert value(sound_checkpoint(path)) == 2 and value(f"{path}{checkpoints.BEFORE}") == 1
    assert sorted(each.name for each in path.parent.iterdir()) == ["c.ckpt", "c.ckpt.before"]


@pytest.mark.parametrize("part", [0.3, 0.6])
def test_a_flipped_bit_makes_the_one_before_the_last(path, part):
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= 1
    path.write_bytes(data)
    assert value(sound_checkpoint(path)) == 1


def test_a_cut_checkpoint_makes_the_one_before_the_last_and_two_damaged_ones_are_an_error(path):
    path.write_bytes(path.read_bytes()[:-100])
    assert value(sound_checkpoint(path)) == 1
    Path(f"{path}{checkpoints.BEFORE}").write_bytes(b"")
    with pytest.raises(TrainingError, match="no other"):
        sound_checkpoint(path)
    assert sound_checkpoint(path.parent / "none.ckpt") is None


@pytest.mark.parametrize("fails", ["fsync", "first rename", "second rename"])
def test_what_fails_while_writing_leaves_a_whole_checkpoint(path, monkeypatch, fails):
    calls = []
    replace = Path.replace

    def no_room(*_):
        raise OSError(28, "No space left on device")

    def renamed(self, target):
        calls.append(target)
        if len(calls) == (1 if fails == "first rename" else 2):
            no_room()
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room) if fails == "fsync" else patch.setattr(Path, "replace", renamed)
        with pytest.raises(OSError, match="No space"):
            SafeCheckpoints().save_checkpoint({"step": 3}, path)
    assert value(sound_checkpoint(path)) == 2
    assert not Path(f"{path}.part").exists()


def test_a_checkpoint_is_due_by_steps_and_by_time(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    clock = CheckpointClock(10)

    def trainer(step):
        return SimpleNamespace(world_size=1, global_step=step, save_checkpoint=lambda _path: None)

    assert [clock.is_due(trainer(step)) for step in (9, 10, 11)] == [False, True, False]
    now[0] = 61.0
    assert clock.is_due(trainer(11))
    clock.save(trainer(11), path)
    assert not clock.is_due(trainer(12))


def test_a_flipped_bit_in_the_weights_of_the_best_epoch_is_noticed(tmp_path):
    folder = RunDirectory(tmp_path)
    folder.keep({"weight": torch.arange(1000.0)})
    assert folder.best_weights()["weight"][-1] == 999 and [p.name for p in tmp_path.iterdir()] == [
        "best.ckpt"
    ]
    data = bytearray(folder.best.read_bytes())
    data[len(data) // 2] ^= 1
    folder.best.write_bytes(data)
    with pytest.raises(TrainingError, match="best epoch is lost"):
        folder.best_weights()
