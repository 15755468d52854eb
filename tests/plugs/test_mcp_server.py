"""The tools of a gallery, called by the client of MCP's own SDK."""

import asyncio
import base64
import io
import json

import pytest
from PIL import Image

from lookalike import scenes
from lookalike.gallery import Gallery

Client = pytest.importorskip("mcp").Client

from lookalike.plugs.mcp_server import mcp_server  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walls")
    for i in range(4):
        scenes.paint(i, 96).crop((0, 0, 96, 70)).save(folder / f"wall{i}.png")
    return folder


@pytest.fixture(scope="module")
def gallery(folder, mini, tmp_path_factory):
    gallery = Gallery.create(tmp_path_factory.mktemp("mcp") / "walls.gallery", mini)
    gallery.add(folder)
    return gallery


def asked(server, *calls):
    """The answers of a server to calls (tool, arguments), over the SDK's connection in memory."""

    async def ask():
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(ask())


def id_of(gallery, name):
    return next(record.id for record in gallery.records() if record.path.endswith(name))


def pixels(content):
    return Image.open(io.BytesIO(base64.b64decode(content.data)))


def test_a_search_by_id_and_by_bytes_gives_hits_and_scaled_pictures(gallery, folder):
    sent = base64.b64encode((folder / "wall2.png").read_bytes()).decode()
    calls = [("search", {"picture": p, "k": 2}) for p in (id_of(gallery, "wall2.png"), sent)]
    _, answers = asked(mcp_server(gallery), *calls)
    for answer in answers:
        first, *pictures = answer.content
        hits = json.loads(first.text)["hits"]
        assert hits[0]["name"] == "wall2.png" and hits[0]["similarity"] == pytest.approx(1, abs=1e-4)
        assert len(pictures) == 2 and max(pixels(pictures[0]).size) == 96
        assert str(folder) not in first.text  # no path of this machine


def test_why_and_compare_give_the_similarity_and_both_maps(gallery, mini, folder):
    a, b = id_of(gallery, "wall0.png"), id_of(gallery, "wall1.png")
    _, (why, compared) = asked(
        mcp_server(gallery), ("why", {"query": a, "match": b}), ("compare", {"a": a, "b": b})
    )
    expected = float(mini.similarity(folder / "wall0.png", folder / "wall1.png"))
    for answer in (why, compared):
        said = json.loads(answer.content[0].text)
        assert said["similarity"] == pytest.approx(expected, abs=1e-3) and said["maps_sum_to_the_similarity"]
        assert pixels(answer.content[1]).width == 900


def test_groups_name_copies(gallery, tmp_path, folder, mini):
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes((folder / "wall0.png").read_bytes())
    copies = Gallery.in_memory(mini)
    copies.add(tmp_path)
    _, (answer,) = asked(mcp_server(copies), ("groups", {"kind": "copy"}))
    said = json.loads(answer.content[0].text)
    (group,) = said["first"]
    assert said["groups"] == 1 and group["kind"] == "copy" and group["links"][0]["first"] == 0
    assert [picture["name"] for picture in group["pictures"]] == ["one.png", "two.png"]
    assert {picture["id"] for picture in group["pictures"]} == {copies.records()[0].id}
    assert str(tmp_path) not in answer.content[0].text


def test_a_message_names_a_file_that_is_gone_without_its_folder(tmp_path, folder, mini):
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes((folder / f"wall{len(name) % 2}.png").read_bytes() + name.encode())
    gone = Gallery.in_memory(mini)
    gone.add(tmp_path)
    a, b = (record.id for record in gone.records())
    (tmp_path / "one.png").unlink()
    (tmp_path / "two.png").unlink()
    _, (answer,) = asked(mcp_server(gone), ("why", {"query": a, "match": b}))
    assert (
        answer.is_error and ".png" in answer.content[0].text and str(tmp_path) not in answer.content[0].text
    )


def test_nothing_is_written_unless_told(gallery, folder):
    tools, _ = asked(mcp_server(gallery))
    assert {tool.name for tool in tools} == {"search", "why", "compare", "groups"}
    assert all(tool.annotations.read_only_hint for tool in tools)
    tools, (answer,) = asked(mcp_server(gallery, add_from=folder), ("update", {}))
    assert {tool.name for tool in tools if not tool.annotations.read_only_hint} == {"update"}
    assert answer.content[0].text.startswith("4 pictures")


def test_paths_unknown_ids_and_bad_filters_are_answers_not_crashes(gallery, folder):
    _, answers = asked(
        mcp_server(gallery),
        ("search", {"picture": str(folder / "wall0.png")}),
        ("why", {"query": id_of(gallery, "wall0.png"), "match": "nobody"}),
        ("search", {"picture": base64.b64encode(b"no image").decode()}),
        ("search", {"text": "a red wall"}),
    )
    said = [answer.content[0].text for answer in answers]
    assert all(answer.is_error for answer in answers)
    assert "paths are not taken" in said[0] and "no picture with the id 'nobody'" in said[1]
    assert "no text tower" in said[3] or "words" in said[3]
