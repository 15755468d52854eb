"""The training step and the optimizer, as a Lightning module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from lookalike.errors import TrainingError
from lookalike.training.batches import Batches
from lookalike.training.objective import Objective, Output
from lookalike.training.pictures import TrainingPictures
from lookalike.training.seeds import seed_of
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable


@final
class TrainingLoop(L.LightningModule):  # type: ignore[misc]
    """One network and one objective; all randomness in a step follows from seed and step."""

    def __init__(
        self,
        model: Trainable,
        objective: Objective,
        settings: TrainSettings,
        pictures: TrainingPictures,
        *,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.settings = model, objective, settings
        self._pictures, self._workers = pictures, workers
        self.steps_per_epoch = self._batches().steps_per_epoch
        self.steps = self.steps_per_epoch * settings.epochs
        self._learning = _learning_parameters(model, settings.frozen)
        self.last_terms: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The remaining batches of the training, for this process."""
        batches = self._batches(
            first_step=self.global_step, process=self.global_rank, n_processes=self.trainer.world_size
        )
        return DataLoader(self._pictures, batch_sampler=batches, num_workers=self._workers)  # type: ignore[arg-type]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """The loss of one batch, whose outputs are gathered from all processes first."""
        images, labels = batch
        self._seed(self.global_rank + 1)
        output = self.model(images)
        output, labels = self._joined(output), self._gathered(labels)
        self._seed(0)  # the same in every process, so that all mine the same pairs
        with torch.autocast(images.device.type, enabled=False):
            terms = self.objective(output, labels)
        loss: Tensor = torch.stack(list(terms.values())).sum()
        self.last_terms = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(float(loss.detach())):
            described = ", ".join(f"{name} {value:g}" for name, value in self.last_terms.items())
            raise TrainingError(
                f"the loss became {float(loss.detach())} at step {self.global_step + 1} of {self.steps} "
                f"({described}); lower the learning rates or clip the gradient, and check the data"
            )
        return loss

    def configure_optimizers(self) -> Any:
        """The optimizer, with a learning rate for each part of the model, and the schedule."""
        settings, parts = self.settings, self._parts()
        groups = [
            {"params": parts["backbone"], "lr": settings.backbone_rate},
            {"params": parts["head"], "lr": settings.head_rate},
            {"params": parts["loss"], "lr": settings.loss_rate},
        ]
        kinds: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=settings.weight_decay)
        else:
            optimizer = kinds[settings.optimizer](groups, weight_decay=settings.weight_decay)
        schedule = LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rates at a step, in [0, 1]."""
        settings, epoch = self.settings, step // self.steps_per_epoch
        if settings.schedule == "step":
            return settings.step_factor ** (epoch // settings.step_epochs)
        if settings.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        return 1.0

    def prepare_step(self) -> None:
        """Freeze or unfreeze BatchNorm and backbone for the next step."""
        self.train()
        if self.settings.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        warm = self.global_step >= self.settings.warm_up_epochs * self.steps_per_epoch
        for parameter in self._learning:
            parameter.requires_grad_(warm)

    def _batches(self, **share: int) -> Batches:
        settings = self.settings
        return Batches(
            self._pictures.codes,
            batch_size=settings.batch_size,
            images_per_class=settings.images_per_class,
            epochs=settings.epochs,
            seed=settings.seed,
            **share,
        )

    def _parts(self) -> dict[str, list[nn.Parameter]]:
        backbone = {id(parameter) for parameter in self.model.backbone.parameters()}
        head = [p for p in self.model.parameters() if id(p) not in backbone]
        return {"backbone": self._learning, "head": head, "loss": list(self.objective.parameters())}

    def _joined(self, output: Output) -> Output:
        if isinstance(output, Tensor):
            return self._gathered(_single(output))
        joined = [self._gathered(_single(tensor)) for tensor in output]
        # a NamedTuple is made from its fields, a plain tuple from one sequence
        return type(output)(*joined) if hasattr(output, "_fields") else tuple(joined)

    def _gathered(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors of all processes, keeping gradients."""
        if self.trainer.world_size == 1:
            return tensor
        gathered: Tensor = self.all_gather(tensor, sync_grads=tensor.is_floating_point())
        return gathered.flatten(0, 1)

    def _seed(self, stream: int) -> None:
        torch.manual_seed(seed_of(self.settings.seed, self.global_step, stream))


def _learning_parameters(model: Trainable, frozen: Sequence[str]) -> list[nn.Parameter]:
    """Freeze the backbone's parameters whose names have a prefix in ``frozen``; return the others."""
    learning, matched = [], set()
    for name, parameter in model.backbone.named_parameters():
        hits = [start for start in frozen if name.removeprefix("model.").startswith(start)]
        matched.update(hits)
        parameter.requires_grad_(not hits)
        if not hits:
            learning.append(parameter)
    if missing := [start for start in frozen if start not in matched]:
        names = sorted(
            {name.removeprefix("model.").split(".")[0] for name, _ in model.backbone.named_parameters()}
        )
        raise ValueError(
            f"no parameter of the backbone begins with {', '.join(missing)}; it has {', '.join(names)}"
        )
    return learning


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
