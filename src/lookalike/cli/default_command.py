"""A Typer group with a default command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommandGroup(TyperGroup):
    """A group whose first command runs if the arguments don't start with a command's name.

    ``lookalike evaluate DATA`` is ``lookalike evaluate retrieval DATA``, while ``evaluate revisited``
    stays a command of its own. A folder with the name of a command is written ``./name``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the first command's name if the arguments don't start with a command's name."""
        if not args or args[0] not in self.commands:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
