"""The training step and the optimizer, as a Lightning module."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
        _freeze(model, settings)
        self._learning = [p for p in model.backbone.parameters() if p.requires_grad]
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
        rates = {
            "backbone": settings.backbone_rate,
            "head": settings.head_rate,
            "loss": settings.loss_rate,
            "gate": settings.gate_rate or settings.loss_rate,
        }
        groups = [{"params": parts[name], "lr": rates[name], "part": name} for name in parts]
        kinds: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=settings.weight_decay)
        else:
            optimizer = kinds[settings.optimizer](groups, weight_decay=settings.weight_decay)
        schedule = LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Shorten the gradient of each part of the model to ``clip``, if it is longer."""
        for group in optimizer.param_groups if self.settings.clip else ():
            nn.utils.clip_grad_norm_(group["params"], self.settings.clip)

    def rate_factor(self, step: int) -> float:
        """Factor of the learning rates at a step, in [0, 1]."""
        settings, epoch = self.settings, step // self.steps_per_epoch
        if settings.schedule == "step":
            return settings.step_factor ** (max(epoch - settings.warm_up_epochs, 0) // settings.step_epochs)
        if settings.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        return 1.0

    def prepare_step(self) -> None:
        """Freeze or unfreeze BatchNorm and backbone for the next step."""
        self.train()
        if self.settings.freeze_batch_norm:
            for module in _batch_norms(self.model):
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
        gates = self.objective.gate_parameters() if self.settings.gate_rate else []
        apart = {id(parameter) for parameter in gates}
        parts = {
            "backbone": self._learning,
            "head": [p for p in self.model.parameters() if id(p) not in backbone and p.requires_grad],
            "loss": [p for p in self.objective.parameters() if id(p) not in apart],
        }
        return parts | ({"gate": gates} if gates else {})

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


def _freeze(model: Trainable, settings: TrainSettings) -> None:
    """Freeze parameters of the backbone with a name in ``frozen``, and BatchNorm's weights and biases.

    Raises ValueError for a start of a name that no parameter has.
    """
    names = [name.removeprefix("model.") for name, _ in model.backbone.named_parameters()]
    if missing := [start for start in settings.frozen if not any(n.startswith(start) for n in names)]:
        there = ", ".join(sorted({name.split(".")[0] for name in names}))
        raise ValueError(f"no parameter of the backbone begins with {', '.join(missing)}; it has {there}")
    for name, parameter in zip(names, model.backbone.parameters(), strict=True):
        parameter.requires_grad_(not name.startswith(settings.frozen))
    if settings.freeze_batch_norm:
        for module in _batch_norms(model):
            module.requires_grad_(False)


def _batch_norms(module: nn.Module) -> Iterator[nn.Module]:
    return (each for each in module.modules() if isinstance(each, _BatchNorm))


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
