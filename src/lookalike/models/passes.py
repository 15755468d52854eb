"""Forward passes that split similarities over the cells of the last layer or of an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, final

import torch
from torch import Tensor

from lookalike.errors import UnknownNameError, check_name
from lookalike.models.backbones import Backbone
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass
from lookalike.models.last_pass import LastPass
from lookalike.models.layers import read_layer
from lookalike.models.located import LocatedShares
from lookalike.models.secant_pass import Reference, SecantPass
from lookalike.ops.regrid import regrid
from lookalike.types import Reading

_REFERENCES: dict[str, tuple[Reference, ...]] = {
    "none": (), "mean": ("mean",), "blur": ("blur",), "both": ("mean", "blur")
}  # fmt: skip


class SharesPass(Protocol):
    """The forward pass of one image, to be split over cells for any number of directions."""

    unit: Tensor  # (D,) float64, unit length: the embedding

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D)."""
        ...


@dataclass(frozen=True)
class SharesForm:
    """Where a similarity is split, and what the image is compared with.

    ``reference`` is "mean", "blur" or "both" for a secant pass, "none" for the network held as it was.
    ``with_last`` averages a secant pass with the account of the last layer.
    """

    layer: int | Literal["last"] = "last"  # "last": the cells that enter the pooling
    reference: str = "none"
    with_last: bool = False

    @property
    def has_reference(self) -> bool:
        """Whether the image is compared with itself without detail."""
        return self.reference != "none"

    @property
    def words(self) -> str:
        """The form for people."""
        if self.layer == "last":
            return "the last layer"
        what = {"none": "held as it was", "both": "against its mean color and a blur"}.get(
            self.reference, f"against its {'mean color' if self.reference == 'mean' else 'blur'}"
        )
        return f"layer {self.layer}, {what}{', and the last layer' if self.with_last else ''}"


def shares_form(
    embedder: Embedder,
    layer: int | str | None = None,
    reference: str | None = None,
    with_last: bool | None = None,
) -> SharesForm:
    """The form of these options; what is left out is the default of the model's family.

    ``layer`` is "last" or counts blocks and stages as ``FrozenPass``, -1 is the last one; ``reference``
    is "mean", "blur", "both" or "none". Raises ValueError for a layer that is no number, and
    UnknownNameError for another reference and for options that exclude each other.
    """
    if reference is not None:
        check_name("reference", reference, _REFERENCES)
    if layer == "last" and (with_last or reference not in (None, "none")):
        raise UnknownNameError("the last layer is split without a reference; name another layer, such as -1")
    if with_last and (reference == "none" or (reference is None and layer is not None)):
        raise UnknownNameError("with_last averages two accounts; give reference mean, blur or both")
    if layer is None:
        usual = default_form(embedder)
        if reference is None and with_last is None:
            return usual
        layer, reference = usual.layer, reference or usual.reference
    return SharesForm(read_layer(layer), reference or "none", bool(with_last))


def default_form(embedder: Embedder) -> SharesForm:
    """The mean of the last layer's account and the one against both references (docs/decisions/004).

    A checkpoint of the papers that publish maps of the last layer keeps that.
    """
    backbone = embedder.network.backbone
    if embedder.has_published_maps or not isinstance(backbone, Backbone):
        return SharesForm()
    has_tokens = hasattr(backbone.model, "patch_embed") and hasattr(backbone.model, "blocks")
    return SharesForm(0 if has_tokens else -1, "both", with_last=True)


def open_pass(embedder: Embedder, reading: Reading, form: SharesForm) -> SharesPass:
    """One image, run so that similarities can be split in this form. Raises UnsupportedMethodError."""
    if form.layer == "last":
        return LastPass(embedder.shares(reading))
    if form.reference == "none":
        return FrozenPass(embedder, reading, layer=form.layer)
    detail = SecantPass(embedder, reading, layer=form.layer, references=_REFERENCES[form.reference])
    return JointPass(detail.last_pass(), detail) if form.with_last else detail


@final
class JointPass:
    """The mean of two exact accounts of the same similarities, on the grid of the second.

    One says what the cells of the last layer carry, the other what an earlier layer's detail adds. Each
    is misled where the other is not (docs/explanations.md), and a mean of sums is a sum. Kin: Bhatt,
    Weller, Moura, *Evaluating and Aggregating Feature-based Model Explanations*, IJCAI 2020.
    """

    def __init__(self, last: LastPass, detail: SecantPass) -> None:
        self._last, self._detail = last, detail
        self.unit = detail.unit

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D)."""
        last, detail = self._last.shares(directions), self._detail.shares(directions)
        content = (regrid(last.content.T, last.grid, detail.grid).T + detail.values) / 2
        residual = {name: values / 2 for name, values in detail.residual.items()}
        for name, values in last.residual.items():
            residual[name] = residual.get(name, torch.zeros_like(values)) + values / 2
        return LocatedShares(content, torch.zeros_like(content), residual, detail.grid)
