"""Numbers and names as text."""

from __future__ import annotations

from collections.abc import Sequence


def format_size(size: int | None) -> str:
    """A number of bytes for a person: 1,234 becomes "1.2 kB"."""
    value = float(size or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def printable(name: str) -> str:
    """A name as text, also one of bytes that are none, for which Python has surrogates."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_text(name: str) -> bool:
    """Whether a name of a file is text, as metafiles hold it."""
    return name.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in name)


def count_of(number: int, thing: str) -> str:
    """A number of things: ``1 image``, ``2 images``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def few_of(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
