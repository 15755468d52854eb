"""The app made from the environment, for servers that start it themselves, such as several workers:

LOOKALIKE_GALLERIES=photos.gallery uvicorn --factory lookalike.web.factory:app_from_environment --workers 2
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from lookalike.errors import LookalikeError
from lookalike.gallery import Gallery
from lookalike.types.machine import use_few_heaps
from lookalike.web.app import create_app
from lookalike.web.serving import LOCAL_HOSTS

GALLERIES, TOKEN, HOSTS = "LOOKALIKE_GALLERIES", "LOOKALIKE_TOKEN", "LOOKALIKE_HOSTS"


def app_from_environment() -> FastAPI:
    """The app for the galleries in ``LOOKALIKE_GALLERIES``, separated by spaces.

    ``LOOKALIKE_TOKEN`` holds the tokens, separated by spaces, as ``serve --token`` takes them, and
    ``LOOKALIKE_HOSTS`` the host names that are answered: by default all with a token, and without one
    those of the loopback, which prevents DNS rebinding. Adding pictures is disabled: each worker would
    have jobs of its own. Raises LookalikeError without galleries and for two of one name, GalleryError and
    its kinds if one can't be opened.
    """
    uris = os.environ.get(GALLERIES, "").split()
    if not uris:
        raise LookalikeError(f"{GALLERIES} names no gallery; set it to their folders, separated by spaces")
    use_few_heaps()
    galleries = {Path(uri).stem: Gallery.open(uri) for uri in uris}
    if len(galleries) < len(uris):
        raise LookalikeError("two of the galleries have the same name; rename one of their folders")
    tokens = os.environ.get(TOKEN, "").split() or None
    hosts = os.environ.get(HOSTS, "").split() or (None if tokens else LOCAL_HOSTS)
    return create_app(galleries, token=tokens, allowed_hosts=hosts)
