"""``lookalike serve``: errors before it starts."""

import socket

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
