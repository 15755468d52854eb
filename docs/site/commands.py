"""The command reference, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lookalike.cli import app


class CommandReference(SphinxDirective):
    """A section for each command: what it does, an example, its arguments and options."""

    def run(self) -> list[nodes.Node]:
        text = "\n\n".join(command_page(name, command) for name, command in all_commands())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups with their own options included."""
    yield from _below("lookalike", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield name, command
    for word, child in children.items():
        yield from _below(f"{name} {word}", child)


def command_page(name: str, command: Any) -> str:
    """Markdown of one command."""
    parts = [f"## {name}", _help(command.help or "")]
    for title, kind in (("argument", "argument"), ("option", "option")):
        rows = [_row(each) for each in command.params if each.param_type_name == kind and not each.hidden]
        if rows:
            parts.append("\n".join([f"| {title} | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _help(text: str) -> str:
    """The help text; examples are blocks of their own."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.split("\f")[0].strip()):
        lead, example, line = " ".join(block.split()).partition("Example: ")
        blocks.append(f"```sh\n{line}\n```" if example and not lead else _plain(block.replace("\b", "")))
    return "\n\n".join(blocks)


def _row(parameter: Any) -> str:
    names = (
        parameter.opts + parameter.secondary_opts
        if parameter.param_type_name == "option"
        else [parameter.metavar or parameter.name.upper()]
    )
    told = _plain(getattr(parameter, "help", None) or "").replace("|", "\\|")
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and str(default):
        told += f" (default: {default})"
    return f"| {', '.join(f'`{each}`' for each in names)} | {told} |"


def _plain(text: str) -> str:
    """Text of a terminal as Markdown: no character has a meaning."""
    return re.sub(r"([*_<>\[\]$`{}#~])", r"\\\1", " ".join(text.split()))
