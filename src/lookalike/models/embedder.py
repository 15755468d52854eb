"""The embedder: images in, unit embeddings and shares out, on one device."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike import images as image_files
from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.images import GrayLevels, ImageSource, Preprocessing
from lookalike.models import loading
from lookalike.models.batch_statistics import with_batch_statistics
from lookalike.models.device_batches import DeviceBatches, memory_in_words, to_device
from lookalike.models.devices import Precision, autocast_type, choose_device, choose_precision
from lookalike.models.encoding import Encoding, stacked_rows
from lookalike.models.finite import check_finite
from lookalike.models.heads import L2Norm, affine_layer
from lookalike.models.image_text import TextTower
from lookalike.models.lanes import in_lanes, parts_of
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.saving import LoadedModel, fingerprint_of, save_folder
from lookalike.models.scales import merged_embeddings, merged_shares, scaled_images
from lookalike.models.sharing import Sharing
from lookalike.models.text_source import TextSource
from lookalike.models.whitening import all_but_the_top, whitening
from lookalike.ops.aside import projection_without
from lookalike.ops.similarity import cosine_similarity
from lookalike.types import Geometry, Picture, ProgressCallback, Reading, Shares, tracked

__all__ = ["Embedder", "ImageSource", "Precision"]

_SAME_TOWER, _SAME_TOWER_BF16 = 1e-3, 5e-2  # largest distance of two unit embeddings of one image

InputPixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]  # (H, W, 3) RGB as the network will see it


@final
class Embedder(Encoding, Sharing):
    """A network with the preprocessing that it expects, on one device.

    ``embed`` returns (B, D) unit embeddings as float32 on the CPU; ``shares`` explains one of them.
    ``encode`` is ``embed`` under the names of sentence-transformers; ``save_pretrained``, ``from_pretrained``
    and ``push_to_hub`` are those of the Hugging Face hub.

    >>> embedder = Embedder.load("mini", device="cpu")
    >>> black, white = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    >>> embedder.embed([black, white]).shape == (2, embedder.width)
    True
    >>> embedder.similarity(black, [black, white]).shape
    torch.Size([1, 2])
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
        precision: Precision = "fp32",
        has_published_maps: bool = False,
        whitening: str = "",
        carried_whitenings: Sequence[str] = (),
        text: TextSource | None = None,
    ) -> None:
        self.name = name
        self.whitening = whitening  # the learned whitening at its end, in words; empty for none
        self.carried_whitenings = tuple(carried_whitenings)  # names that ``load(whitening=)`` takes
        self.text = text  # where ``embed_text`` loads the model's text tower from; None for one without
        self._text_tower: TextTower | None = None
        self.has_published_maps = has_published_maps  # of its last layer: what ``shares`` then draws
        self.preprocessing = preprocessing
        self.scales = tuple(scales)  # factors on the input size; their embeddings are merged
        self.scale_power = scale_power  # of the generalized mean over scales
        self.network = network.eval().requires_grad_(False)
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self._batches = DeviceBatches(self.device)
        self.to(self.device)

    def __repr__(self) -> str:
        return (
            f"Embedder({self.name!r}, input {self.preprocessing.input_size}, {self.device}, {self.precision})"
        )

    def to(self, device: str | torch.device) -> Embedder:
        """Move this embedder to a device, ``auto`` as in ``load``, and return it.

        Embedders made from this one by ``whitened`` or ``setting_aside`` share its weights: move
        those as well.
        """
        wanted = choose_device(device)
        self.network.to(wanted)
        self.device = wanted
        self._batches = DeviceBatches(wanted)
        self.network.to(memory_format=self._memory_format)
        return self

    @cached_property
    def _memory_format(self) -> torch.memory_format:
        """Channels last, faster for convolutions; GroupNorm loses digits there, so not with that."""
        layers = self.network.backbone.modules()
        if not self.network.backbone.is_convolutional or any(isinstance(m, nn.GroupNorm) for m in layers):
            return torch.contiguous_format
        return torch.channels_last

    @cached_property
    def width(self) -> int:
        """D, the length of the embeddings; costs one forward pass where no layer after the pooling has it."""
        width = self.network.width()
        if width is None:
            blank = np.zeros((*self.preprocessing.input_size, 3), np.uint8)
            with torch.inference_mode():
                width = self._embed_batch(self._to_tensor(blank[None])).shape[1]
        return width

    @property
    def images_at_once(self) -> int:
        """How many images one forward pass takes at most, by what is known of the device's memory."""
        return self._batches.most

    # --- embedding ----------------------------------------------------------------------------

    def read(self, source: ImageSource | Reading) -> Reading:
        """One image decoded once and prepared for the network; a Reading of this model as it is."""
        return source if isinstance(source, Reading) else image_files.read(source, self.preprocessing)

    def picture(
        self, source: ImageSource, *, at_least: tuple[int, int] | None = None, name: str | None = None
    ) -> Picture:
        """One image as ``images.load`` returns it, to be drawn on, with gray on this model's levels."""
        return image_files.load(source, at_least=at_least, levels=self.preprocessing.levels, name=name)

    def with_levels(self, levels: GrayLevels | None) -> Embedder:
        """This embedder, or one on the same weights that takes black and white of gray from ``levels``."""
        if levels == self.preprocessing.levels:
            return self
        model = replace(self.as_loaded(), preprocessing=replace(self.preprocessing, levels=levels))
        return Embedder.of(model, device=self.device, precision=self.precision)

    def embed(
        self,
        images: ImageSource | Iterable[ImageSource],
        *,
        batch_size: int = 32,
        workers: int = 0,
        progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Unit embeddings of images: (B, D) float32 on the CPU; one image alone gives (1, D).

        An image is a path, the bytes of a file, a PIL image, a numpy array (H, W, 3) or (H, W)
        uint8, a torch tensor (3, H, W), uint8 or floating in [0, 1], or a Picture. ``workers``
        processes decode files ahead of the model; ``progress`` is told after every image.

        Raises UnreadableImageError, naming the file, at the first that can't be read, ModelOutputError
        where the model gives NaN or infinity for one, and ValueError for no images and for arrays of
        another shape, dtype or range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, got {batch_size}")
        several = cast(Iterable[ImageSource], [images] if image_files.is_one_image(images) else images)
        if progress is not None and not isinstance(several, Sized):
            several = list(several)
        total = len(several) if isinstance(several, Sized) else 0
        embedded = self._embedded(several, batch_size, workers)
        embeddings = list(tracked(embedded, "embedding", total, progress))
        if not embeddings:
            raise ValueError("embed takes at least one image, got none")
        return torch.stack(embeddings)

    def _embedded(self, images: Iterable[ImageSource], batch_size: int, workers: int) -> Iterator[Tensor]:
        names: list[str] = []  # of images that were asked for, those of the next batch first
        named = _noting_names(images, names)
        with closing(image_files.read_all(named, self.preprocessing, workers=workers)) as pixels:
            while batch := list(islice(pixels, batch_size)):
                yield from self.embed_pixels(batch, names=names[: len(batch)])
                del names[: len(batch)]

    def embed_pixels(self, pixels: Sequence[InputPixels], *, names: Sequence[str] | None = None) -> Tensor:
        """Unit embeddings of pixels that ``read`` returned: (B, D) float32 on the CPU.

        Images of several sizes (preprocessing mode ``fit``) are run size by size; on the processor in parts
        that run side by side, on another device in batches that its memory takes. Raises ModelOutputError,
        with one of ``names``, where the model gives NaN or infinity for an image, and DeviceMemoryError.
        """
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, array in enumerate(pixels):
            by_size.setdefault(array.shape, []).append(i)
        embeddings: list[Tensor | None] = [None] * len(pixels)
        for (height, width, _), indices in by_size.items():
            parts = parts_of(indices, height * width) if self.device.type == "cpu" else [indices]
            rows = in_lanes(lambda part: self._embed_alike([pixels[i] for i in part]), parts)
            for i, embedding in zip(indices, torch.cat(rows), strict=True):
                embeddings[i] = embedding
        found = torch.stack([e for e in embeddings if e is not None])
        check_finite(found, self.name, names or [f"image {i + 1} of {len(found)}" for i in range(len(found))])
        return found

    @torch.inference_mode()
    def _embed_alike(self, pixels: Sequence[InputPixels]) -> Tensor:
        """Unit embeddings (B, D) of pixels of one size, in one forward pass."""
        return self._batches.run(
            lambda some: self._embed_batch(self._to_tensor(some)), np.stack(pixels)
        ).cpu()

    def similarity(
        self,
        a: ImageSource | Iterable[ImageSource],
        b: ImageSource | Iterable[ImageSource],
    ) -> Tensor:
        """Cosine of each of n images with each of m: (n, m) float32 on the CPU, in [-1, 1].

        ``a`` and ``b`` are one or many images as in ``embed``, or embeddings: a floating array or
        tensor (n, D) or (D,), or a list of such rows, is taken as embeddings, of any length (no image is
        floating and 2-d).
        Raises ValueError for embeddings of another width, and as ``embed``.
        """
        return cosine_similarity(self._embeddings_of(a), self._embeddings_of(b)).clamp(-1, 1)

    def _embeddings_of(self, given: ImageSource | Iterable[ImageSource]) -> Tensor:
        if isinstance(given, list) and given and all(_is_row(row) for row in given):
            given = stacked_rows(given)
        is_array = isinstance(given, Tensor | np.ndarray)
        vectors = torch.as_tensor(given) if is_array else None
        if vectors is not None and vectors.ndim == 1:
            vectors = vectors[None]
        if vectors is None or vectors.ndim != 2 or not vectors.is_floating_point():
            return self.embed(given)
        if vectors.shape[1] != self.width:
            raise ValueError(f"embeddings of {self.name} are (n, {self.width}); got {tuple(vectors.shape)}")
        return vectors.detach().to("cpu", torch.float32)

    def _embed_batch(self, batch: Tensor) -> Tensor:
        dtype = autocast_type(self.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            at_scales = [
                F.normalize(self.network(scaled).float(), dim=1)
                for scaled in scaled_images(batch, self.scales)
            ]
        return merged_embeddings(at_scales, self.scale_power, self.network.merged_head)

    def _to_tensor(self, pixels: InputPixels) -> Tensor:
        if self.device.type == "cpu":
            batch = torch.from_numpy(image_files.normalize(pixels, self.preprocessing))
        else:
            batch = to_device(pixels, self.preprocessing, self.device)
        return batch.to(memory_format=self._memory_format)  # (B, 3, H, W)

    def embed_text(self, texts: str | Sequence[str]) -> Tensor:
        """Unit embeddings of texts by the text tower of an image-text model: (B, D) float32 on the CPU.

        Their cosines with images are lower than those between images. The tower is loaded by the first
        call, and checked: the library's own image tower must give the embeddings that ours gives. What is
        longer than the model reads is cut off. Raises UnsupportedMethodError for a model without a text
        tower, LookalikeError without the extra ``text``, CheckpointError for towers that do not fit, and
        ValueError for an empty text.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        if not several or not all(text.strip() for text in several):
            raise ValueError(f"a text has at least one word; got {texts!r}")
        if self._text_tower is None:
            self._text_tower = self._load_text_tower()
        return self._text_tower.embed(several)

    @torch.inference_mode()
    def _load_text_tower(self) -> TextTower:
        if self.text is None:
            raise UnsupportedMethodError(
                f"{self.name} has no text tower, so it does not answer words; index with an image-text model "
                "such as CLIP or SigLIP (docs/words.md)"
            )
        tower = TextTower(self.text, self.device, name=self.name)
        if self.text.image_size == self.preprocessing.input_size:
            size = self.text.image_size
            noise = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
            gap = float(
                (self._embed_batch(noise.to(self.device)).cpu() - tower.embed_images(noise)).norm(dim=1).max()
            )
            if not gap <= (_SAME_TOWER if self.precision == "fp32" else _SAME_TOWER_BF16):
                raise CheckpointError(
                    f"the image tower of {self.name} gives other embeddings here than by {self.text.package} "
                    f"(they differ by {gap:.1e}), so words can't be compared with them; check its files"
                )
        tower.forget_images()
        return tower

    # --- explaining ---------------------------------------------------------------------------

    def shares(self, source: ImageSource | Reading) -> Shares:
        """One image's embedding as the sum of what each cell contributed, in fp32.

        Raises UnsupportedMethodError where the model's pooling can't be split over cells.
        """
        reading = self.read(source)
        return self.pixel_shares(reading.pixels, reading.geometry, name=reading.picture.name)

    @torch.inference_mode()
    def pixel_shares(self, pixels: InputPixels, geometry: Geometry, *, name: str = "an image") -> Shares:
        """The shares of one image that ``read`` returned; ``name`` is for messages."""
        return self.tensor_shares(self._to_tensor(pixels[None]), geometry, name=name)

    @torch.inference_mode()
    def tensor_shares(self, batch: Tensor, geometry: Geometry, *, name: str = "an image") -> Shares:
        """The shares of one normalized image (1, 3, H, W), as ``tensor`` returns it."""
        with memory_in_words(self.device, batch.shape[2:]):
            at_scales = [
                self.network.shares(scaled, model=self.name, image=name)
                for scaled in scaled_images(batch, self.scales)
            ]
        values, grid = merged_shares(at_scales, self.scale_power, self.network.merged_head)
        return Shares(values[:-1].float().cpu(), values[-1].float().cpu(), grid, geometry)

    def tensor(self, source: ImageSource | Reading) -> tuple[Tensor, Geometry]:
        """One normalized image (1, 3, H, W) float32 on the embedder's device, and its geometry.

        For explainers that run the network themselves.
        """
        reading = self.read(source)
        return self._to_tensor(reading.pixels[None]), reading.geometry

    def pixel_tensor(self, pixels: InputPixels) -> Tensor:
        """One image that ``read`` returned, normalized: (1, 3, H, W) float32 on the embedder's device."""
        return self._to_tensor(pixels[None])

    # --- fitting to one's own images ----------------------------------------------------------

    def setting_aside(self, sources: Sequence[ImageSource], *, directions: int = 3) -> Embedder:
        """A new embedder without what these images have in common; needs no labels.

        Their mean embedding and the ``directions`` in which they vary most are removed (all-but-the-
        top, Mu and Viswanath, ICLR 2018). Where all images are of one kind, such as rooms, similarity
        and maps then depend on what distinguishes them. Raises ValueError for too few images.
        """
        return self._followed_by(all_but_the_top(self.embed(sources), directions), "particular")

    def without_directions(self, directions: Tensor) -> Embedder:
        """A new embedder whose unit embeddings have nothing along these directions (k, D)."""
        projection = projection_without(directions.float()).float()
        layer = affine_layer(projection, torch.zeros(len(projection)))
        return self._followed_by(layer, "set-aside")

    def whitened(self, sources: Sequence[ImageSource], *, width: int | None = None) -> Embedder:
        """A new embedder whose head ends with a PCA whitening learned on these images; needs no labels.

        It keeps ``width`` directions, by default half as many as there are images and at most D (Jégou
        and Chum, ECCV 2012). Raises ValueError where there are too few images for the width.
        """
        units = self.embed(sources)  # (B, D)
        width = width or min(units.shape[1], max(1, len(units) // 2))
        return self._followed_by(whitening(units, width), "whitened")

    def _followed_by(self, layer: nn.Linear, suffix: str) -> Embedder:
        network = self.network.followed_by(L2Norm(), layer, merged=len(self.scales) > 1)
        model = replace(self.as_loaded(), network=network, name=f"{self.name}-{suffix}", text=None)
        return Embedder.of(model, device=self.device, precision=self.precision)

    def with_batch_statistics(self, sources: Sequence[ImageSource | Reading]) -> Embedder:
        """This embedder with the BatchNorm statistics of these images instead of its own.

        The demo of Stylianou et al., WACV 2019, ran its network in training mode on the two images that
        it compared. Raises UnsupportedMethodError for a network without BatchNorm, and for images that
        reach it in different sizes.
        """
        tensors = [self.tensor(source)[0] for source in sources]
        if len({tensor.shape for tensor in tensors}) != 1:
            raise UnsupportedMethodError(
                "batch statistics need images of one size, and this model keeps their proportions; give it "
                "an input size"
            )
        network = with_batch_statistics(self.network, torch.cat(tensors))
        name = f"{self.name}-batch-statistics"
        model = replace(self.as_loaded(), network=network, name=name, text=None)
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
        levels: GrayLevels | None = None,
        mean_image: str | Path | None = None,
        whitening: str | None = None,
        heads: int | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "fp32",
    ) -> Embedder:
        """Load an embedder: ``mini`` (bundled), any timm name, ``hf-hub:owner/name``, a folder
        saved by ``save``, a checkpoint file of the research codes, or an image-text model:
        ``open_clip:NAME@FILE``, or a folder of open_clip or transformers (docs/words.md).

        ``pooling``, ``input_size`` (H, W) and ``normalization`` (``imagenet``, ``sop`` or
        ``MEAN/STD``) replace those of the model; ``levels`` are the values of black and white in gray
        pictures of more than 8 bits, by default what each file declares. TF-slim's networks of the WACV
        2019 demo need a ``mean_image``: a ``.npy`` file (H, W, 3) in BGR, levels 0 to 255. ``whitening``,
        of the retrieval networks of Radenović et al., is one that the file carries: ``NAME``, for one
        scale, or ``NAME:ms``, for the three published ones. ``heads`` is the number of attention heads of a
        vision transformer of Black et al. that has not one for 64 dimensions, as theirs. ``device`` auto
        is the GPU where there is one; ``precision`` is ``fp32``, ``bf16``, ``fp16`` (for GPUs without
        bf16), or ``auto``: bf16 where the device has it natively, which is faster and moves cosines by some
        hundredths. Raises UnknownModelError, UnknownNameError and CheckpointError.
        """
        loaded = loading.load_model(
            model,
            pooling=pooling,
            input_size=input_size,
            normalization=normalization,
            mean_image=None if mean_image is None else Path(mean_image),
            whitening=whitening,
            heads=heads,
        )
        embedder = cls.of(loaded, device=device, precision=precision)
        return embedder if levels is None else embedder.with_levels(levels)

    @classmethod
    def of(
        cls, model: LoadedModel, *, device: str | torch.device = "auto", precision: Precision = "fp32"
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
            has_published_maps=model.has_published_maps,
            whitening=model.whitening,
            carried_whitenings=model.carried_whitenings,
            text=model.text,
        )

    @classmethod
    def from_timm(
        cls,
        architecture: str,
        *,
        pretrained: bool = True,
        weights: str | Path | None = None,
        pooling: str | None = None,
        head: nn.Sequential | None = None,
        input_size: tuple[int, int] | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "fp32",
        **options: Any,
    ) -> Embedder:
        """An embedder on any timm backbone, with timm's pooling (``own``) unless told otherwise.

        The DINO family pools by its CLS token, also where timm averages (DINOv3): timm's author found
        that usually better for retrieval (pytorch-image-models, pull request 2730).
        ``weights``, a file for the architecture (safetensors, or a state_dict or checkpoint of torch),
        replaces the pretrained ones;
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
        save_folder(self.as_loaded(), Path(folder), half=half)

    def fingerprint(self) -> str:
        """Hash of preprocessing, layers and weights: equal for embedders that give equal embeddings."""
        return fingerprint_of(self.as_loaded())

    def as_loaded(self) -> LoadedModel:
        """The network with its settings, for ``of``; shares weights."""
        return LoadedModel(
            self.network,
            self.preprocessing,
            self.name,
            self.scales,
            self.scale_power,
            self.has_published_maps,
            self.whitening,
            self.carried_whitenings,
            self.text,
        )


def _is_row(given: object) -> bool:
    """Whether this is one embedding."""
    return isinstance(given, Tensor | np.ndarray) and given.ndim == 1


def _noting_names(images: Iterable[ImageSource], names: list[str]) -> Iterator[ImageSource]:
    """The images, each with its file's name or its number added to ``names`` when it is asked for."""
    for number, source in enumerate(images, 1):
        name = str(source) if isinstance(source, str | Path) else getattr(source, "name", "")
        names.append(str(name) or f"image {number}")
        yield source


def on_processor(embedder: Embedder) -> Embedder:
    """The embedder, or a copy of it on the processor if it is elsewhere."""
    return embedder if embedder.device.type == "cpu" else copy.deepcopy(embedder).to("cpu")
