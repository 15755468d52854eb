"""Make the bundled model ``mini-vit``: distil the ImageNet MobileNetV2 into a small transformer, on a CPU.

    uv run python recipes/mini-vit/train.py --shared ../shared --out runs/mini-vit

Pictures, augmentation, teacher and the fit of the head are those of ``recipes/mini``. Run the same
command again after an interruption: it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from student import Architecture, Student, export
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "mini"))  # after this folder: `student` is ours

from distillation import Lesson, Lessons, losses, prepared_ahead
from generated_scenes import generate
from pictures import LabeledFiles, read_all, read_all_squashed, shared_default, split_training
from refit import pooled_channels, refit_head
from teacher import INPUT_SIZE, Interfaces, Projection, Teacher
from validation import Validation

SAVED = Path(__file__).parents[2] / "src/lookalike/models/bundled/mini-vit"
HINT_WEIGHT = 0.3
TEACHER_CHANNELS = (16, 24, 32, 64, 96, 160, 192)  # kept of its stages; the last has 320
TOLD_STAGE = 6  # of the teacher: its last


@dataclass(frozen=True)
class Settings:
    """The whole recipe in numbers; saved beside the model."""

    steps: int = 800
    warm_up: int = 60  # steps of rising learning rate
    decay: float = 0.6  # share of the steps, at the end, over which the learning rate falls to zero
    n_fresh: int = 32  # new pictures a step; as many are seen again
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    averaging: float = 0.995  # of the weights that are exported
    whitening: float = 0.25  # of the target, as for mini
    seed: int = 1
    check_every: int = 200

    def rate(self, step: int) -> float:
        """Learning rate: rise, stay, fall."""
        falling = (self.steps - step) / (self.decay * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up, max(falling, 1e-3))


@dataclass(frozen=True)
class Course:
    """What is taught, and by what the outcome is judged."""

    lessons: Lessons
    validation: Validation
    whole: Tensor  # uint8, the training photographs at the student's input size
    target: Tensor  # what the teacher says of them


def pooled_features(teacher: Teacher, files: LabeledFiles, path: Path) -> Tensor:
    """The teacher's pooled maps of whole photographs; computed once, kept in PATH."""
    if not path.exists():
        pictures = read_all_squashed(files.paths, INPUT_SIZE)
        torch.save(torch.cat([teacher.pooled(batch.float() / 255) for batch in pictures.split(64)]), path)
    return torch.load(path, weights_only=True)


def prepare(shared: Path, out: Path, architecture: Architecture, settings: Settings) -> Course:
    """Read all pictures, generate the scenes, ask the teacher for the target's statistics."""
    teacher = Teacher(shared)
    train, held_out = split_training(shared)
    pooled = pooled_features(teacher, train, out / "teacher_pooled.pt")
    projection = Projection(pooled, architecture.dims, settings.whitening)
    paintings = [path for path in generate(out / "scenes") if path.name.startswith("painting_")]
    pictures: dict[str, list[Tensor]] = {"paintings": read_all(paintings)}
    for picture, label in zip(read_all(train.paths), train.labels, strict=True):
        pictures.setdefault(label.split("/")[0], []).append(picture)
    sample = read_all_squashed(train.paths[:: len(train.paths) // 512], INPUT_SIZE)
    interfaces = Interfaces(teacher, TEACHER_CHANNELS, (batch.float() / 255 for batch in sample.split(64)))
    grid = (architecture.input_size[0] // 16, architecture.input_size[1] // 16)

    def told(stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        kept = interfaces(stages)[TOLD_STAGE - interfaces.first]
        return (F.interpolate(kept, grid, mode="bilinear", antialias=True),)

    lessons = Lessons(
        pictures,
        teacher,
        projection,
        told,
        teacher_size=INPUT_SIZE,
        size=architecture.input_size,
        grid=grid,
        n_fresh=settings.n_fresh,
        seed=settings.seed,
    )
    names = sorted(set(held_out.labels))
    validation = Validation(
        read_all_squashed(held_out.paths, architecture.input_size),
        torch.tensor([names.index(label) for label in held_out.labels]),
        projection(pooled_features(teacher, held_out, out / "teacher_held_out.pt")),
    )
    whole = read_all_squashed(train.paths, architecture.input_size)
    return Course(lessons, validation, whole, projection(pooled))


class Run:
    """The state that a checkpoint holds: network, averaged network, optimizer, step."""

    def __init__(self, out: Path, architecture: Architecture, settings: Settings, saved: Path) -> None:
        torch.manual_seed(settings.seed)
        self.out, self.architecture, self.settings = out, architecture, settings
        self.network = Student(architecture, saved).train()
        self.averaged = Student(architecture, saved).requires_grad_(False)
        self.averaged.load_state_dict(self.network.state_dict())
        learning = [p for p in self.network.parameters() if p.requires_grad]
        matrices = [p for p in learning if p.ndim > 1]
        vectors = [p for p in learning if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self.step, self.seconds = 0, 0.0
        if (out / "checkpoint.pt").exists():
            state = torch.load(out / "checkpoint.pt", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Checkpoint and export; complete or not at all."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").replace(self.out / "checkpoint.pt")
        export(self.averaged, self.architecture, self.out / "export")

    def learn(self, lesson: Lesson) -> dict[str, float]:
        """One step; the parts of its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        with torch.autocast("cpu", torch.bfloat16):
            said, local = self.network.with_hints(lesson.pictures)
        parts = losses([hint.float() for hint in said], local.float(), lesson, HINT_WEIGHT)
        self.optimizer.zero_grad()
        sum(parts.values()).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        keep = min(self.settings.averaging, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        self.step += 1
        return {name: float(part.detach()) for name, part in parts.items()}


def train(shared: Path, out: Path, settings: Settings, saved: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    architecture = Architecture()
    (out / "settings.json").write_text(json.dumps(asdict(settings) | asdict(architecture), indent=2) + "\n")
    course = prepare(shared, out, architecture, settings)
    run = Run(out, architecture, settings, saved)
    learn(run, prepared_ahead(course.lessons.from_step(run.step)), course.validation)
    channels = pooled_channels(run.averaged, (batch.float() / 255 for batch in course.whole.split(64)))
    refit_head(run.averaged, channels, course.target)
    export(run.averaged, architecture, out / "export")
    report({"step": run.step} | rounded(course.validation.check(run.averaged)), out / "refit.jsonl")


def learn(run: Run, lessons: Iterator[Lesson], validation: Validation) -> None:
    """All steps that are left; metrics to log.jsonl."""
    sums: dict[str, float] = {}
    begun, n = time.perf_counter(), 0
    while run.step < run.settings.steps:
        for name, value in run.learn(next(lessons)).items():
            sums[name] = sums.get(name, 0.0) + value
        n += 1
        if run.step % 50 and run.step < run.settings.steps:
            continue
        run.seconds += time.perf_counter() - begun
        begun = time.perf_counter()
        row: dict[str, float] = {
            "step": run.step,
            "steps": run.settings.steps,
            "seconds": round(run.seconds),
        }
        row |= rounded({name: value / n for name, value in sums.items()})
        sums, n = {}, 0
        if run.step % run.settings.check_every == 0 or run.step == run.settings.steps:
            row |= rounded(validation.check(run.averaged))
            run.save()
        report(row, run.out / "log.jsonl")


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def report(row: dict[str, float], path: Path) -> None:
    print(json.dumps(row), flush=True)
    with path.open("a") as log:
        log.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=shared_default(), help="data and teacher weights")
    parser.add_argument("--out", type=Path, default=Path("runs/mini-vit"))
    parser.add_argument("--steps", type=int, default=Settings().steps)
    parser.add_argument("--stem", type=Path, default=SAVED, help="the saved model whose stem is taken")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    train(arguments.shared, arguments.out, Settings(steps=arguments.steps), arguments.stem)


if __name__ == "__main__":
    main()
