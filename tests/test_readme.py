"""What the README shows, runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_after(heading, language=""):
    return re.search(rf"## {heading}\n.*?```{language}\n(.*?)```", README, re.DOTALL).group(1)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """a.jpg and b.jpg share a painting; c.jpg and photos/ are other rooms."""
    monkeypatch.chdir(tmp_path)
    first, second, _ = scenes.room_pair(1)
    first.image.save("a.jpg")
    second.image.save("b.jpg")
    scenes.room(9, paintings=[7]).image.save("c.jpg")
    Path("photos").mkdir()
    for seed in range(6):
        scenes.room(seed, paintings=[seed], size=(96, 128)).image.save(f"photos/{seed}.jpg")
    return tmp_path


def test_the_python_examples_run(photos):
    """One after the other, as a reader would type them."""
    section = README.split("## In Python")[1].split("## On the command line")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(examples) == 2
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(examples)], check=True, cwd=photos)
    assert (photos / "why.png").stat().st_size > 10_000
    assert (photos / "hit.png").stat().st_size > 10_000


def test_the_command_lines_run(photos):
    """One after the other: a gallery is indexed before it is searched."""
    for line in block_after("On the command line").split("\n")[:-1]:
        program, *arguments = shlex.split(line)
        assert program == "lookalike"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        named = re.findall(r"\S+\.(?:png|npz|html)", line)
        assert all((photos / name).stat().st_size > 0 for name in named)


def test_lines_of_training_are_understood(tmp_path, monkeypatch):
    """Their options exist; what they do is tested with small data elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds").mkdir()
    (tmp_path / "embeddings.safetensors").touch()
    group = typer.main.get_command(app)
    for line in block_after("Train, evaluate, compare").split("\n")[:-1]:
        name, *arguments = shlex.split(line.split("#")[0].split("lookalike ")[1])
        command = group.commands[name]
        context = command.make_context(name, arguments)
        if hasattr(command, "resolve_command"):  # a group: `evaluate`
            rest = [*context._protected_args, *context.args]
            name, command, arguments = command.resolve_command(context, rest)
            context = command.make_context(name, arguments, parent=context)
        assert context.params


def test_the_two_commands_name_what_exists():
    block = block_after("Two commands")
    assert "uv run lookalike demo" in block and "uv run pytest" in block
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets and all((ROOT / target).exists() for target in targets)


def test_models_of_the_readme_are_those_of_the_command():
    from lookalike.models.loading import RECOMMENDED

    section = README.split("## Models")[1].split("## Where to read on")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == list(RECOMMENDED)


def test_every_method_is_in_the_readme():
    from lookalike.explainers import EXPLAINERS

    told = re.findall(r"^\| `([a-z-]+)` \| (?!first)", README.split("## Models")[0], re.MULTILINE)
    assert [name for name in told if name != "geometry"] == list(EXPLAINERS)  # that one draws no maps
