"""The layers of a backbone, and the place where one begins: to see, replace or skip to what enters it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, final

from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones import Backbone

_STAGES = ("blocks", "stages", "layers", "features")  # what timm calls the layers of a backbone


def layers_of(backbone: Backbone) -> list[nn.Module]:
    """The blocks or stages of a backbone, in order; shares can be had where each begins.

    Raises UnsupportedMethodError for a backbone that has neither.
    """
    model = backbone.model
    for name in _STAGES:
        found = getattr(model, name, None)
        if isinstance(found, nn.Sequential | nn.ModuleList) and len(found):
            larger: list[nn.Module] = [m for m in found if isinstance(m, nn.Sequential | nn.ModuleDict)]
            return larger or list(found)  # DenseNet: without the layers of its stem, which stand beside
    numbered = [getattr(model, f"{start}{i}", None) for start in ("layer", "s") for i in range(1, 5)]
    modules = [module for module in numbered if isinstance(module, nn.Module)]
    if not modules:
        raise UnsupportedMethodError(
            f"the layers of {backbone.architecture} are not known, so only its last layer has shares"
        )
    return modules


def prefix_names(backbone: Backbone) -> tuple[str, ...]:
    """What the tokens before the patches are: "CLS", "distillation", "register 1", ..."""
    model, n = backbone.model, int(backbone.n_prefix_tokens)
    names = [
        name
        for name, attribute in (("CLS", "cls_token"), ("distillation", "dist_token"))
        if getattr(model, attribute, None) is not None
    ][:n]
    return (*names, *(f"register {i}" for i in range(1, n - len(names) + 1)))


def read_layer(layer: int | str) -> int | Literal["last"]:
    """A layer's number, or "last", from what a user writes; raises ValueError for anything else.

    >>> read_layer("3"), read_layer("last")
    (3, 'last')
    """
    if layer == "last":
        return "last"
    try:
        return int(layer)
    except ValueError as error:
        raise ValueError(
            f"layer must be 'last' or a whole number from 0, the first layer; got {layer!r}"
        ) from error


@final
class LayerEntry:
    """Where a layer begins: 0 is the patch embedding or the stem's output, i what enters block i.

    Negative numbers count from the end. Raises UnsupportedMethodError for a number out of range and for
    a backbone whose layers are unknown; ``name`` is the model's, for that message.
    """

    def __init__(self, backbone: Backbone, layer: int, *, name: str) -> None:
        self.blocks = layers_of(backbone)
        n = len(self.blocks)
        if not -n <= layer < n:
            raise UnsupportedMethodError(f"{name} has layers 0 to {n - 1} (or -1 to -{n}); got {layer}")
        self.number = range(n)[layer]
        patches = getattr(backbone.model, "patch_embed", None)
        has_tokens = backbone.n_prefix_tokens is not None and isinstance(patches, nn.Module)
        self.patches = patches if self.number == 0 and has_tokens else None  # before positions are added

    @contextmanager
    def replacing(self, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """What enters the layer is replaced by what the function makes of it; ends with the block."""

        def enter_before(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (change(args[0]), *args[1:])

        def enter_after(_module: nn.Module, _args: Any, output: Any) -> Any:
            first, *rest = output if isinstance(output, tuple) else (output,)
            return (change(first), *rest) if isinstance(output, tuple) else change(first)

        hook = (
            self.blocks[self.number].register_forward_pre_hook(enter_before)
            if self.patches is None
            else self.patches.register_forward_hook(enter_after)
        )
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def starting_at(self, features: Tensor) -> Iterator[None]:
        """The layer runs on these features; the blocks before it hand on what they get."""
        skipped = self.blocks[: self.number]
        with ExitStack() as stack:
            stack.enter_context(self.replacing(lambda _: features))
            for block in skipped:
                stack.callback(block.__dict__.pop, "forward")
                block.forward = _first_argument
            yield


def _first_argument(first: Tensor, *_rest: Any, **_options: Any) -> Tensor:
    return first
