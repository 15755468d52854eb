"""Trains one step of plain gradient descent with each loss: two_processes.py DATA OUT DEVICES.

Lightning starts this very script again for the second process.
"""

import sys
from pathlib import Path

import torch

from lookalike.datasets import read_dataset
from lookalike.models.loading import from_timm
from lookalike.training import EmbeddingLoss, RuntimeOptions, TrainableEmbedding, TrainSettings, train_network

LOSSES = ("proxy-anchor", "margin")  # margin: what is drawn at random must be the same everywhere
SETTINGS = TrainSettings(
    epochs=1, batch_size=20, images_per_class=0, optimizer="sgd", weight_decay=0.0, clip=0.0,
    backbone_rate=0.1, head_rate=0.1, loss_rate=0.1, schedule="constant", warm_up_epochs=0,
    input_size=(32, 48),
)  # fmt: skip


def start(n_classes, loss):
    torch.manual_seed(0)
    network = from_timm("mobilenetv2_035", pretrained=False, input_size=(32, 48))
    return TrainableEmbedding.of(network, dims=6), EmbeddingLoss(loss, n_classes=n_classes, dims=6)


def train(data, out, devices):
    images = read_dataset(Path(data), "train")
    for loss in LOSSES:
        runtime = RuntimeOptions(devices=devices, accelerator="cpu")
        train_network(
            *start(len(images.classes), loss), images, SETTINGS, out=Path(out) / loss, runtime=runtime
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1], sys.argv[2], int(sys.argv[3]))
