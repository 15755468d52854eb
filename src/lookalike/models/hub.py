"""Models in repositories of the Hugging Face hub; the only importer of its client."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, scan_cache_dir
from huggingface_hub.errors import CacheNotFound, EntryNotFoundError, HfHubHTTPError, HFValidationError

from lookalike.errors import UnknownModelError, first_line
from lookalike.models.image_text import holds_image_text
from lookalike.models.image_text.finding import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from lookalike.models.saving import CONFIG_FILE, WEIGHTS_FILE

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


def saved_on_hub(repository: str) -> Path | None:
    """Local copy of an embedder that ``save`` wrote; None where the repository holds another format."""
    try:
        config = Path(hf_hub_download(repository, CONFIG_FILE))
        if '"format"' not in config.read_text(encoding="utf-8"):
            return None  # one of timm's own repositories
        hf_hub_download(repository, WEIGHTS_FILE)
    except EntryNotFoundError:
        return None
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UnknownModelError(
            f"hf-hub:{repository} could not be fetched: {first_line(error)}; check name and network"
        ) from error
    return config.parent


def image_text_on_hub(repository: str) -> Path | None:
    """Local copy of an image-text model of transformers or open_clip; None for repositories of timm."""
    wanted: tuple[str, ...] = (WEIGHTS_FILE,)
    optional: tuple[str, ...] = ("preprocessor_config.json",)
    try:
        config = Path(hf_hub_download(repository, CONFIG_FILE))
        if '"architecture"' in config.read_text(encoding="utf-8"):
            return None  # one of timm's own
        if not holds_image_text(config.parent):
            return None
    except EntryNotFoundError:
        wanted, optional = (OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS[0]), ()
    try:
        files = [Path(hf_hub_download(repository, name)) for name in wanted]
    except EntryNotFoundError:
        return None
    except (OSError, HfHubHTTPError) as error:
        raise UnknownModelError(
            f"hf-hub:{repository} could not be fetched: {first_line(error)}; check name and network"
        ) from error
    for name in (*optional, *_TOKENIZER_FILES):
        with suppress(EntryNotFoundError):
            hf_hub_download(repository, name)
    return files[0].parent
