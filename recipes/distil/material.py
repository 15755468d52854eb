"""What a distillation learns from: photographs, generated scenes, the teacher and its projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import augmented_batch
from .batches import BatchStream
from .pictures import LabeledFiles, read_all, read_all_squashed, split_training
from .rooms import RoomPairs
from .scenes import generate
from .settings import Settings
from .teacher import INPUT_SIZE, Projection, StageComponents, Teacher
from .validation import Validation, recall_at_1

SAMPLE = 512  # photographs over which a stage's principal components are taken


@dataclass(frozen=True)
class Material:
    """Pictures and teacher of both parts of a recipe."""

    teacher: Teacher
    projection: Projection
    train: LabeledFiles
    photographs: list[Tensor]  # uint8 (3, H, W) each
    target: Tensor  # (B, D) projected embeddings of the training photographs
    validation: Validation

    @classmethod
    def read(cls, shared: Path, out: Path, settings: Settings) -> Material:
        """Everything from SHARED; the teacher's embeddings are kept in OUT."""
        teacher = Teacher(shared)
        train, held_out = split_training(shared)
        pooled = pooled_features(teacher, train, out / "teacher_pooled.pt")
        projection = Projection(pooled, settings.student.dims, settings.whitening)
        names = sorted(set(held_out.labels))
        validation = Validation(
            read_all_squashed(held_out.paths, settings.student.input_size),
            torch.tensor([names.index(label) for label in held_out.labels]),
            projection(pooled_features(teacher, held_out, out / "teacher_held_out.pt")),
        )
        recall = recall_at_1(validation.target, validation.labels)
        print(f"teacher's Recall@1 on the held-out classes: {recall:.4f}", flush=True)
        return cls(teacher, projection, train, read_all(train.paths), projection(pooled), validation)


def pooled_features(teacher: Teacher, files: LabeledFiles, path: Path) -> Tensor:
    """The teacher's pooled features (B, 1280) of whole pictures; computed once, kept in PATH."""
    if not path.exists():
        pictures = read_all_squashed(files.paths, INPUT_SIZE)
        torch.save(torch.cat([teacher.pooled(batch.float() / 255) for batch in pictures.split(64)]), path)
    pooled: Tensor = torch.load(path, weights_only=True)
    return pooled


def block_pictures(material: Material, size: tuple[int, int], n_augmented: int, seed: int) -> Tensor:
    """The photographs as they are and augmented ones, in random order: uint8 (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    batches = [read_all_squashed(material.train.paths, size)]
    for _ in range(n_augmented // 64):
        batch = augmented_batch(material.photographs, 64, generator)
        small = F.interpolate(batch, size, mode="bilinear", antialias=True)
        batches.append(small.mul(255).round().byte())
    pictures = torch.cat(batches)
    return pictures[torch.randperm(len(pictures), generator=generator)]


def batch_stream(
    material: Material, out: Path, settings: Settings, grid: tuple[int, int], fine_grid: tuple[int, int]
) -> BatchStream:
    """Batches of the second part. Scenes are generated in OUT at the first call."""
    scenes = generate(out / "scenes", settings.n_rooms, settings.n_paintings)
    paintings = [path for path in scenes if path.name.startswith("painting_")]
    pictures: dict[str, list[Tensor]] = {"paintings": read_all(paintings)}
    for picture, label in zip(material.photographs, material.train.labels, strict=True):
        pictures.setdefault(label.split("/")[0], []).append(picture)
    print({name: len(of_source) for name, of_source in pictures.items()}, flush=True)
    size = settings.student.input_size
    return BatchStream(
        pictures,
        material.teacher,
        material.projection,
        stage_targets=_stage_targets(material, settings, grid),
        teacher_size=settings.teacher_size,
        size=size,
        grid=grid,
        n_fresh=settings.n_fresh,
        seed=settings.seed,
        n_framed=settings.n_framed,
        room_pairs=RoomPairs.read(scenes, size, fine_grid) if settings.n_room_pairs else None,
        n_room_pairs=settings.n_room_pairs,
    )


def _stage_targets(
    material: Material, settings: Settings, grid: tuple[int, int]
) -> Callable[[Sequence[Tensor]], tuple[Tensor, ...]]:
    """Targets made of the teacher's stages: all as they are, or for a hint the components of one."""
    if settings.hint is None:
        return tuple
    paths = material.train.paths
    sample = read_all_squashed(paths[:: max(1, len(paths) // SAMPLE)], INPUT_SIZE)
    batches = (batch.float() / 255 for batch in sample.split(64))
    components = StageComponents(
        material.teacher, settings.hint.teacher_stage, settings.hint.channels, batches
    )
    return lambda stages: (F.interpolate(components(stages), grid, mode="bilinear", antialias=True),)
