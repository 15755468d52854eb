"""Embedders on the Hugging Face hub: ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

from lookalike.errors import writing
from lookalike.models.model_card import ModelFacts, model_card
from lookalike.models.saving import LoadedModel

_CARD = "README.md"


class _Saves(Protocol):
    def as_loaded(self) -> LoadedModel: ...

    def save(self, folder: str | Path, *, half: bool = False) -> None: ...


class Sharing:
    """The hub's three verbs, for classes that have ``save``, ``load`` and ``as_loaded``."""

    def save_pretrained(
        self: _Saves,
        save_directory: str | Path,
        *,
        facts: ModelFacts | None = None,
        repository: str = "",
        half: bool = False,
    ) -> None:
        """Write what ``save`` writes and a model card, README.md, of what is known.

        ``facts`` are license, data and metrics; without them the card says that they are not stated. Raises
        LookalikeError where the folder can't be written.
        """
        folder = Path(save_directory)
        self.save(folder, half=half)
        card = model_card(self.as_loaded(), facts or ModelFacts(), repository=repository)
        with writing(folder / _CARD):
            (folder / _CARD).write_text(card, encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """``load`` by the names of transformers: a folder, or ``owner/name`` on the hub.

        ``options`` are those of ``load``. Raises as ``load``.
        """
        given = str(pretrained_model_name_or_path)
        is_hub = not Path(given).exists() and given.count("/") == 1 and not given.startswith((".", "/", "~"))
        loaded: Self = cls.load(f"hf-hub:{given}" if is_hub else given, **options)  # type: ignore[attr-defined]
        return loaded

    def push_to_hub(
        self: _Saves,
        repo_id: str,
        *,
        facts: ModelFacts | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload the embedder",
        half: bool = False,
    ) -> str:
        """Upload the embedder and its model card to ``owner/name``, making the repository; its address.

        ``private`` None is the account's default. Raises LookalikeError where the hub refuses or can't be
        reached.
        """
        from lookalike.models import hub  # its client is slow to import

        def write(folder: Path, repository: str) -> None:
            Sharing.save_pretrained(self, folder, facts=facts, repository=repository, half=half)

        return hub.upload(repo_id, write, private=private, token=token, commit_message=commit_message)
