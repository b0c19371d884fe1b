"""Editing the text of a file of decisions, preserving comments and other entries."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from registry_assets import bounded
from registry_assets.errors import MetafileError
from registry_assets.images.decisions import EMPTY, Decision, parse_decisions
from registry_assets.images.tables import escape_text

_LIST = re.compile(r"(decisions:)(?: *\[ *\])?( *(?:#.*)?)")
_DASH = re.compile(r"( *)- ")
_MD5_LINE = re.compile(r"^[ -]*md5: *[\"']?([0-9a-f]{32})\b", re.MULTILINE)


@dataclass(frozen=True)
class DecisionText:
    """The text of a file of decisions in parts; `str` joins them.

    Attributes:
        head: The text up to and including the line `decisions:`.
        entries: The text of each entry with the comments above it, by md5.
        tail: The text after the entries.
        indent: The spaces before each dash.
    """

    head: str
    entries: Mapping[str, str]
    tail: str = ""
    indent: str = "  "

    def __str__(self) -> str:
        *above, line = self.head.splitlines()
        line = _LIST.sub(r"\1\2" if self.entries else r"\1 []\2", line, count=1)
        return _join((*above, line)) + "".join(self.entries.values()) + self.tail


def split_decisions(text: str) -> DecisionText | None:
    """Split the text of a file of decisions; None if it is in another YAML style."""
    lines = (text if text.strip() else EMPTY).splitlines()
    start = next((n for n, line in enumerate(lines) if _LIST.fullmatch(line)), None)
    if start is None:
        return None
    blocks: list[list[str]] = []
    waiting: list[str] = []
    rest = start + 1
    indent = None
    for number, line in enumerate(lines[rest:], rest):
        dash = _DASH.match(line)
        if not line.strip() or line.lstrip().startswith("#"):
            waiting.append(line)
        elif dash and indent in (None, len(dash[1])):
            indent = len(dash[1])
            blocks.append([*waiting, line])
            waiting, rest = [], number + 1
        elif blocks and indent is not None and line.startswith(" " * (indent + 1)):
            blocks[-1] += [*waiting, line]
            waiting, rest = [], number + 1
        else:
            break
    entries = {}
    for block in blocks:
        written = _join(block)
        md5 = _MD5_LINE.search(written)
        if md5 is None or md5[1] in entries:
            return None
        entries[md5[1]] = written
    head, tail = _join(lines[: start + 1]), _join(lines[rest:])
    return DecisionText(head, entries, tail, "  " if indent is None else " " * indent)


def _join(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def with_decisions(text: str, added: Iterable[Decision], name: str) -> str:
    """Return the text of a file with decisions added, or replaced if already there.

    Raises:
        MetafileError: If the file is invalid, or in a YAML style that cannot be edited.
    """
    parts = _split_or_fail(text, name)
    entries = dict(parts.entries)
    entries.update((decision.md5, _write_entry(decision, parts.indent)) for decision in added)
    return str(replace(parts, entries=entries))


def without_decisions(text: str, dropped: Iterable[str], name: str) -> str:
    """Return the text of a file without the decisions with some md5s.

    Raises:
        MetafileError: As `with_decisions`.
    """
    parts = _split_or_fail(text, name)
    gone = set(dropped)
    left = {md5: entry for md5, entry in parts.entries.items() if md5 not in gone}
    return str(replace(parts, entries=left))


def _split_or_fail(text: str, name: str) -> DecisionText:
    known = parse_decisions(text or EMPTY, name)
    parts = split_decisions(text)
    if parts is None or list(parts.entries) != list(known):
        raise MetafileError(
            name, "below `decisions:`, begin each entry on a line of its own with `- md5:`"
        )
    return parts


def _write_entry(decision: Decision, indent: str) -> str:
    values: dict[str, str] = {
        "md5": decision.md5,
        "decision": decision.verdict,
        "path": escape_text(decision.path),
        "by": decision.by,
        "date": decision.date,
        "why": decision.why,
        "duplicate_of": escape_text(decision.duplicate_of),
    }
    lines = [f"{key}: {_quote(value)}" for key, value in values.items() if value]
    lines += ["only_here: true"] if decision.only_here else []
    return _join(f"{indent}{'  ' if number else '- '}{line}" for number, line in enumerate(lines))


def _quote(text: str) -> str:
    """The text as a double-quoted YAML string, with unprintable characters escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


@contextmanager
def editing(path: Path) -> Iterator[None]:
    """Lock the folder of a file of decisions, creating it if necessary."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        # Some network file systems have no locks: there, concurrent edits may be lost.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str:
    """Return the text of a file of decisions; "" if it does not exist."""
    return bounded.read_text(path) if path.exists() else ""
