"""The text of a ``dvc.lock`` as DVC writes it, taken apart into entries without parsing any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

HEADER = "schema: '2.0'\nstages:\n"
TOP_LEVEL_KEY = re.compile(r"^[^\s#]", re.MULTILINE)
ENTRY = re.compile(r"^  \S", re.MULTILINE)
ODD_LINE = re.compile(r"^(?: \S|   \S|  [\"'?#]|  \S.*[^:\n]$|  \S.*:\n(?!    \S))", re.MULTILINE)
"""What DVC's printer never writes between the names of stages, or writes for rare names only:
another indentation, keys in quotes or with something behind them, remarks."""
ANCHOR = re.compile(r"[ ]&id\d+\b")
"""The name of a value that stands in the file twice; such names are counted through the file."""


@dataclass(frozen=True)
class LockText:
    """A ``dvc.lock`` in parts that make its text again when they are put together.

    Attributes:
        entries: The text of each entry, by the name of its stage.
        tail: What follows the entries, such as `datasets`.
    """

    entries: Mapping[str, str]
    tail: str = ""

    def __str__(self) -> str:
        if not self.entries:
            return f"{HEADER[:-1]} {{}}\n{self.tail}"
        return f"{HEADER}{''.join(self.entries.values())}{self.tail}"


def split_lock(text: str) -> LockText | None:
    """Takes a ``dvc.lock`` apart; None when it is not in the form that DVC gives it."""
    if not text or text == str(LockText({})):
        return LockText({})
    if not text.startswith(HEADER) or not text.endswith("\n") or ANCHOR.search(text):
        return None
    end = next_match(TOP_LEVEL_KEY, text, len(HEADER))
    if not ENTRY.match(text, len(HEADER)) or ODD_LINE.search(text, len(HEADER), end):
        return None
    starts = [found.start() for found in ENTRY.finditer(text, len(HEADER), end)]
    cuts = [text[start:stop] for start, stop in zip(starts, [*starts[1:], end], strict=True)]
    return LockText({cut.partition(":\n")[0].strip(): cut for cut in cuts}, text[end:])


def next_match(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a pattern is found first from a place on; the end of the text when it is not."""
    found = pattern.search(text, start)
    return found.start() if found else len(text)
