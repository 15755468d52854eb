"""Several processes on one gallery: what is found while others write is whole and right."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lookalike import scenes
from lookalike.gallery import Gallery

N_PICTURES, N_FIRST = 14, 4

SEARCHER = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from lookalike.gallery import Gallery

uri, truth, stop = sys.argv[1:]
vectors = dict(np.load(truth))
gallery = Gallery.open(uri)
query = vectors["query"]
sizes, worst = [], 0.0
print("ready", flush=True)
while True:
    last = Path(stop).exists()
    hits = gallery.search(query, k=len(vectors))
    assert len({hit.id for hit in hits}) == len(hits)
    assert all(a.similarity >= b.similarity for a, b in zip(hits, hits[1:]))
    worst = max([worst, *(abs(hit.similarity - float(vectors[hit.id] @ query)) for hit in hits)])
    sizes.append(len(hits))
    if last:
        break
    time.sleep(0.01)  # the one that adds needs a processor, too
print(json.dumps({"searches": len(sizes), "sizes": sorted(set(sizes)), "worst": worst,
                  "ever_less": sizes != sorted(sizes)}))
"""


@pytest.fixture
def many(tmp_path):
    """Fourteen small pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(N_PICTURES):
        scenes.paint(i, 200 + i).crop((0, 0, 90 + i, 80)).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_two_processes_search_while_a_third_adds(mini, many, tmp_path):
    alone = Gallery.in_memory(mini)
    alone.add(many)
    query = mini.embed([many[0]])[0].numpy()
    vectors = {hit.id: mini.embed([hit.path])[0].numpy() for hit in alone.search(query, k=N_PICTURES)}
    truth, stop, uri = tmp_path / "truth.npz", tmp_path / "stop", tmp_path / "g"
    np.savez(truth, query=query, **vectors)
    gallery = Gallery.create(uri, mini)
    gallery.add(many[:N_FIRST])
    searchers = [
        subprocess.Popen(
            [sys.executable, "-c", SEARCHER, uri, truth, stop],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [searcher.stdout.readline() for searcher in searchers] == ["ready\n"] * 2
    for file in many[N_FIRST:]:
        assert gallery.add(file, metadata={"later": True}).added == 1
    stop.touch()
    for searcher in searchers:
        out, errors = searcher.communicate(timeout=300)
        assert searcher.returncode == 0 and errors == "", errors
        seen = json.loads(out)
        assert seen["sizes"][0] >= N_FIRST and seen["sizes"][-1] == N_PICTURES and len(seen["sizes"]) > 2
        assert not seen["ever_less"] and seen["worst"] < 1e-5
