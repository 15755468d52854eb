"""A command group with a default command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommandGroup(TyperGroup):
    """A command group: arguments that do not start with a command's name go to the first command.

    ``lookalike evaluate DATA`` is ``lookalike evaluate retrieval DATA``, while ``evaluate revisited``
    stays a command of its own. A folder with the name of a command is written ``./name``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name before arguments that name none."""
        if not args or args[0] not in self.commands:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
