"""Text for a terminal: names of files, commits and EXIF are shown, never obeyed."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO, cast

# All but tabs and line ends: what moves the cursor, renames the window, types for the user. Then
# what turns the direction of text around (Unicode, UAX #9), so that a name looks like another.
_CODES = (*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0))
_TURNS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ORDERS = {code: repr(chr(code))[1:-1] for code in (*_CODES, *_TURNS)}
_PROGRESS = re.compile(r"\r([^\r\x1b]*)\x1b\[K(\n?)")


def show_control_characters() -> None:
    """Have this process write control characters to terminals as they are written in Python."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream.isatty():
            setattr(sys, name, cast(TextIO, _Shown(stream)))


class _Shown:
    """A stream to a terminal; a line of progress may replace the one before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, with control characters as they are written in Python."""
        progress = _PROGRESS.fullmatch(text)
        if progress is None:
            return self._stream.write(text.translate(_ORDERS))
        line, end = progress.groups()
        return self._stream.write(f"\r{line.translate(_ORDERS)}\x1b[K{end}")
