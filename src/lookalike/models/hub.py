"""Models in repositories of the Hugging Face hub; the only importer of its client."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, scan_cache_dir
from huggingface_hub.errors import CacheNotFound, EntryNotFoundError, HfHubHTTPError, HFValidationError

from lookalike.errors import LookalikeError, UnknownModelError, first_line
from lookalike.models.image_text import holds_image_text
from lookalike.models.image_text.finding import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from lookalike.models.saving import CONFIG_FILE, WEIGHTS_FILE
from lookalike.models.transformers_folders import holds_transformers

# What the tokenizers of transformers are made of; a repository holds some of them.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "spiece.model",
                    "tokenizer.model", "added_tokens.json",
                    "special_tokens_map.json")  # fmt: skip


def hub_cache() -> tuple[str, set[str]]:
    """Return the folder in which fetched models are kept, and the names of the repositories in it."""
    try:
        return str(constants.HF_HUB_CACHE), {repo.repo_id for repo in scan_cache_dir().repos}
    except (CacheNotFound, OSError):  # nothing was fetched yet
        return str(constants.HF_HUB_CACHE), set()


@contextmanager
def _fetching(repository: str) -> Iterator[None]:
    """Turn what the client raises into one sentence; that a file is not there is the caller's to judge."""
    try:
        yield
    except EntryNotFoundError:
        raise
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UnknownModelError(
            f"hf-hub:{repository} could not be fetched: {first_line(error)}; check name and network"
        ) from error


def saved_on_hub(repository: str) -> Path | None:
    """Local copy of an embedder that ``save`` wrote; None where the repository holds another format."""
    try:
        with _fetching(repository):
            config = Path(hf_hub_download(repository, CONFIG_FILE))
            if '"format"' not in config.read_text(encoding="utf-8"):
                return None  # one of timm's own repositories
            hf_hub_download(repository, WEIGHTS_FILE)
    except EntryNotFoundError:
        return None
    return config.parent


def transformers_on_hub(repository: str) -> Path | None:
    """Local copy of a vision model of transformers; None for repositories of timm."""
    try:
        with _fetching(repository):
            config = Path(hf_hub_download(repository, CONFIG_FILE))
            if not holds_transformers(config.parent) or '"architecture"' in config.read_text(
                encoding="utf-8"
            ):
                return None
            hf_hub_download(repository, WEIGHTS_FILE)
    except EntryNotFoundError:
        return None
    with suppress(EntryNotFoundError):
        hf_hub_download(repository, "preprocessor_config.json")
    return config.parent


def image_text_on_hub(repository: str) -> Path | None:
    """Local copy of an image-text model of transformers or open_clip; None for repositories of timm."""
    wanted: tuple[str, ...] = (WEIGHTS_FILE,)
    optional: tuple[str, ...] = ("preprocessor_config.json",)
    try:
        with _fetching(repository):
            config = Path(hf_hub_download(repository, CONFIG_FILE))
            if '"architecture"' in config.read_text(encoding="utf-8"):
                return None  # one of timm's own
            if not holds_image_text(config.parent):
                return None
    except EntryNotFoundError:
        wanted, optional = (OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS[0]), ()
    try:
        with _fetching(repository):
            files = [Path(hf_hub_download(repository, name)) for name in wanted]
    except EntryNotFoundError:
        return None
    for name in (*optional, *_TOKENIZER_FILES):
        with suppress(EntryNotFoundError):
            hf_hub_download(repository, name)
    return files[0].parent


def upload(
    repo_id: str,
    write: Callable[[Path, str], None],
    *,
    private: bool | None,
    token: str | None,
    commit_message: str,
) -> str:
    """Upload what ``write`` puts into a folder, given the repository's name; return the repository's address.

    Raises LookalikeError where the hub refuses or can't be reached.
    """
    api = HfApi(token=token)
    try:
        repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), repository)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=commit_message)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise LookalikeError(
            f"{repo_id} could not be uploaded: {first_line(error)}; check its name, the network and that "
            "you are logged in (hf auth login)"
        ) from error
    return f"https://huggingface.co/{repository}"
