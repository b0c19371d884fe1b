"""Splitting the text of a ``dvc.lock``, as DVC writes it, into entries without parsing them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from registry_assets.bounded import MOST_BYTES

HEADER = "schema: '2.0'\nstages:\n"
TOP_LEVEL_KEY = re.compile(r"^[^\s#]", re.MULTILINE)
ENTRY = re.compile(r"^  \S", re.MULTILINE)
ODD_LINE = re.compile(r"^(?: \S|   \S|  [\"'?#]|  \S.*[^:\n]$|  \S.*:\n(?!    \S))", re.MULTILINE)
"""Lines that DVC's serializer never writes, or only for unusual names: another indentation, quoted
keys, keys with a value on the same line, comments."""
ANCHOR = re.compile(r"[ ]&id\d+\b")
"""The anchor of a repeated value; anchors are numbered throughout the file."""


@dataclass(frozen=True)
class LockText:
    """The text of a ``dvc.lock`` in parts; ``str`` joins them.

    Attributes:
        entries: The text of each entry, by the name of its stage.
        tail: The text after the entries, such as `datasets`.
    """

    entries: Mapping[str, str]
    tail: str = ""

    def __str__(self) -> str:
        if not self.entries:
            return f"{HEADER[:-1]} {{}}\n{self.tail}"
        return f"{HEADER}{''.join(self.entries.values())}{self.tail}"


def split_lock(text: str) -> LockText | None:
    """Splits a ``dvc.lock``; None if it is not in DVC's format."""
    if not text or text == str(LockText({})):
        return LockText({})
    if len(text) > MOST_BYTES:
        # Whoever reads it otherwise says so.
        return None
    if not text.startswith(HEADER) or not text.endswith("\n") or ANCHOR.search(text):
        return None
    end = next_match(TOP_LEVEL_KEY, text, len(HEADER))
    if not ENTRY.match(text, len(HEADER)) or ODD_LINE.search(text, len(HEADER), end):
        return None
    starts = [found.start() for found in ENTRY.finditer(text, len(HEADER), end)]
    cuts = [text[start:stop] for start, stop in zip(starts, [*starts[1:], end], strict=True)]
    return LockText({cut.partition(":\n")[0].strip(): cut for cut in cuts}, text[end:])


def next_match(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The position of the first match from `start`; the end of the text if there is none."""
    found = pattern.search(text, start)
    return found.start() if found else len(text)
