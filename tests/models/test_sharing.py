"""Embedders for the hub: the folder, the card, and what the hub's own client is asked to do."""

import json
from unittest import mock

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from lookalike.errors import LookalikeError
from lookalike.models.embedder import Embedder
from lookalike.models.model_card import ModelFacts

FACTS = ModelFacts(
    license="apache-2.0", data="birds | crops", metrics={"recall_at_1": 0.83}, protocol="all against all"
)


def test_the_folder_loads_and_its_card_is_the_hubs(mini, pictures, tmp_path):
    mini.save_pretrained(tmp_path / "shared", facts=FACTS, repository="me/birds")
    again = Embedder.from_pretrained(tmp_path / "shared", device="cpu")
    assert torch.equal(again.embed(pictures[:2]), mini.embed(pictures[:2]))
    card = ModelCard.load(tmp_path / "shared" / "README.md")
    known = card.data.to_dict()
    assert (known["license"], known["library_name"]) == ("apache-2.0", "lookalike")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert "| `recall_at_1` | 0.8300 |" in card.text and "birds \\| crops" in card.text
    assert 'Embedder.load("hf-hub:me/birds")' in card.text
    assert mini.fingerprint()[:16] in card.text


def test_what_nobody_said_is_said_to_be_unstated(mini, tmp_path):
    mini.save_pretrained(tmp_path / "shared")
    card = ModelCard.load(tmp_path / "shared" / "README.md")
    assert card.data.license is None
    assert "| license | not stated |" in card.text and "Metrics: not stated." in card.text


def test_a_push_makes_the_repository_and_uploads_a_whole_folder(mini):
    uploaded = {}

    def upload(self, *, repo_id, folder_path, commit_message):
        again = Embedder.load(folder_path, device="cpu")
        uploaded.update(repo=repo_id, fingerprint=again.fingerprint(), message=commit_message)

    made = mock.Mock(repo_id="me/birds")
    with (
        mock.patch.object(HfApi, "create_repo", autospec=True, return_value=made) as create,
        mock.patch.object(HfApi, "upload_folder", autospec=True, side_effect=upload),
    ):
        address = mini.push_to_hub("me/birds", facts=FACTS, private=True)
    assert create.call_args.kwargs == {"private": True, "exist_ok": True}
    assert uploaded == {
        "repo": "me/birds",
        "fingerprint": mini.fingerprint(),
        "message": "Upload the embedder",
    }
    assert address == "https://huggingface.co/me/birds"


def test_a_refusal_of_the_hub_is_one_sentence(mini):
    refused = HfHubHTTPError("403 Forbidden", response=mock.Mock(headers={}, request=None))
    with (
        mock.patch.object(HfApi, "create_repo", autospec=True, side_effect=refused),
        pytest.raises(LookalikeError, match="me/birds could not be uploaded: 403 Forbidden; check"),
    ):
        mini.push_to_hub("me/birds")
    assert issubclass(RepositoryNotFoundError, HfHubHTTPError)


def test_a_run_directory_tells_data_metrics_and_settings(tmp_path):
    (tmp_path / "training.json").write_text(
        json.dumps(
            {
                "settings": {"epochs": 2, "seed": 3},
                "description": {"model": "mini", "loss": "proxy-anchor", "dims": 64},
                "data": {"images": 1800, "classes": 30, "fingerprint": "f"},
            }
        )
    )
    (tmp_path / "result.json").write_text(json.dumps({"epoch": 1, "last_epoch": 2, "stopped": ""}))
    (tmp_path / "evaluation.csv").write_text("step,epoch,recall_at_1\n4,1,0.75\n8,2,0.5\n")
    facts = ModelFacts.of_run(tmp_path, license="mit")
    assert facts.metrics == {"recall_at_1": 0.75}  # of the epoch that was kept, not of the last
    assert facts.data == "1,800 images of 30 classes" and facts.license == "mit"
    assert facts.settings["seed"] == 3 and facts.base_model == "mini"
    with pytest.raises(LookalikeError, match="no finished training"):
        ModelFacts.of_run(tmp_path / "other")


def test_names_with_an_owner_are_looked_for_on_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(Embedder, "load", classmethod(lambda cls, model, **options: asked.append(model)))
    Embedder.from_pretrained("me/birds")
    Embedder.from_pretrained("./me/birds")
    Embedder.from_pretrained("mini")
    assert asked == ["hf-hub:me/birds", "./me/birds", "mini"]
