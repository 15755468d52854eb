"""Choice of the factor on a trained csa-mini's gate, on embeddings that its training did not have.

    uv run python benchmarks/csa_gate.py runs/csa-mini/training/model.safetensors --out FILE

Sets of training pictures (benchmarks/rerank.py, --tuning) in embeddings that neither the training nor
benchmarks/csa.py uses: the ImageNet MobileNetV2 at 96 pixels and iNaturalist's at 128, both with max
pooling. Writes the network with the factor of the largest mean gain in mAP among 0, 1/4, 1/2 and 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
from csa import mobilenet
from environment import add_shared, parser_of
from rerank import TUNING, load_task, precisions

from lookalike.models.csa.checkpoint import load_scorer, save_scorer
from lookalike.models.csa.shortlist import ExpandedScorer
from lookalike.rerankers import first_stage
from lookalike.rerankers.base import reordered

FACTORS = (0.0, 0.25, 0.5, 1.0)
EMBEDDINGS = (("imagenet1001", 96), ("inat_bird965", 128))


@torch.inference_mode()
def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    add_shared(parser)
    parser.add_argument("--images", type=int, default=240)
    arguments = parser.parse_args()
    scorer = load_scorer(arguments.model)
    assert isinstance(scorer, ExpandedScorer)
    gate = scorer.gate.weight.clone()
    gains: dict[float, list[float]] = {factor: [] for factor in FACTORS}
    for weights, side in EMBEDDINGS:
        file = arguments.shared / f"weights/mobilenetv2_100_{weights}.safetensors"
        embedder = mobilenet(file, side, "max")
        for name in TUNING:
            task = load_task(arguments.shared / "data", name, arguments.images)
            ranking = first_stage(embedder.embed(task.queries), embedder.embed(task.gallery), k=1024)
            before, recall = precisions(ranking, task)
            inputs = [
                scorer.inputs(q[None], ranking.gallery[rows][None])
                for q, rows in zip(ranking.queries, ranking.indices, strict=True)
            ]
            tokens = [scorer.network(x) for x in inputs]
            for factor in FACTORS:
                scorer.gate.weight.copy_(factor * gate)
                scores = torch.cat([scorer.scores(*pair) for pair in zip(inputs, tokens, strict=True)])
                after, recall_after = precisions(
                    reordered(ranking, scores, ranking.queries, ranking.gallery), task
                )
                gains[factor].append(float(after.mean() - before.mean()))
                print(f"{weights} {name} gate {factor}: mAP {after.mean() - before.mean():+.1%}, "
                      f"Recall@1 {recall_after - recall:+.1%}", flush=True)  # fmt: skip
    best = max(FACTORS, key=lambda factor: sum(gains[factor]))
    print({factor: round(sum(found) / len(found), 4) for factor, found in gains.items()}, "chosen:", best)
    scorer.gate.weight.copy_(best * gate)
    save_scorer(arguments.out, scorer, half=True)


if __name__ == "__main__":
    main()
