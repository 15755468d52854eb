"""What ``mini`` reaches beside its teacher: Recall@K, and pictures a second of both in the same run.

    uv run python recipes/mini/evaluate.py --shared ../shared [--model DIR] [--json metrics.json]

Pictures are squashed to each network's input size. Class folders: all against all without the
picture itself. Paintings: the share of queries with a relevant picture among the first K.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from pictures import LabeledFiles, class_folder, read_all_squashed, shared_default
from PIL import Image
from safetensors.torch import load_file
from teacher import INPUT_SIZE, Teacher
from torch import Tensor

from lookalike.scenes import room_pair

MODEL = Path(__file__).parents[2] / "src/lookalike/models/bundled/mini"
CLASS_SETS = ("birds_cropped/test", "butterflies", "grocery/test")
PAINTING_SETS = ("qsd1", "qsd2")


@dataclass(frozen=True)
class Network:
    """A name, the input size, and pictures (B, 3, h, w) in [0, 1] to embeddings (B, D)."""

    name: str
    input_size: tuple[int, int]
    embed: Callable[[Tensor], Tensor]
    local: Callable[[Tensor], Tensor]  # to (B, D, h, w); the mean over cells is the embedding


def exported(folder: Path, input_size: tuple[int, int] | None = None) -> Network:
    """The model as it is shipped: fp16 weights, computed in float32."""
    config = json.loads((folder / "config.json").read_text())
    tensors = {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
    backbone = timm.create_model(
        config["backbone"]["architecture"], num_classes=0, global_pool="", **config["backbone"]["kwargs"]
    )
    prefix = "backbone."
    backbone.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    backbone.eval().to(memory_format=torch.channels_last)
    how = config["preprocessing"]
    mean, std = (torch.tensor(how[name])[:, None, None] for name in ("mean", "std"))

    @torch.inference_mode()
    def embed(pictures: Tensor) -> Tensor:
        features = backbone(((pictures - mean) / std).contiguous(memory_format=torch.channels_last))
        return F.linear(features.mean((2, 3)), tensors["head.0.weight"], tensors["head.0.bias"])

    @torch.inference_mode()
    def local(pictures: Tensor) -> Tensor:
        features = backbone(((pictures - mean) / std).contiguous(memory_format=torch.channels_last))
        return F.conv2d(features, tensors["head.0.weight"][:, :, None, None], tensors["head.0.bias"])

    return Network("mini", input_size or tuple(how["input_size"]), embed, local)


def embed_files(network: Network, files: LabeledFiles) -> Tensor:
    """Unit-length embeddings: (B, D)."""
    pictures = read_all_squashed(files.paths, network.input_size)
    return F.normalize(torch.cat([network.embed(p.float() / 255) for p in pictures.split(32)]), dim=1)


def recall_at_k(embeddings: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    """Share of pictures that have one of their class among their first K others, K = 1, 2, 4, 8."""
    similarity = (embeddings @ embeddings.T).fill_diagonal_(-2)
    nearest = similarity.topk(8).indices
    names = {label: i for i, label in enumerate(sorted(set(labels)))}
    codes = torch.tensor([names[label] for label in labels])
    right = codes[nearest] == codes[:, None]
    return {f"recall_at_{k}": float(right[:, :k].any(1).float().mean()) for k in (1, 2, 4, 8)}


def labeled(shared: Path, name: str) -> LabeledFiles:
    """A class folder, or butterflies, whose species are the first three digits of the file names."""
    if name != "butterflies":
        return class_folder(shared / "data" / name)
    files = class_folder(shared / "data/butterflies/images")
    return LabeledFiles(files.paths, tuple(path.name[:3] for path in files.paths))


def paintings(network: Network, shared: Path) -> dict[str, dict[str, float]]:
    """Recall@1 and @5 of the query photos against the museum's pictures."""
    folder = shared / "data/paintings"
    gallery, queries = class_folder(folder / "gallery"), class_folder(folder / "queries")
    similarity = embed_files(network, queries) @ embed_files(network, gallery).T
    order = similarity.argsort(1, descending=True)
    relevant = json.loads((folder / "relevant.json").read_text())
    metrics = {}
    for name in PAINTING_SETS:
        first = []  # rank of the first relevant picture, for each query
        for row, path in zip(order, queries.paths, strict=True):
            if path.name.startswith(name):
                ranked = [gallery.paths[i].name for i in row.tolist()]
                first.append(min(ranked.index(file) for file in relevant[path.name]))
        metrics[name] = {f"recall_at_{k}": sum(rank < k for rank in first) / len(first) for k in (1, 5)}
    return metrics


def pointing(network: Network, n_pairs: int = 100) -> dict[str, float]:
    """Of generated room pairs that share a painting: how often the map's highest cell lies on it.

    The map of one room is the product of its local features with the other room's embedding; the
    cell counts if the center of its cell is on the painting's mask. ``chance`` is the mask's area.
    """
    hits, areas = [], []
    for seed in range(n_pairs):
        first, second, painting = room_pair(seed)
        for here, there in ((first, second), (second, first)):
            local, other = (network.local(_squashed(r.image, network.input_size))[0] for r in (here, there))
            similarity = torch.einsum("dhw,d->hw", local, other.mean((1, 2)))
            row, column = divmod(int(similarity.argmax()), similarity.shape[1])
            mask = here.masks[painting]
            y = int((row + 0.5) * mask.shape[0] / similarity.shape[0])
            x = int((column + 0.5) * mask.shape[1] / similarity.shape[1])
            hits.append(bool(mask[y, x]))
            areas.append(float(mask.mean()))
    return {"on_painting": sum(hits) / len(hits), "chance": sum(areas) / len(areas)}


def _squashed(image: Image.Image, size: tuple[int, int]) -> Tensor:
    small = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255


def pictures_per_second(network: Network, seconds: float = 8.0, batch: int = 32) -> float:
    """Forward passes alone, float32, all cores of the process."""
    pictures = torch.rand(batch, 3, *network.input_size)
    network.embed(pictures)
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        network.embed(pictures)
        n += batch
    return n / (time.perf_counter() - begun)


def metrics_of(network: Network, shared: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name in CLASS_SETS:
        files = labeled(shared, name)
        metrics[name] = recall_at_k(embed_files(network, files), files.labels)
    return metrics | paintings(network, shared) | {"room_pairs": pointing(network)}


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row for each set, Recall in percent."""
    names = list(metrics)
    lines = [
        f"| set | Recall@ | {' | '.join(names)} | mini / teacher at 1 |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in (*CLASS_SETS, *PAINTING_SETS):
        scores = [metrics[name][row] for name in names]
        cells = ["/".join(f"{100 * value:.1f}" for value in score.values()) for score in scores]
        at = "/".join(key.removeprefix("recall_at_") for key in scores[0])
        ratio = scores[0]["recall_at_1"] / scores[1]["recall_at_1"]
        lines.append(f"| {row} | {at} | {' | '.join(cells)} | {100 * ratio:.1f} % |")
    rooms = [f"{100 * metrics[name]['room_pairs']['on_painting']:.1f}" for name in names]
    lines.append(f"| room pairs, map's peak on the shared painting (%) | | {' | '.join(rooms)} | |")
    speeds = [f"{metrics[name]['images_per_second']:.0f}" for name in names]
    lines.append(f"| images/s, fp32 | | {' | '.join(speeds)} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=shared_default())
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--json", type=Path, help="write the metrics here too")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    teacher = Teacher(arguments.shared)
    networks = (
        exported(arguments.model),
        Network("teacher", INPUT_SIZE, teacher.pooled, lambda pictures: teacher.maps(pictures).last),
    )
    metrics = {network.name: metrics_of(network, arguments.shared) for network in networks}
    for network in networks:
        metrics[network.name]["images_per_second"] = pictures_per_second(network)
    print(table(metrics))
    if arguments.json:
        where = {
            "date": datetime.date.today().isoformat(),
            "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "torch": torch.__version__,
            "timm": timm.__version__,
        }
        arguments.json.write_text(json.dumps(where | metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
