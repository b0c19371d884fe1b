"""Numbers, names and commands as text."""

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
    """Who reads what this process says.

    Attributes:
        takes_all: Whether nothing is to be cut or left out of a list, as a program or a file reads
            it, and not somebody at a terminal or in a browser.
    """

    takes_all: bool = False


_READER = _Reader()


@contextmanager
def nothing_left_out() -> Iterator[None]:
    """Has `few_of`, `first_of` and `cut` leave nothing out, in all threads of this process."""
    before = _READER.takes_all
    _READER.takes_all = True
    try:
        yield
    finally:
        _READER.takes_all = before


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
    shown = first_of(names, most)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def first_of(items: Sequence[T], most: int) -> Sequence[T]:
    """The first of many items."""
    return items if _READER.takes_all else items[:most]


def cut_middle(text: str, most: int) -> str:
    """A text without its middle, as its end says what to do."""
    return text if _READER.takes_all else without_middle(text, most)


def without_middle(text: str, most: int) -> str:
    """A text of so many characters at most, whoever reads it."""
    if len(text) <= most:
        return text
    kept = max(most - len(_MIDDLE), 2)
    return f"{text[: kept // 2]}{_MIDDLE}{text[len(text) - (kept - kept // 2) :]}"


def cut(text: str, most: int) -> str:
    """The start of a text, and a sign that there is more."""
    return text if _READER.takes_all or len(text) <= most else f"{text[: most - 1]}…"


def install_command(package: str) -> str:
    """The command that adds a package to this environment; one that uv made has no pip."""
    program = "uv pip" if find_spec("pip") is None else "pip"
    return f"{program} install '{package}'"
