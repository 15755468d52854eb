"""Ctrl-C finishes the step and saves it; the resumed training is the training that was never interrupted."""

import os
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

from lookalike.errors import TrainingInterruptedError
from lookalike.training import train_network
from lookalike.training.interrupts import Interrupts


def interrupting_at(*steps):
    def progress(now):
        if now.stage.startswith("epoch") and now.done in steps:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


def test_an_interrupted_training_saves_its_step_and_goes_on_to_the_same_weights(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data
):
    def train(out, **options):
        return train_network(
            tiny_model(),
            proxy_anchor(),
            train_data,
            settings(),
            out=tmp_path / out,
            runtime=runtime(),
            **options,
        )

    handler = signal.getsignal(signal.SIGINT)
    train("whole")
    with pytest.raises(
        TrainingInterruptedError, match="interrupted at step 4; go on with --resume"
    ) as caught:
        train("stopped", progress=interrupting_at(4))
    assert caught.value.step == 4 and signal.getsignal(signal.SIGINT) is handler
    assert torch.load(tmp_path / "stopped" / "checkpoint.ckpt", weights_only=True)["global_step"] == 4
    train("stopped", resume=True)
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_a_second_interrupt_ends_at_once():
    interrupts = Interrupts()
    with pytest.raises(TrainingInterruptedError, match="last checkpoint"), interrupts.noted():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()


def test_a_training_in_a_thread_leaves_signals_alone():
    handlers = []

    def work():
        with Interrupts().noted():
            handlers.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
