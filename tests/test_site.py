"""The pages of the documentation: what they show runs, or says why not; the site is made from them."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

import lookalike
from lookalike.cli import app
from lookalike.cli.default_command import DefaultCommandGroup
from made_site import site_folder

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"(?:^<!-- not run: (.+?) -->\n)?^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINES = ("", "sh", "bash")  # only those marked sh are run, the others are checked for commands and options
ELSEWHERE = {"moves.md"}  # tests/test_moves.py runs all of it


def blocks_of(page):
    """Why not run (or nothing), language and text of each block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def runnable(page):
    return [
        (language, text)
        for reason, language, text in blocks_of(page)
        if not reason and language in ("sh", "python")
    ]


def commands_in(text):
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.startswith("lookalike ")]
    return [shlex.split(line, comments=True) for line in lines]


SHOWN = [page for page in PAGES if page.name not in ELSEWHERE and runnable(page)]


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return site_folder(tmp_path_factory.mktemp("site"))


@pytest.fixture
def here(ready, tmp_path, monkeypatch):
    shutil.copytree(ready, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values_for(page, here):
    """What a page speaks of without saying where it comes from."""
    made = torch.Generator().manual_seed(0)
    names = {"lookalike": lookalike}
    if page.name == "reranking.md":
        return names | {
            "queries": torch.randn(3, 8, generator=made),
            "gallery": torch.randn(20, 8, generator=made),
        }
    if page.name in ("cases.md", "geometry.md", "layers.md", "words.md"):
        names["gallery"] = lookalike.Gallery.open(here / "photos.gallery")
        names["hit"] = names["gallery"].search("a.jpg")[0]
    if page.name == "cases.md":
        decide_some(names["gallery"])
    return names


def decide_some(gallery):
    """As many decisions as a calibration needs."""
    case = gallery.case("wall")
    for query in ("b.jpg", "c.jpg"):
        for i, pair in enumerate(case.add(gallery.search(query, k=8), query)):
            case.decide(pair, "same" if i < 3 else "different", who="ben")


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, here):
    """One after the other, as a reader would type them."""
    values = values_for(page, here)
    for language, text in runnable(page):
        if language == "python":
            if 'rerank="superglobal"' in text:
                values["gallery"] = lookalike.Gallery.open(here / "photos.gallery")
            exec(compile(text, str(page), "exec"), values)
        for arguments in commands_in(text) if language == "sh" else ():
            result = CliRunner().invoke(app, arguments[1:])
            assert result.exit_code == 0, f"{shlex.join(arguments)}\n{result.output}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_commands_and_options_of_a_page_exist(page):
    for _, language, text in blocks_of(page):
        for arguments in commands_in(text) if language in LINES else ():
            command = typer.main.get_command(app)
            for word in arguments[1:]:
                children = getattr(command, "commands", {})
                if word in children:
                    command = children[word]
                    continue
                if isinstance(command, DefaultCommandGroup):
                    command = next(iter(children.values()))
                if word in ("&&", "|", ">"):
                    break
                if word.startswith("-") and not word.lstrip("-").isdigit():
                    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
                    assert word.split("=")[0] in known | {"--help"}, f"{shlex.join(arguments)}: {word}"
            assert command.name != "lookalike", shlex.join(arguments)


def test_every_block_that_is_not_run_says_why():
    reasons = [reason for page in PAGES for reason, _, _ in blocks_of(page) if reason]
    assert reasons and all(len(reason.split()) >= 3 for reason in reasons)
    stray = [
        page.name
        for page in PAGES
        if page.read_text().count("<!-- not run") != sum(bool(reason) for reason, _, _ in blocks_of(page))
    ]
    assert not stray  # a mark must stand right above its block


def test_the_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", page, re.MULTILINE))
    modules = set(re.findall(r"^\.\. automodule:: lookalike\.(\w+)$", page, re.MULTILINE))
    assert named | modules == set(lookalike.__all__) - {"__version__"}


def test_the_index_leads_to_every_page(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "site")
    from navigation import toctrees

    index = (DOCS / "index.md").read_text(encoding="utf-8")
    found = {line for tree in toctrees(index) for line in tree.splitlines() if line.startswith("/")}
    pages = {f"/{page.relative_to(ROOT).with_suffix('').as_posix()}" for page in PAGES}
    assert pages - {"/docs/index"} <= found
    sys.modules.pop("navigation")


def test_links_between_pages_lead_somewhere():
    broken = [
        (page.name, link)
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not broken
