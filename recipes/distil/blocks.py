"""First part of mini's recipe: each block of the student learns what the teacher's block says.

Blocks are trained from the picture upwards, one after the other. A block is given what the student's own
blocks below it produce, so it corrects for their errors; its target is what the teacher's block says of the
same picture. From the middle of the network on, half of a batch are mixtures of features instead of
pictures: the teacher's block is asked for their targets, so the student's block learns the function and not
only its values on the training photographs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .settings import BlockSettings, schedule
from .students import Student
from .teacher import Projection, Teacher

CROP = 96  # pixels; pictures of the early blocks, whose cells see little of a picture
CHUNK = 64  # pictures a forward pass
MIXED = 0.5  # fraction of a batch that are mixtures of features


@dataclass(frozen=True)
class BlockTraining:
    """How one block is trained."""

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
    """A block of the student and its counterpart in the teacher."""

    name: str
    student: nn.Module
    teacher: nn.Module
    is_last: bool


def blocks_of(student: Student, teacher: Teacher, projection: Projection) -> list[Block]:
    """All blocks, from the picture to local features. Both networks have the same channels in between."""
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
class Inputs:
    """Inputs of a block for many pictures, in the student and in the teacher."""

    student: Tensor  # (B, C, h, w) fp16
    teacher: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, student: Student, teacher: Teacher, pictures: Tensor, below: Sequence[Block] = ()) -> Inputs:
        """Outputs of the blocks ``below`` for uint8 pictures (B, 3, H, W)."""
        outputs: tuple[list[Tensor], list[Tensor]] = ([], [])
        for batch in pictures.split(CHUNK):
            own, other = student.normalized(batch.float() / 255), teacher.normalized(batch.float() / 255)
            for block in below:
                own, other = block.student.eval()(own), block.teacher(other)
            outputs[0].append(own.half())
            outputs[1].append(other.half())
        return cls(torch.cat(outputs[0]), torch.cat(outputs[1]))


@torch.inference_mode()
def _run(block: nn.Module, features: Tensor) -> Tensor:
    """Outputs of a block in eval mode, fp16."""
    block.eval()
    return torch.cat([block(_channels_last(x.float())).half() for x in features.split(CHUNK)])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def train_blocks(
    student: Student,
    teacher: Teacher,
    projection: Projection,
    pictures: Tensor,
    held_out: Tensor,
    settings: BlockSettings,
    out: Path,
    seed: int = 0,
) -> None:
    """Train all blocks in turn, in place. Finished ones are kept in ``out``, so a killed run goes on.

    ``pictures`` and ``held_out`` are uint8 RGB (B, 3, H, W).
    """
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    blocks = blocks_of(student, teacher, projection)
    early, late = blocks[: settings.early], blocks[settings.early :]
    crops = _crops(pictures, settings.early_pictures, generator)
    for group, shown, below in ((early, crops, []), (late, pictures, early)):
        training = BlockTraining(settings, is_early=group is early, generator=generator)
        inputs, validation = (Inputs.of(student, teacher, each, below) for each in (shown, held_out))
        for block in group:
            targets, wanted = (_run(block.teacher, each.teacher) for each in (inputs, validation))
            if not _load_finished(block, out):
                begun = time.perf_counter()
                _train(block, inputs.student, targets, training)
                error = relative_error(block, validation.student, wanted)
                _save(block, out, {"error": round(error, 4), "seconds": round(time.perf_counter() - begun)})
            inputs = Inputs(_run(block.student, inputs.student), targets)
            validation = Inputs(_run(block.student, validation.student), wanted)


def load_finished_blocks(student: Student, teacher: Teacher, projection: Projection, out: Path) -> bool:
    """Load the blocks that an earlier run finished; return whether these are all."""
    return all(_load_finished(block, out) for block in blocks_of(student, teacher, projection))


def _load_finished(block: Block, out: Path) -> bool:
    """Load the block if an earlier run finished it; return whether it did."""
    file = out / f"{block.name}.pt"
    if file.exists():
        block.student.load_state_dict(torch.load(file, weights_only=True))
    return file.exists()


def _save(block: Block, out: Path, metrics: dict[str, float]) -> None:
    row = json.dumps({"block": block.name} | metrics)
    print(row, flush=True)
    with (out / "log.jsonl").open("a") as log:
        log.write(row + "\n")
    torch.save(block.student.state_dict(), out / "part")
    (out / "part").replace(out / f"{block.name}.pt")


def _crops(pictures: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Random crops of N random pictures, uint8: (n, 3, CROP, CROP)."""
    chosen = torch.randperm(len(pictures), generator=generator)[:n].tolist()
    limits = [side - CROP + 1 for side in pictures.shape[2:]]
    corners = [[int(torch.randint(limit, (), generator=generator)) for limit in limits] for _ in chosen]
    return torch.stack(
        [pictures[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in zip(chosen, corners, strict=True)]
    )


def _train(block: Block, inputs: Tensor, targets: Tensor, training: BlockTraining) -> None:
    """Train a block to give targets (B, D, h, w) for inputs (B, C, h, w)."""
    settings, generator = training.settings, training.generator
    steps, n = training.steps, training.batch
    scale = _start_at_scale(block, inputs, targets)
    optimizer = torch.optim.AdamW(
        block.student.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            factor = schedule(step, steps, settings.warm_up, settings.decay)
            group["lr"] = settings.learning_rate * factor
        chosen = torch.randint(len(inputs), (n,), generator=generator)
        x, y = _channels_last(inputs[chosen].float()), targets[chosen].float()
        if not training.is_early:
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
def _start_at_scale(block: Block, inputs: Tensor, targets: Tensor) -> Tensor:
    """Standard deviation of each target channel, (1, C, 1, 1); the block's last BatchNorm starts there."""
    sample = targets[:: max(1, len(targets) // 500)].float()
    if block.is_last:
        return sample.square().mean().sqrt().expand(1, sample.shape[1], 1, 1)
    if getattr(block.student, "has_skip", False):
        sample = sample - inputs[:: max(1, len(targets) // 500)].float()
    scale, mean = sample.std((0, 2, 3)), sample.mean((0, 2, 3))
    norm = [layer for layer in block.student.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
    norm.weight.copy_(scale)
    norm.bias.copy_(mean)
    return scale.clamp_min(1e-3)[:, None, None]


def mixed(x: Tensor, generator: torch.Generator) -> Tensor:
    """A batch of features whose first half is mixed: combinations that no picture has.

    Some channels come from another picture, and a fraction of the difference of two more is added.
    """
    n = int(MIXED * len(x))
    here, there, third = (x[torch.randperm(len(x), generator=generator)[:n]] for _ in range(3))
    fraction = torch.rand(n, 1, 1, 1, generator=generator)
    is_own = torch.rand(n, x.shape[1], 1, 1, generator=generator) < fraction
    amount = torch.rand(n, 1, 1, 1, generator=generator) - 0.5
    mixtures = torch.where(is_own, x[:n], here) + amount * (there.flip(2) - third)
    return torch.cat((mixtures, x[n:]))


@torch.inference_mode()
def relative_error(block: Block, inputs: Tensor, targets: Tensor) -> float:
    """Fraction of the variance of the teacher's outputs that the student's block misses."""
    targets = targets.float()
    missed = (_run(block.student, inputs).float() - targets).square().mean()
    return float(missed / (targets - targets.mean((0, 2, 3), keepdim=True)).square().mean())
