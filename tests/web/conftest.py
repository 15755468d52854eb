"""A gallery of generated rooms, its app, clients for it, and a real server on the loopback."""

import io

import pytest
from PIL import Image
from starlette.testclient import TestClient

from lookalike import scenes
from lookalike.gallery import Gallery, folder_labels
from lookalike.web import WebLimits, create_app
from made_avsl import avsl_embedder
from made_browser import chromium
from made_rooms import save_rooms
from made_server import serving

LIMITS = WebLimits(max_upload_bytes=2**20, max_pixels=2_000_000, max_queries=4)


@pytest.fixture(scope="session")
def room_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    save_rooms(scenes.gallery_of_rooms(3, n_paintings=5, rooms_per_painting=2, size=(150, 200)), folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def gallery(room_folder, mini, tmp_path_factory):
    """A gallery on disk; read-only."""
    made = Gallery.create(tmp_path_factory.mktemp("galleries") / "rooms.gallery", mini)
    made.add(room_folder, metadata=folder_labels(room_folder))
    return made


@pytest.fixture(scope="session")
def client(gallery):
    """A client of an app without a token and without adding; only uploads change its state."""
    with TestClient(create_app(gallery, limits=LIMITS)) as client:
        yield client


@pytest.fixture(scope="session")
def records(gallery):
    return list(gallery.records())


@pytest.fixture(scope="session")
def room_bytes(room_folder):
    return sorted(room_folder.rglob("*.png"))[4].read_bytes()


@pytest.fixture
def uploaded(client, room_bytes):
    """Id of an uploaded room that is also in the gallery."""
    return client.post("/api/queries", files={"file": ("a room.png", room_bytes)}).json()["id"]


@pytest.fixture
def png():
    """Bytes of a plain PNG: png((W, H))."""

    def make(size, color=(90, 120, 60)):
        buffer = io.BytesIO()
        Image.new("RGB", size, color).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def address(gallery):
    """Address of a real server."""
    with serving(create_app(gallery, limits=LIMITS)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def graph_address(room_folder):
    """Address of a real server of an AVSL model's gallery."""
    gallery = Gallery.in_memory(avsl_embedder())
    gallery.add(room_folder, workers=0)
    with serving(create_app(gallery, limits=LIMITS)) as port:
        yield f"http://127.0.0.1:{port}"
