"""Rows of ``parity.py``: what is measured, against what, by which command."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import naive
import numpy as np
import torch
import torchvision
from PIL import Image
from pytorch_metric_learning import losses
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.models.whitening import discriminative_whitening
from lookalike.ops import avsl
from lookalike.ops.affinity import contrastive_loss
from lookalike.ops.attribution import pair_maps

TESTS = Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS))
from made_checkpoints import in_jax, made_weights, published, shapes_of  # noqa: E402
from made_tensorflow import slim_tensors, write_bundle, write_single  # noqa: E402

GOLDENS = TESTS / "goldens"
WACV_2019, WACV_2022, AVSL = "WACV 2019", "WACV 2022", "AVSL, CVPR 2022"
CSA, RETRIEVAL = "CSA, NeurIPS 2021", "TPAMI 2019, CVPR 2018"
IMAGENET = [torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


@dataclass(frozen=True)
class Setting:
    shared: Path  # goldens' weights
    folder: Path  # for files that are made up

    @property
    def images(self) -> list[Path]:
        return [GOLDENS / f"image_{side}.png" for side in "ab"]


@dataclass(frozen=True)
class Row:
    source: str
    feature: str
    ours: str
    against: str
    command: str
    measure: Callable[[Setting], float]


ROWS: list[Row] = []
ELSEWHERE = "could not be fetched where this was made"
UNAVAILABLE = [
    (WACV_2019, "trained networks of hotels and faces (`hotels.tar.gz`, `faces.tar.gz`)", ELSEWHERE),
    (WACV_2022, "trained weights of the three data sets", ELSEWHERE),
    (AVSL, "the published recalls (no checkpoint is linked): images of CUB, Cars, Products", ELSEWHERE),
    (CSA, "the published mAP: descriptors of retrieval-SfM-120k and R1M", ELSEWHERE),
    (RETRIEVAL, "trained networks, images of Oxford and Paris", ELSEWHERE),
]  # fmt: skip


def row(source: str, feature: str, ours: str, against: str, command: str) -> Callable[[Any], Any]:
    def added(measure: Callable[[Setting], float]) -> Callable[[Setting], float]:
        ROWS.append(Row(source, feature, ours, against, f"`{command}`", measure))
        return measure

    return added


def error(ours: Any, reference: Any) -> float:
    ours, reference = (np.asarray(v, dtype=np.float64) for v in (ours, reference))
    assert ours.shape == reference.shape, (ours.shape, reference.shape)
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exit_code:
        raise RuntimeError(f"{arguments}: {result.output}")
    return result.stdout


def explained(setting: Setting, images: list[Path], *options: object) -> dict[str, np.ndarray]:
    file = setting.folder / "maps.npz"
    run("explain", *images, *options, "--save-maps", file)
    return arrays(file)


def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as found:
        return dict(found)


def squashed(path: Path, side: int) -> Tensor:
    """A picture as the WACV 2022 code takes it: (1, 3, side, side)."""
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return ((pixels - IMAGENET[0]) / IMAGENET[1])[None]


def of_maps(maps: dict[str, np.ndarray], a: Any, b: Any) -> float:
    return max(error(maps["query_map"].ravel(), np.ravel(a)), error(maps["match_map"].ravel(), np.ravel(b)))


# --- WACV 2019 ------------------------------------------------------------------------------------


@row(
    WACV_2019, "`compute_spatial_similarity`", "`pair_maps`", "golden", "lookalike.ops.attribution.pair_maps"
)
def _(_: Setting) -> float:
    golden, worst = arrays(GOLDENS / "similarity_visualization.npz"), 0.0
    for i in range(3):
        a, b = (torch.from_numpy(golden[f"conv_{side}_{i}"]) for side in "ab")
        maps = pair_maps(a, b)
        worst = max(
            worst, *(error(m, golden[f"map_{side}_{i}"].ravel()) for m, side in zip(maps, "ab", strict=True))
        )
    return worst


@row(
    WACV_2019,
    "maps of lists of other lengths",
    "`pair_maps`",
    "written down",
    "lookalike.ops.attribution.pair_maps",
)
def _(_: Setting) -> float:
    a, b = (np.random.default_rng(i).random((n, 24)) for i, n in enumerate((35, 12)))
    expected = naive.pair_maps(a, b)
    return max(
        error(m, e)
        for m, e in zip(pair_maps(torch.from_numpy(a), torch.from_numpy(b)), expected, strict=True)
    )


def of_slim_golden(setting: Setting, statistics: str, *, pooled: bool) -> float:
    folder = setting.shared / "goldens" / "slim_resnet_v2"
    golden = arrays(folder / "golden.npz")
    options = ["--pooling", "mean", "--layer", "last"] if pooled else []
    options += ["--batch-statistics", "pair"] if statistics == "pair" else []
    images = [folder / f"image_{side}.png" for side in "ab"]
    maps = explained(
        setting, images, "--model", folder / "hotels", "--mean-image", folder / "mean_image.npy", *options
    )
    start = f"{statistics}_statistics/"
    if not pooled:
        return error(maps["similarity"], golden[start + "logits_similarity"])
    return of_maps(maps, golden[start + "map_a"], golden[start + "map_b"])


SLIM = "lookalike explain A B --model hotels/hotels --mean-image FILE.npy"


@row(
    WACV_2019,
    "maps of the demo, moving averages",
    "`--pooling mean --layer last`",
    "golden of TF-slim",
    f"{SLIM} --pooling mean --layer last",
)
def _(s: Setting) -> float:
    return of_slim_golden(s, "moving", pooled=True)


@row(
    WACV_2019,
    "maps of the demo, BatchNorm of the two images",
    "`--batch-statistics pair`",
    "golden of TF-slim",
    f"{SLIM} --pooling mean --layer last --batch-statistics pair",
)
def _(s: Setting) -> float:
    return of_slim_golden(s, "pair", pooled=True)


@row(
    WACV_2019,
    "similarity of the 128 outputs, both statistics",
    "the checkpoint as it is",
    "golden of TF-slim",
    SLIM,
)
def _(s: Setting) -> float:
    return max(of_slim_golden(s, name, pooled=False) for name in ("moving", "pair"))


@row(
    WACV_2019,
    "other units, widths, outputs and both file forms",
    "read off the tensors",
    "written down",
    f"{SLIM} --pooling mean --layer last",
)
def _(s: Setting) -> float:
    worst, mean = 0.0, np.random.default_rng(5).uniform(90, 130, (224, 224, 3)).astype(np.float32)
    np.save(s.folder / "mean.npy", mean)
    for seed, sizes in enumerate(
        (
            {"units": (2, 1, 3)},
            {"units": (1, 3, 1, 2), "inner": (4, 6, 8, 10), "outer": (16, 24, 32, 40), "n_outputs": 128},
        )
    ):
        tensors = slim_tensors(seed=seed, **sizes)
        (write_bundle if seed else write_single)(s.folder / f"net{seed}", tensors)
        pixels = [cv2.resize(cv2.imread(str(path)), (224, 224)) - mean for path in s.images]
        batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
        for training in (False, True):
            last = naive.slim_resnet_v2(tensors, batch, training=training).flatten(2).transpose(1, 2).numpy()
            options = ["--batch-statistics", "pair"] if training else []
            maps = explained(
                s,
                s.images,
                "--model",
                s.folder / f"net{seed}",
                "--mean-image",
                s.folder / "mean.npy",
                "--pooling",
                "mean",
                "--layer",
                "last",
                *options,
            )
            worst = max(worst, of_maps(maps, *naive.pair_maps(*last)))
    return worst


# --- WACV 2022 ------------------------------------------------------------------------------------

ROLLOUT = "lookalike explain A B --model ViT-B16.pth --method rollout"


@row(WACV_2022, "rollout maps, ViT p16 and p32", "`--method rollout`", "golden", ROLLOUT)
def _(s: Setting) -> float:
    worst = 0.0
    for name in ("xformer_vit_p16_mean", "xformer_vit_p32_mean"):
        golden = arrays(GOLDENS / f"{name}.npz")
        maps = explained(s, s.images, "--model", s.shared / "goldens" / f"{name}.pth", "--method", "rollout")
        worst = max(
            worst, of_maps(maps, golden["map_a"], golden["map_b"]), error(maps["similarity"], golden["score"])
        )
    return worst


@row(
    WACV_2022,
    "`attn_head_agg` min and max, `start_layer` 1",
    "`--fusion`, `--first-layer`",
    "golden",
    f"{ROLLOUT} --fusion max",
)
def _(s: Setting) -> float:
    golden, model = (
        arrays(GOLDENS / "xformer_vit_p16_mean.npz"),
        s.shared / "goldens" / "xformer_vit_p16_mean.pth",
    )
    plain = explained(s, s.images, "--model", model, "--layer", "last")["query_map"].ravel()
    choices = {
        "rollout_min": ("--fusion", "min"),
        "rollout_max": ("--fusion", "max"),
        "rollout_from1": ("--first-layer", "1"),
    }
    return max(
        error(
            explained(s, s.images, "--model", model, "--method", "rollout", *options)["query_map"].ravel(),
            golden[f"{name}_a"] @ plain,
        )
        for name, options in choices.items()
    )


@row(
    WACV_2022,
    "embedding by the CLS token",
    "`--pooling cls`, or the file's name",
    "golden",
    "lookalike explain A B --model ViT-B16-cls.pth",
)
def _(s: Setting) -> float:
    golden = arrays(GOLDENS / "xformer_vit_p16_cls.npz")
    a, b = (golden[f"embedding_{side}"][0].astype(np.float64) for side in "ab")
    found = explained(s, s.images, "--model", s.shared / "goldens" / "xformer_vit_p16_cls.pth")
    return error(found["similarity"], a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@row(
    WACV_2022,
    "maps of `resnet-101`'s layout (r50)",
    "the checkpoint as it is",
    "golden",
    "lookalike explain A B --model resnet-101.pth --layer last",
)
def _(s: Setting) -> float:
    golden = arrays(GOLDENS / "xformer_resnetv2.npz")
    shapes = json.loads(str(golden["keys"]))
    torch.save(made_weights(shapes, int(golden["weight_seed"])), s.folder / "r50.pth")
    maps = explained(s, s.images, "--model", s.folder / "r50.pth", "--input-size", 128, "--layer", "last")
    return of_maps(maps, golden["map_a"], golden["map_b"])


@row(
    WACV_2022,
    "`resnet-101` itself, and other units",
    "depth and width of the tensors",
    "written down, float64",
    "lookalike explain A B --model resnet-101.pth --layer last",
)
def _(s: Setting) -> float:
    worst = 0.0
    for seed, (units, base) in enumerate((((3, 4, 23, 3), 64), ((1, 2, 1, 2), 32))):
        tensors = made_weights(shapes_of(units, base, output=40), seed)
        torch.save({f"module.{name}": t for name, t in tensors.items()}, s.folder / "resnet-101.pth")
        cells = [naive.published_resnet_v2(tensors, squashed(path, 160)).numpy() for path in s.images]
        maps = explained(
            s, s.images, "--model", s.folder / "resnet-101.pth", "--input-size", 160, "--layer", "last"
        )
        worst = max(worst, of_maps(maps, *naive.pair_maps(*cells)))
    return worst


def of_transformer(s: Setting, model: Path, tensors: Any, side: int, heads: int, *options: object) -> float:
    found = [naive.vision_transformer(tensors, squashed(path, side), heads) for path in s.images]
    plain = naive.pair_maps(*(tokens.double().numpy() for tokens, _ in found))
    expected = [naive.rollout(attention).numpy() @ m for (_, attention), m in zip(found, plain, strict=True)]
    return of_maps(explained(s, s.images, "--model", model, "--method", "rollout", *options), *expected)


@row(
    WACV_2022,
    "other patches, sizes, depths and numbers of heads",
    "sizes of the tensors; `--heads`",
    "written down",
    f"{ROLLOUT} --heads 4",
)
def _(s: Setting) -> float:
    tensors = published(seed=3)
    torch.save(
        {"epoch": 1, "state_dict": {f"module.{n}": t for n, t in tensors.items()}}, s.folder / "ViT.pth"
    )
    usual = of_transformer(s, s.folder / "ViT.pth", tensors, 24, 2)
    return max(usual, of_transformer(s, s.folder / "ViT.pth", tensors, 24, 4, "--heads", 4))


@row(
    WACV_2022,
    "`.npz` of the original authors, positions as they are",
    "the same file",
    "written down",
    "lookalike explain A B --model ViT-B_16.npz --pooling mean --method rollout",
)
def _(s: Setting) -> float:
    tensors = published(seed=4)
    np.savez(s.folder / "ViT-B_16.npz", **in_jax(tensors))
    return of_transformer(s, s.folder / "ViT-B_16.npz", tensors, 24, 2, "--pooling", "mean")


# --- AVSL -----------------------------------------------------------------------------------------


def avsl_golden() -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(v) for name, v in arrays(GOLDENS / "avsl.npz").items() if v.dtype.kind in "fi"
    }


def golden_nodes(g: dict[str, Tensor], part: str) -> tuple[avsl.Nodes, list[Tensor]]:
    layers = [
        (
            g[f"{part}/feature_{i}"],
            g[f"embedder/conv1x1_{i}.weight"].flatten(1),
            g[f"embedder/conv1x1_{i}.bias"],
        )
        for i in range(3)
    ]
    maps = [avsl.activation_maps(*layer) for layer in layers]
    return avsl.Nodes(
        tuple(avsl.node_embedding(*layer) for layer in layers), tuple(avsl.certainty(m) for m in maps)
    ), maps


def golden_graph(g: dict[str, Tensor], part: str) -> avsl.Graph:
    links = tuple(avsl.sparse_links(g[f"{part}/buffer_{i}to{i + 1}"], 6) for i in range(2))
    return avsl.Graph(
        links, *(tuple(g[f"collector_before/prob_{name}_{i}"] for i in range(3)) for name in ("coef", "bias"))
    )


@row(
    AVSL,
    "embeddings, certainties, activation maps, links",
    "`lookalike.ops.avsl`",
    "golden",
    "lookalike.ops.avsl.node_embedding",
)
def _(_: Setting) -> float:
    g, worst = avsl_golden(), 0.0
    for part in ("train0", "train1", "eval"):
        nodes, maps = golden_nodes(g, part)
        for i in range(3):
            worst = max(
                worst,
                error(nodes.embeddings[i], g[f"{part}/embedding_{i}"]),
                error(nodes.certainties[i], g[f"{part}/certainty_{i}"]),
            )
            if part == "eval":
                worst = max(worst, error(maps[i], g[f"eval/cam_{i}"]))
            elif i < 2:
                worst = max(
                    worst, error(avsl.map_cosines(maps[i], maps[i + 1]), g[f"{part}/link_{i}to{i + 1}"])
                )
    return worst


@row(
    AVSL,
    "four distances and losses of training steps",
    "`--avsl --loss proxy-anchor`",
    "golden",
    "lookalike.ops.avsl.final_distances",
)
def _(_: Setting) -> float:
    g, worst = avsl_golden(), 0.0
    for part in ("train0", "train1"):
        nodes, _maps = golden_nodes(g, part)
        proxies = avsl.Nodes(
            tuple(g[f"collector_before/proxy_{i}"] for i in range(3)),
            tuple(torch.ones(5, 20) * c.mean() for c in nodes.certainties),
        )
        distances = {
            f"level{i}": avsl.level_distances(nodes.embeddings[i], proxies.embeddings[i]) for i in range(3)
        }
        distances["final"] = avsl.final_distances(nodes, proxies, golden_graph(g, part))
        for name, values in distances.items():
            loss = avsl.proxy_anchor_loss(values, g[f"{part}/labels"], g["collector_before/proxy_labels"])
            worst = max(
                worst, error(values, g[f"{part}/distance_{name}"]), error(loss, g[f"{part}/loss_{name}"])
            )
    return worst


@row(
    AVSL,
    "distance of evaluation",
    "`evaluate`, `search`, `--rerank avsl`",
    "golden",
    "lookalike.ops.avsl.all_pairs",
)
def _(_: Setting) -> float:
    g = avsl_golden()
    return error(
        avsl.all_pairs(golden_nodes(g, "eval")[0], graph=golden_graph(g, "train1")), g["eval/distance"]
    )


@row(
    AVSL,
    "checkpoint of 72 dimensions on ResNet-50, from picture to distance",
    "`models_trunk_best.ckpt` as `--model`",
    "written down",
    "lookalike explain A B --model models_trunk_best.ckpt --method avsl",
)
def _(s: Setting) -> float:
    torch.manual_seed(2)
    resnet, width = torchvision.models.resnet50(weights=None).eval(), 72
    t = {f"conv1x1_{i}.weight": torch.randn(width, c, 1, 1) / c**0.5 for i, c in enumerate((512, 1024, 2048))}
    t |= {f"conv1x1_{i}.bias": 0.1 * torch.randn(width) for i in range(3)}
    gates = {f"prob_coef_{i}": 1 + 0.1 * torch.randn(width) for i in range(3)} | {
        f"prob_bias_{i}": 0.1 * torch.randn(width) for i in range(3)
    }
    gates |= {f"link_{i}to{i + 1}": torch.randn(width, width) for i in range(2)}
    for name, tensors in (
        ("models_trunk", {f"base_model.model.{n}": v for n, v in resnet.state_dict().items()}),
        ("models_embedder", t),
        ("collectors_collector", gates),
    ):
        torch.save(tensors, s.folder / f"{name}_best.ckpt")
    sides = []
    for path in s.images:
        image = Image.open(path).convert("RGB")
        image = torchvision.transforms.CenterCrop(224)(torchvision.transforms.Resize(256)(image))
        x = (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - IMAGENET[0]) / IMAGENET[1]
        with torch.no_grad():
            x = resnet.layer1(resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x[None])))))
            maps = []
            for layer in (resnet.layer2, resnet.layer3, resnet.layer4):
                x = layer(x)
                maps.append(x[0])
            sides.append(naive.avsl_levels(t, maps))
    (nodes_a, certain_a), (nodes_b, certain_b) = sides
    expected = naive.inferred_distance(
        list(zip(nodes_a, nodes_b, strict=True)), list(zip(certain_a, certain_b, strict=True)), gates
    )
    found = json.loads(
        run(
            "explain", *s.images, "--model", s.folder / "models_trunk_best.ckpt", "--method", "avsl", "--json"
        )
    )
    return error(found["distance"], expected)


@row(
    AVSL,
    "Proxy-Anchor of the baseline",
    "`--loss proxy-anchor`",
    "pytorch-metric-learning",
    "lookalike.ops.avsl.proxy_anchor_loss",
)
def _(_: Setting) -> float:
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(30, 12, generator=generator), torch.arange(30) % 5
    oracle = losses.ProxyAnchorLoss(5, 12, margin=0.1, alpha=32)
    distances = 2 - 2 * F.normalize(x, dim=1) @ F.normalize(oracle.proxies, dim=1).T
    ours = avsl.proxy_anchor_loss(distances, labels, torch.arange(5))
    return error(ours.detach(), oracle(x, labels).detach())


# --- CSA ------------------------------------------------------------------------------------------


def csa_files(s: Setting) -> dict[str, np.ndarray]:
    golden = arrays(GOLDENS / "csa.npz")
    for name in ("queries", "gallery"):
        np.save(s.folder / f"{name}.npy", golden[name])
    return golden


def reranked(s: Setting, k: int, checkpoint: Path, *options: object) -> dict[str, np.ndarray]:
    run(
        "rerank",
        "--queries",
        s.folder / "queries.npy",
        "--gallery",
        s.folder / "gallery.npy",
        "--method",
        "csa",
        "--checkpoint",
        checkpoint,
        "-k",
        k,
        "-o",
        s.folder / "ranks.npz",
        *options,
    )
    return arrays(s.folder / "ranks.npz")


def by_rank(scores: np.ndarray) -> np.ndarray:
    return np.sort(scores, axis=1)[:, ::-1]


RERANK = "lookalike rerank --queries Q --gallery G --method csa --checkpoint FILE -k K -o ranks.npz"


@row(CSA, "scores and order at K = 40", "`rerank --method csa`", "golden", RERANK)
def _(s: Setting) -> float:
    golden = csa_files(s)
    found = reranked(s, 40, s.shared / "goldens" / "csa_checkpoint.pth")
    assert (found["ranks"] == golden["reranked"]).all()
    return error(found["scores"], by_rank(golden["rerank_scores"]))


@row(CSA, "lists shorter than the anchors", "`rerank -k`", "golden", RERANK)
def _(s: Setting) -> float:
    csa_files(s)
    golden, worst = arrays(GOLDENS / "csa_short_lists.npz"), 0.0
    for k in (1, 7, 20, 31):
        found = reranked(s, k, s.shared / "goldens" / "csa_checkpoint.pth")
        assert (found["ranks"] == golden[f"reranked_{k}"]).all()
        worst = max(worst, error(found["scores"], by_rank(golden[f"scores_{k}"])))
    return worst


@row(
    CSA,
    "other anchors, widths, depths and heads",
    "sizes of the tensors; `--set heads=N`",
    "written down",
    RERANK,
)
def _(s: Setting) -> float:
    torch.manual_seed(1)
    queries, gallery, worst = (
        F.normalize(torch.randn(2, 40), dim=1),
        F.normalize(torch.randn(90, 40), dim=1),
        0.0,
    )
    np.save(s.folder / "queries.npy", queries)
    np.save(s.folder / "gallery.npy", gallery)
    for width, depth, heads, n_anchors, k in ((128, 2, 4, 30, 50), (96, 3, 3, 44, 12)):
        t = {"topk_proj.weight": torch.randn(width, n_anchors) / 6, "topk_proj.bias": torch.randn(width) / 6}
        t |= {
            "feature_align.layers.0.weight": torch.randn(n_anchors, width),
            "feature_align.layers.0.bias": torch.zeros(n_anchors),
        }
        for i in range(depth):
            for name, shape in {
                "attn.qkv": (3 * width, width),
                "attn.proj": (width, width),
                "mlp.fc1": (2 * width, width),
                "mlp.fc2": (width, 2 * width),
            }.items():
                t |= {
                    f"blocks.{i}.{name}.weight": torch.randn(shape) / width**0.5,
                    f"blocks.{i}.{name}.bias": torch.randn(shape[0]) / 10,
                }
            t |= {
                f"blocks.{i}.norm{j}.{leaf}": (leaf == "weight") + torch.randn(width) / 10
                for j in (1, 2)
                for leaf in ("weight", "bias")
            }
        torch.save({"epoch": 1, "state_dict": t}, s.folder / "csa.pth")
        order = (queries @ gallery.T).argsort(dim=1, descending=True)
        expected = [
            naive.context_scores(t, q, gallery[o[:k]], gallery[o[: n_anchors - 1]], heads)
            for q, o in zip(queries, order, strict=True)
        ]
        found = reranked(s, k, s.folder / "csa.pth", "--set", f"heads={heads}")
        worst = max(worst, error(found["scores"], by_rank(torch.stack(expected).numpy())))
    return worst


@row(CSA, "loss of training", "`train-reranker`", "golden", "lookalike.ops.affinity.contrastive_loss")
def _(_: Setting) -> float:
    golden = arrays(GOLDENS / "csa.npz")
    similarity, targets = torch.from_numpy(golden["exp_similarity"]), torch.from_numpy(golden["loss_targets"])
    return error(contrastive_loss(similarity, targets.bool()), golden["contrastive_loss"])


# --- retrieval networks and the revisited protocol --------------------------------------------------


@row(
    RETRIEVAL,
    "mAP and mP@1, 5, 10 of easy, medium and hard",
    "`evaluate revisited --ranks`",
    "golden",
    "lookalike evaluate revisited --gnd gnd.pkl --ranks ranks.npz",
)
def _(s: Setting) -> float:
    golden = arrays(GOLDENS / "revisited.npz")
    (s.folder / "gnd.pkl").write_bytes(pickle.dumps(json.loads(str(golden["gnd"]))))
    np.savez(s.folder / "ranks.npz", ranks=golden["ranks"])
    found = json.loads(
        run(
            "evaluate",
            "revisited",
            "--gnd",
            s.folder / "gnd.pkl",
            "--ranks",
            s.folder / "ranks.npz",
            "--json",
        )
    )
    return max(
        error(
            [found[name][key] for key in ("map", "mp@1", "mp@5", "mp@10")],
            [golden[f"eval/{name}/mAP"], *golden[f"eval/{name}/mP_at_1_5_10"]],
        )
        for name in ("easy", "medium", "hard")
    )


def of_network(s: Setting, architecture: str) -> float:
    torch.manual_seed(0)
    network, power = getattr(torchvision.models, architecture)(weights=None).eval(), 2.6
    layers = list(network.children())[:-2] if "resnet" in architecture else list(network.features.children())
    if "densenet" in architecture:
        layers.append(torch.nn.ReLU())
    elif "resnet" not in architecture:
        layers.pop()
    features = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    meta = {"architecture": architecture, "pooling": "gem", "mean": [0.0] * 3, "std": [1.0] * 3}
    tensors = {f"features.{name}": t for name, t in features.state_dict().items()} | {
        "pool.p": torch.tensor([power])
    }
    torch.save({"meta": meta, "state_dict": tensors}, s.folder / "network.pth")
    pixels = [
        torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 255
        for path in s.images
    ]
    a, b = (naive.gem_embedding(features, x, power, (1.0, 2**-0.5, 0.5)) for x in pixels)
    return error(explained(s, s.images, "--model", s.folder / "network.pth")["similarity"], a @ b)


@row(
    RETRIEVAL,
    "GeM at three scales on ResNet-50, VGG-16, AlexNet, DenseNet-121",
    "`--model network.pth`",
    "written down",
    "lookalike explain A B --model network.pth",
)
def _(s: Setting) -> float:
    return max(of_network(s, name) for name in ("resnet50", "vgg16", "alexnet", "densenet121"))


@row(
    RETRIEVAL,
    "`whitenlearn`",
    "`models whiten --pairs`",
    "written down",
    "lookalike models whiten network.pth whitened/ --pairs pairs.csv",
)
def _(_: Setting) -> float:
    x = np.random.default_rng(0).standard_normal((60, 9)) * np.geomspace(3, 0.1, 9)
    q, p = np.arange(30), np.arange(30, 60)
    mean, difference = x[q].mean(0), x[q] - x[p]
    inverse = np.linalg.inv(np.linalg.cholesky(difference.T @ difference / len(q)))
    turned = (x - mean) @ inverse.T
    values, vectors = np.linalg.eig(turned.T @ turned)
    expected = (x - mean) @ (vectors[:, values.argsort()[::-1]].T @ inverse).T
    found = discriminative_whitening(torch.from_numpy(x), q.tolist(), p.tolist())
    ours = (torch.from_numpy(x) - found.mean) @ found.projection.T
    return error(ours.abs(), np.abs(expected))


@row(
    "SuperGlobal, ICCV 2023",
    "scores and order with the published settings",
    "`--rerank superglobal`",
    "golden",
    "lookalike rerank --method superglobal",
)
def _(s: Setting) -> float:
    golden = arrays(GOLDENS / "superglobal.npz")
    for name in ("queries", "gallery"):
        np.save(s.folder / f"{name}.npy", golden[name])
    run(
        "rerank",
        "--queries",
        s.folder / "queries.npy",
        "--gallery",
        s.folder / "gallery.npy",
        "--method",
        "superglobal",
        "-k",
        90,
        "-o",
        s.folder / "ranks.npz",
    )
    found = arrays(s.folder / "ranks.npz")
    assert (found["ranks"] == golden["published_ranks"]).all()
    return error(found["scores"], by_rank(golden["published_scores"]))


JUDGED = {
    "precision_at_1": "recall_at_1",
    "r_precision": "r_precision",
    "mean_average_precision_at_r": "map_at_r",
    "mean_reciprocal_rank": "mean_reciprocal_rank",
}  # theirs: ours


@row(
    "metric learning",
    "Recall@1, R-precision, mAP@R, MRR",
    "`evaluate`",
    "pytorch-metric-learning",
    "lookalike evaluate --embeddings E --labels L",
)
def _(s: Setting) -> float:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 8
    x = torch.randn(8, 16, generator=generator)[labels] + 0.9 * torch.randn(80, 16, generator=generator)
    np.save(s.folder / "e.npy", x.numpy())
    np.save(s.folder / "labels.npy", labels.numpy())
    oracle = AccuracyCalculator(include=tuple(JUDGED), k=None, device=torch.device("cpu"))
    expected = oracle.get_accuracy(F.normalize(x, dim=1), labels)
    options = (
        "--embeddings",
        s.folder / "e.npy",
        "--labels",
        s.folder / "labels.npy",
        "--no-clustering",
        "--json",
    )
    found = {metric["name"]: metric["value"] for metric in json.loads(run("evaluate", *options))["metrics"]}
    return error([found[name] for name in JUDGED.values()], [expected[name] for name in JUDGED])
