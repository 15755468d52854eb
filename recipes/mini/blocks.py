"""The first part of the recipe: each of the student's blocks learns what the teacher's block says.

From the picture upwards, one block after the other. A block hears the student's own blocks below it and
answers for their errors; what it has to say is what the teacher says of the same picture. From the
middle of the network on, half of a batch are no pictures but mixtures of features: there the teacher's
block is asked what it makes of them, so that the student's learns the function and not only its values
on the training photographs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from student import Student
from teacher import Projection, Teacher
from torch import Tensor, nn

CROP = 96  # pixels; pictures of the early blocks, whose cells see little of a picture
CHUNK = 64  # pictures a forward pass
MIXED = 0.5  # share of a batch that are mixtures of features


@dataclass(frozen=True)
class BlockSettings:
    """How long the blocks learn, one after the other."""

    early: int = 6  # blocks that learn from crops, and from pictures only
    early_pictures: int = 4000
    early_steps: int = 1600
    late_steps: int = 6000
    early_batch: int = 24
    late_batch: int = 32
    learning_rate: float = 0.015
    warm_up: int = 100

    def rate(self, step: int, steps: int) -> float:
        """Rise, stay, fall to zero over the last six tenths."""
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up, (steps - step) / (0.6 * steps))


@dataclass(frozen=True)
class Course:
    """How one block learns."""

    settings: BlockSettings
    is_early: bool
    generator: torch.Generator

    @property
    def steps(self) -> int:
        return self.settings.early_steps if self.is_early else self.settings.late_steps

    @property
    def batch(self) -> int:
        return self.settings.early_batch if self.is_early else self.settings.late_batch


@dataclass(frozen=True)
class Block:
    """A block of the student's and the teacher's that says the same thing."""

    name: str
    student: nn.Module
    teacher: nn.Module
    is_last: bool


def blocks_of(student: Student, teacher: Teacher, projection: Projection) -> list[Block]:
    """All blocks, from the picture to local features; student and teacher have as many channels between."""
    own, other = student.backbone, teacher.network
    head = nn.Conv2d(projection.weight.shape[1], projection.weight.shape[0], 1)
    head.weight.data, head.bias.data = projection.weight[:, :, None, None], projection.bias
    blocks = [
        Block(
            "stem",
            nn.Sequential(own.conv_stem, own.bn1, own.blocks[0]),
            nn.Sequential(other.conv_stem, other.bn1, other.blocks[0]),
            False,
        )
    ]
    for i in range(1, len(own.blocks)):
        for j, (mine, theirs) in enumerate(zip(own.blocks[i], other.blocks[i], strict=True)):
            blocks.append(Block(f"{i}.{j}", mine, theirs, False))
    blocks.append(
        Block(
            "head",
            nn.Sequential(own.conv_head, own.bn2, student.head),
            nn.Sequential(other.conv_head, other.bn2, head).requires_grad_(False),
            True,
        )
    )
    return blocks


@dataclass(frozen=True)
class Bank:
    """Pictures as the student hears them before a block, and as the teacher hears them."""

    student: Tensor  # (B, C, h, w) fp16
    teacher: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, student: Student, teacher: Teacher, pictures: Tensor, below: Sequence[Block] = ()) -> Bank:
        """uint8 pictures (B, 3, H, W) after some first blocks."""
        heard: tuple[list[Tensor], list[Tensor]] = ([], [])
        for batch in pictures.split(CHUNK):
            own, other = student.normalized(batch.float() / 255), teacher.normalized(batch.float() / 255)
            for block in below:
                own, other = block.student.eval()(own), block.teacher(other)
            heard[0].append(own.half())
            heard[1].append(other.half())
        return cls(torch.cat(heard[0]), torch.cat(heard[1]))


@torch.inference_mode()
def _through(block: nn.Module, features: Tensor) -> Tensor:
    block.eval()
    return torch.cat([block(_channels_last(part.float())).half() for part in features.split(CHUNK)])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def learn_blocks(
    student: Student,
    teacher: Teacher,
    projection: Projection,
    pictures: Tensor,
    held_out: Tensor,
    settings: BlockSettings,
    out: Path,
    seed: int = 0,
) -> None:
    """All blocks in turn, in place; ``out`` keeps what is finished, so a killed run goes on.

    ``pictures`` and ``held_out`` are uint8 RGB (B, 3, H, W).
    """
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    blocks = blocks_of(student, teacher, projection)
    early, late = blocks[: settings.early], blocks[settings.early :]
    crops = _crops(pictures, settings.early_pictures, generator)
    for some, shown, below in ((early, crops, []), (late, pictures, early)):
        course = Course(settings, is_early=some is early, generator=generator)
        bank, kept_out = (Bank.of(student, teacher, some_of, below) for some_of in (shown, held_out))
        for block in some:
            answers = [_through(block.teacher, x.teacher) for x in (bank, kept_out)]
            if not _recalled(block, out):
                begun = time.perf_counter()
                _learn(block, bank.student, answers[0], course)
                error = relative_error(block, kept_out.student, answers[1])
                _remember(
                    block, out, {"error": round(error, 4), "seconds": round(time.perf_counter() - begun)}
                )
            bank, kept_out = (
                Bank(_through(block.student, x.student), y)
                for x, y in zip((bank, kept_out), answers, strict=True)
            )


def recall_blocks(student: Student, teacher: Teacher, projection: Projection, out: Path) -> bool:
    """Whether an earlier run had finished all blocks; their weights are then taken."""
    return all(_recalled(block, out) for block in blocks_of(student, teacher, projection))


def _recalled(block: Block, out: Path) -> bool:
    """Whether an earlier run had finished this block; its weights are then taken."""
    file = out / f"{block.name}.pt"
    if file.exists():
        block.student.load_state_dict(torch.load(file, weights_only=True))
    return file.exists()


def _remember(block: Block, out: Path, metrics: dict[str, float]) -> None:
    row = json.dumps({"block": block.name} | metrics)
    print(row, flush=True)
    with (out / "log.jsonl").open("a") as log:
        log.write(row + "\n")
    torch.save(block.student.state_dict(), out / "part")
    (out / "part").replace(out / f"{block.name}.pt")


def _crops(pictures: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Parts of the first N pictures in random order: (n, 3, CROP, CROP)."""
    chosen = torch.randperm(len(pictures), generator=generator)[:n].tolist()
    limits = [side - CROP + 1 for side in pictures.shape[2:]]
    corners = [[int(torch.randint(limit, (), generator=generator)) for limit in limits] for _ in chosen]
    return torch.stack(
        [pictures[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in zip(chosen, corners, strict=True)]
    )


def _learn(block: Block, heard: Tensor, wanted: Tensor, course: Course) -> None:
    """WANTED (B, D, h, w) of HEARD (B, C, h, w), as the course has it."""
    settings, generator = course.settings, course.generator
    steps, n = course.steps, course.batch
    scale = _start_at_scale(block, heard, wanted)
    optimizer = torch.optim.AdamW(
        block.student.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step, steps)
        chosen = torch.randint(len(heard), (n,), generator=generator)
        x, y = _channels_last(heard[chosen].float()), wanted[chosen].float()
        if not course.is_early:
            x = mixed(x, generator)
            with torch.inference_mode():
                answers = block.teacher(x[: int(MIXED * n)])
            y = torch.cat((answers, y[len(answers) :]))
        block.student.train()
        loss = ((block.student(x) - y) / scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _start_at_scale(block: Block, heard: Tensor, wanted: Tensor) -> Tensor:
    """How far each channel of the answer varies, (1, C, 1, 1); a block's last BatchNorm starts there."""
    sample = wanted[:: max(1, len(wanted) // 500)].float()
    if block.is_last:
        return sample.square().mean().sqrt().expand(1, sample.shape[1], 1, 1)
    if getattr(block.student, "has_skip", False):
        sample = sample - heard[:: max(1, len(wanted) // 500)].float()
    scale, mean = sample.std((0, 2, 3)), sample.mean((0, 2, 3))
    norm = [layer for layer in block.student.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
    norm.weight.copy_(scale)
    norm.bias.copy_(mean)
    return scale.clamp_min(1e-3)[:, None, None]


def mixed(x: Tensor, generator: torch.Generator) -> Tensor:
    """The first half of a batch of features in other company, as no picture would have them.

    Some channels come from another picture, and the difference of two more is added in part.
    """
    n = int(MIXED * len(x))
    here, there, third = (x[torch.randperm(len(x), generator=generator)[:n]] for _ in range(3))
    share = torch.rand(n, 1, 1, 1, generator=generator)
    own = torch.rand(n, x.shape[1], 1, 1, generator=generator) < share
    amount = torch.rand(n, 1, 1, 1, generator=generator) - 0.5
    queries = torch.where(own, x[:n], here) + amount * (there.flip(2) - third)
    return torch.cat((queries, x[n:]))


@torch.inference_mode()
def relative_error(block: Block, heard: Tensor, wanted: Tensor) -> float:
    """Of the variance of what the teacher says, the part that the student misses."""
    wanted = wanted.float()
    missed = (_through(block.student, heard).float() - wanted).square().mean()
    return float(missed / (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean())
