"""``lookalike serve``: errors before it starts."""

import socket

import pytest
import uvicorn
from starlette.testclient import TestClient
from typer.testing import CliRunner

from lookalike.cli import app, serving
from lookalike.gallery import Gallery


def run(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


def test_a_gallery_that_is_not_there_is_one_sentence(tmp_path):
    result = run("-g", tmp_path / "none")
    assert result.exit_code == 1 and result.stderr.startswith("lookalike: ")


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "fastapi" else name)
    result = run("-g", "any")
    assert result.exit_code == 1 and "pip install 'lookalike[web]'" in result.stderr


def test_a_port_in_use_is_one_sentence(tmp_path):
    Gallery.create(tmp_path / "g")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("-g", tmp_path / "g", "--port", taken.getsockname()[1])
    assert result.exit_code == 1 and "--port" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("", "--host is empty"),
        ("127.0.0.1:9000", "the port by --port"),
        ("http://localhost", "the port by --port"),
        ("192.0.2.1", "give an address of this machine by --host"),  # of documentation, so nobody has it
    ],
)
def test_a_host_that_is_not_of_this_machine_is_one_sentence(tmp_path, host, advice):
    result = run("-g", tmp_path / "none", "--host", host)
    assert result.exit_code == 1 and result.stderr.startswith("lookalike: ") and advice in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said", "names"),
    [
        (["--host", "LOCALHOST"], "http://LOCALHOST:", {"localhost": 200, "rebound.example": 400}),
        (["--host", "127.0.0.2"], "http://127.0.0.2:", {"127.0.0.2": 200, "rebound.example": 400}),
        (["--host", "0.0.0.0"], "http://localhost:", {socket.gethostname(): 200, "rebound.example": 400}),
        (["--host", "0.0.0.0", "--allow-host", "photos.example"], "--token asks", {"photos.example": 200}),
        (["--token", "ä b&c"], "#token=%C3%A4%20b%26c", {"rebound.example": 401}),
    ],
)
def test_the_names_that_are_answered_follow_the_address(tmp_path, monkeypatch, arguments, said, names):
    Gallery.create(tmp_path / "g")
    answered = {}

    def run_instead(server, sockets):
        client = TestClient(server.config.app)
        answered.update({n: client.get("/api/health", headers={"host": n}).status_code for n in names})

    monkeypatch.setattr(uvicorn.Server, "run", run_instead)
    result = run("-g", tmp_path / "g", "--port", 0, *arguments)
    assert result.exit_code == 0 and said in result.output and answered == names
