"""The embedder: pictures in, unit embeddings out, and where they come from.

Loads the bundled model, any timm model, a model of the hub, a saved folder or a checkpoint file
of the research codes, and saves a folder that loads again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike import images as image_files
from lookalike.images import Preprocessing
from lookalike.models import loading
from lookalike.models.heads import L2Norm, all_but_the_top, whitening
from lookalike.models.network import BatchShares, EmbeddingNetwork
from lookalike.models.saving import LoadedModel, describe, save_folder
from lookalike.ops.multiscale import merge_scales, regrid, scale_factors
from lookalike.ops.propagation import l2_norm
from lookalike.types import Geometry, Picture, Reading, Shares

ImageSource = str | Path | bytes | Image.Image | Picture
Precision = Literal["auto", "fp32", "bf16"]


@final
class Embedder:
    """A network with the preprocessing that it expects, on one device.

    ``embed`` gives (B, D) unit embeddings as float32 on the CPU; ``shares`` explains one of them.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        preprocessing: Preprocessing,
        *,
        name: str,
        scales: Sequence[float] = (1.0,),
        scale_power: float = 1.0,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.name = name
        self.preprocessing = preprocessing
        self.scales = tuple(scales)  # factors on the input size; their embeddings are merged
        self.scale_power = scale_power  # of the generalized mean over scales
        self.device = _choose_device(device)
        self.precision = _choose_precision(precision, self.device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        if network.backbone.is_convolutional:
            self.network.to(memory_format=torch.channels_last)

    def __repr__(self) -> str:
        return (
            f"Embedder({self.name!r}, input {self.preprocessing.input_size}, {self.device}, {self.precision})"
        )

    # --- embedding ----------------------------------------------------------------------------

    def read(self, source: ImageSource | Reading) -> Reading:
        """One image decoded once and prepared for the network; a Reading of this model as it is."""
        return source if isinstance(source, Reading) else image_files.read(source, self.preprocessing)

    def embed(self, sources: Sequence[ImageSource], *, batch_size: int = 32) -> Tensor:
        """Unit embeddings of images, files or bytes: (B, D) float32 on the CPU.

        Raises UnreadableImageError, naming the file, at the first that can't be read.
        """
        if isinstance(sources, str | bytes | Path | Image.Image | Picture):
            raise TypeError("embed takes a list of images; put the single one in a list")
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, got {batch_size}")
        remaining = iter(sources)
        embeddings: list[Tensor] = []
        while chunk := list(islice(remaining, batch_size)):
            embeddings.extend(self.embed_pixels([self.read(source).pixels for source in chunk]))
        if not embeddings:
            raise ValueError("embed takes at least one image, got none")
        return torch.stack(embeddings)

    @torch.inference_mode()
    def embed_pixels(self, pixels: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
        """Unit embeddings of what ``read`` returned: (B, D) float32 on the CPU.

        Pictures of several sizes (preprocessing mode ``fit``) are run size by size.
        """
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, array in enumerate(pixels):
            by_size.setdefault(array.shape, []).append(i)
        embeddings: list[Tensor | None] = [None] * len(pixels)
        for indices in by_size.values():
            batch = self._to_tensor(np.stack([pixels[i] for i in indices]))
            for i, embedding in zip(indices, self._embed_batch(batch), strict=True):
                embeddings[i] = embedding
        return torch.stack([e for e in embeddings if e is not None])

    def _embed_batch(self, batch: Tensor) -> Tensor:
        use_bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use_bf16):
            at_scales = [F.normalize(self.network(scaled).float(), dim=1) for scaled in self._scaled(batch)]
        if len(at_scales) == 1:
            return at_scales[0].cpu()
        power = torch.tensor(self.scale_power)
        merged = [merge_scales(torch.stack(of_one), power) for of_one in zip(*at_scales, strict=True)]
        return F.normalize(torch.stack(merged), dim=1).cpu()

    def _scaled(self, batch: Tensor) -> Iterator[Tensor]:
        smallest = min(batch.shape[2:])
        for scale in self.scales:
            if scale == 1 or smallest * scale < 1:  # a picture one pixel thin can't be made thinner
                yield batch
            else:
                yield F.interpolate(batch, scale_factor=scale, mode="bilinear", align_corners=False)

    def _to_tensor(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        batch = torch.from_numpy(image_files.normalize(pixels, self.preprocessing)).to(self.device)
        if self.network.backbone.is_convolutional:
            batch = batch.to(memory_format=torch.channels_last)
        return batch  # (B, 3, H, W)

    # --- explaining ---------------------------------------------------------------------------

    def shares(self, source: ImageSource | Reading) -> Shares:
        """One image's embedding as the sum of what each cell contributed, in fp32.

        Raises UnsupportedMethodError where the model's pooling can't be split over cells.
        """
        reading = self.read(source)
        return self.pixel_shares(reading.pixels, reading.geometry)

    @torch.inference_mode()
    def pixel_shares(self, pixels: np.ndarray[Any, np.dtype[np.uint8]], geometry: Geometry) -> Shares:
        """The shares of one image that ``read`` returned."""
        at_scales = [self.network.shares(scaled) for scaled in self._scaled(self._to_tensor(pixels[None]))]
        if len(at_scales) == 1:
            shares, grid = at_scales[0].values[0], at_scales[0].grid
        else:
            shares, grid = self._merge(at_scales)
        return Shares(shares[:-1].float().cpu(), shares[-1].float().cpu(), grid, geometry)

    def _merge(self, at_scales: Sequence[BatchShares]) -> tuple[Tensor, tuple[int, int]]:
        """ShareRows of all scales on the finest grid."""
        grid = max((p.grid for p in at_scales), key=lambda g: g[0] * g[1])
        shares = [l2_norm(p.values)[0] for p in at_scales]  # each (N_s + 1, D)
        factors = scale_factors(torch.stack([p.sum(0) for p in shares]), torch.tensor(self.scale_power))
        merged = [
            torch.cat([regrid(p[:-1], of_scale.grid, grid), p[-1:]]) * factor
            for p, of_scale, factor in zip(shares, at_scales, factors, strict=True)
        ]
        return torch.stack(merged).sum(0), grid

    def tensor(self, source: ImageSource | Reading) -> tuple[Tensor, Geometry]:
        """One normalized image (1, 3, H, W) on the embedder's device, for explainers that run the
        network themselves, and where it lies."""
        reading = self.read(source)
        return self._to_tensor(reading.pixels[None]), reading.geometry

    # --- fitting to one's own images ----------------------------------------------------------

    def setting_aside(self, sources: Sequence[ImageSource], *, directions: int = 3) -> Embedder:
        """A new embedder that sets aside what these images have in common; no labels needed.

        Their mean embedding and the ``directions`` in which they vary most are removed (all-but-the-
        top, Mu and Viswanath, ICLR 2018). Where all images are of one kind, such as rooms, similarity
        and maps then speak of what is particular. Raises ValueError for fewer images than directions.
        """
        return self._followed_by(all_but_the_top(self.embed(sources), directions), "particular")

    def whitened(self, sources: Sequence[ImageSource], *, width: int | None = None) -> Embedder:
        """A new embedder whose head ends with a PCA whitening learned on these images; no labels needed.

        It keeps ``width`` directions, by default half as many as there are images and at most D (Jégou
        and Chum, ECCV 2012). Raises ValueError where there are too few images for the width.
        """
        units = self.embed(sources)  # (B, D)
        width = width or min(units.shape[1], max(1, len(units) // 2))
        return self._followed_by(whitening(units, width), "whitened")

    def _followed_by(self, layer: nn.Linear, suffix: str) -> Embedder:
        network = self.network
        changed = EmbeddingNetwork(
            network.backbone,
            network.pooling,
            nn.Sequential(*network.head, L2Norm(), layer),
            own_layers=network.own_layers,
            is_own=network.is_own,
        )
        name = f"{self.name}-{suffix}"
        model = LoadedModel(changed, self.preprocessing, name, self.scales, self.scale_power)
        return Embedder.of(model, device=self.device, precision=self.precision)

    # --- loading and saving -------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        *,
        pooling: str | None = None,
        input_size: tuple[int, int] | None = None,
        normalization: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> Embedder:
        """An embedder by name: ``mini`` (bundled), any timm name, ``hf-hub:owner/name``, a folder
        saved by ``save``, or a checkpoint file of the research codes.

        ``pooling``, ``input_size`` (H, W) and ``normalization`` (``imagenet``, ``sop`` or
        ``MEAN/STD``) replace what the model brings. Raises UnknownModelError and CheckpointError.
        """
        loaded = loading.load_model(
            model, pooling=pooling, input_size=input_size, normalization=normalization
        )
        return cls.of(loaded, device=device, precision=precision)

    @classmethod
    def of(
        cls, model: LoadedModel, *, device: str | torch.device = "auto", precision: Precision = "auto"
    ) -> Embedder:
        """An embedder that runs a loaded model."""
        return cls(
            model.network,
            model.preprocessing,
            name=model.name,
            scales=model.scales,
            scale_power=model.scale_power,
            device=device,
            precision=precision,
        )

    @classmethod
    def from_timm(
        cls,
        architecture: str,
        *,
        pretrained: bool = True,
        weights: str | Path | None = None,
        pooling: str = "own",
        head: nn.Sequential | None = None,
        input_size: tuple[int, int] | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        **options: Any,
    ) -> Embedder:
        """An embedder on any timm backbone, with its own pooling unless told otherwise.

        ``weights``, a safetensors file for the architecture, replaces the pretrained ones;
        ``options`` go to ``timm.create_model``. Raises UnknownModelError and CheckpointError.
        """
        loaded = loading.from_timm(
            architecture,
            pretrained=pretrained,
            weights=None if weights is None else Path(weights),
            pooling=pooling,
            head=head,
            input_size=input_size,
            preprocessing=preprocessing,
            **options,
        )
        return cls.of(replace(loaded, name=name or loaded.name), device=device, precision=precision)

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write a folder that ``load`` reads: config.json and model.safetensors (fp16 if half)."""
        model = LoadedModel(self.network, self.preprocessing, self.name, self.scales, self.scale_power)
        save_folder(model, Path(folder), half=half)

    def fingerprint(self) -> str:
        """Hash of preprocessing, layers and weights: two embedders with one fingerprint embed alike."""
        model = LoadedModel(self.network, self.preprocessing, self.name, self.scales, self.scale_power)
        described = {key: value for key, value in describe(model).items() if key != "name"}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _choose_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _choose_precision(precision: Precision, device: torch.device) -> Precision:
    """bf16 where the processor multiplies it natively, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if native else "fp32"
    return "fp32"
