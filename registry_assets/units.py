"""Formats numbers, names and commands as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

T = TypeVar("T")

_MIDDLE = " … "


@dataclass
class _Reader:
    """Who reads the output of this process.

    Attributes:
        takes_all: Whether texts and lists are printed in full, for a program or file instead of a
            person at a terminal or in a browser.
    """

    takes_all: bool = False


_READER = _Reader()


@contextmanager
def nothing_left_out() -> Iterator[None]:
    """Turn off the cutting of texts and lists in all threads of this process."""
    before = _READER.takes_all
    _READER.takes_all = True
    try:
        yield
    finally:
        _READER.takes_all = before


def format_size(size: int | None) -> str:
    """A number of bytes as text: 1,234 becomes "1.2 kB"."""
    value = float(size or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def printable(name: str) -> str:
    """A file name as printable text: bytes that are not UTF-8 become "�"."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_text(name: str) -> bool:
    """Whether a file name is valid UTF-8, which metafiles need."""
    return name.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in name)


def count_of(number: int, thing: str) -> str:
    """A number of things: ``1 image``, ``2 images``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def few_of(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and the number of the others: ``a, b, c and 7 more``."""
    shown = first_of(names, most)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def first_of(items: Sequence[T], most: int) -> Sequence[T]:
    """The first items of a list; all of them within `nothing_left_out`."""
    return items if _READER.takes_all else items[:most]


def cut_middle(text: str, most: int) -> str:
    """A text without its middle, as its end holds the next step; see `nothing_left_out`."""
    return text if _READER.takes_all else without_middle(text, most)


def without_middle(text: str, most: int) -> str:
    """A text cut in the middle to a number of characters, always."""
    if len(text) <= most:
        return text
    kept = max(most - len(_MIDDLE), 2)
    return f"{text[: kept // 2]}{_MIDDLE}{text[len(text) - (kept - kept // 2) :]}"


def cut(text: str, most: int) -> str:
    """The start of a text, with "…" if it was cut."""
    return text if _READER.takes_all or len(text) <= most else f"{text[: most - 1]}…"


def install_command(package: str) -> str:
    """The command that installs a package in this environment."""
    # uv makes environments without pip.
    program = "uv pip" if find_spec("pip") is None else "pip"
    return f"{program} install '{package}'"
