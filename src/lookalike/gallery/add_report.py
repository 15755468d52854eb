"""What ``Gallery.add`` did, file by file."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.types.html import table_html


@dataclass(frozen=True, repr=False)
class AddReport:
    """Counts and lists of files by the outcome of ``Gallery.add``."""

    added: int  # images new to the gallery, counted by content
    known: int  # files whose content was in the gallery already
    unreadable: tuple[tuple[str, str], ...]  # path and reason
    vanished: tuple[str, ...]  # files of the gallery that no longer exist in the folder
    pruned: int = 0  # records removed because none of their files is left
    moved: tuple[tuple[str, str], ...] = ()  # former and present path of those that were moved
    forgotten: tuple[str, ...] = ()  # the files that vanished, if they were pruned
    kept: tuple[tuple[str, int], ...] = ()  # why files that are not found were kept, and how many
    not_pruned: str = ""  # why pruning has to be asked for, in words; empty if it has not
    skipped: tuple[tuple[str, str], ...] = ()  # subfolders that can't be read, and why
    conflicts: tuple[str, ...] = ()  # copies of one picture with different values, each in words
    remarks: tuple[str, ...] = ()  # on the table of metadata, each a sentence
    copies: tuple[tuple[str, str], ...] = ()  # new files, and the file that each is an exact copy of

    def _repr_html_(self) -> str:
        """Return the counts and the files that could not be read, for notebooks."""
        columns = ("unreadable", "why") if self.unreadable else ()
        return table_html(repr(self), columns, self.unreadable[:20])

    def __repr__(self) -> str:
        more = {
            "moved": len(self.moved),
            "not found but kept": sum(n for _, n in self.kept),
            "skipped": len(self.skipped),  # folders
            "in conflict": len(self.conflicts),
            "exact copies": len(self.copies),
        }
        return (
            f"AddReport({self.added} added, {self.known} known, {len(self.unreadable)} unreadable, "
            f"{len(self.vanished)} vanished, {self.pruned} pruned"
            + "".join(f", {n} {what}" for what, n in more.items() if n)
            + (f"; not pruned: {self.not_pruned}" if self.not_pruned else "")
            + ")"
        )
