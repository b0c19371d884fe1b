"""Text for a terminal: names of files, commits and EXIF are shown, never obeyed."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO, cast

# All but tabs and line ends: what moves the cursor, renames the window, types for the user.
_ORDERS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}
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
        """Write a text, with its control characters as they are written in Python."""
        progress = _PROGRESS.fullmatch(text)
        if progress is None:
            return self._stream.write(text.translate(_ORDERS))
        line, end = progress.groups()
        return self._stream.write(f"\r{line.translate(_ORDERS)}\x1b[K{end}")
