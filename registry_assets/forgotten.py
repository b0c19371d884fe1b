"""The record of forgotten pictures, without the pictures: ``forgotten.yaml`` at the root.

It has an entry for each content. Its key is the md5, which identifies the picture if somebody adds
it again but reveals nothing of it. Git stores the file, and our merge driver merges it by entry,
like ``dvc.lock``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from registry_assets.bounded import check_yaml, read_text
from registry_assets.errors import MetafileError

FORGOTTEN_FILE = "forgotten.yaml"

_HEADER = """\
# What `registry forget` took out, without the pictures. Whoever takes an entry out of this list
# lets the picture in again.
forgotten:
"""
_ENTRY = re.compile(r'  "([0-9a-f]{32})":\n((?:    .*\n)+)')


@dataclass(frozen=True)
class Forgotten:
    """The record of one forgotten content.

    Attributes:
        md5: The md5 of the content.
        size: The size in bytes; None if it is unknown.
        when: When it was forgotten, in ISO 8601.
        who: Who forgot it, by the name in Git.
        why: The given reason.
        stood_at: Its former paths, from the root.
        purged: When its objects were last removed; None if they were not.
        purged_from: Where they were removed: the cache, and remotes by name.
    """

    md5: str
    size: int | None
    when: str
    who: str = ""
    why: str = ""
    stood_at: tuple[str, ...] = field(default=())
    purged: str | None = None
    purged_from: tuple[str, ...] = field(default=())

    @property
    def reason(self) -> str:
        """The reason for a table why a file with this content is left out."""
        return f"forgotten on {self.when[:10]}, as {FORGOTTEN_FILE} says"

    def __str__(self) -> str:
        """The text of the entry in the file."""
        lines = [f'  "{self.md5}":']
        if self.size is not None:
            lines.append(f"    size: {self.size}")
        # Strings in JSON are also strings in YAML.
        lines += [f"    {name}: {_quote(text)}" for name, text in self._texts() if text]
        for name, items in (("stood_at", self.stood_at), ("purged_from", self.purged_from)):
            if items:
                lines += [f"    {name}:", *(f"      - {_quote(item)}" for item in items)]
        return "".join(f"{line}\n" for line in lines)

    def _texts(self) -> Iterable[tuple[str, str | None]]:
        names = ("when", "who", "why", "purged")
        return ((name, getattr(self, name)) for name in names)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def read_forgotten(root: Path) -> Mapping[str, Forgotten]:
    """Read the record, by md5; empty if there is none.

    Raises:
        MetafileError: when the record cannot be read.
    """
    try:
        text = read_text(root / FORGOTTEN_FILE, FORGOTTEN_FILE)
    except FileNotFoundError:
        return {}
    return parse_forgotten(text)


def parse_forgotten(text: str) -> Mapping[str, Forgotten]:
    """Parse the text of a record; return the entries by md5.

    Raises:
        MetafileError: when it cannot be read.
    """
    check_yaml(text, FORGOTTEN_FILE)
    try:
        data: Any = YAML(typ="safe").load(text) or {}
        entries = data["forgotten"] or {}
        return {str(md5): _read_entry(str(md5), said) for md5, said in entries.items()}
    except (
        YAMLError,
        RecursionError,
        ValueError,
        AttributeError,
        KeyError,
        TypeError,
    ) as error:
        said = " ".join(str(error).split())
        raise MetafileError(
            FORGOTTEN_FILE, f"it cannot be read ({said}): fix it by hand, or restore it from Git"
        ) from error


def _read_entry(md5: str, said: Mapping[str, Any]) -> Forgotten:
    purged = said.get("purged")
    return Forgotten(
        md5,
        said.get("size"),
        str(said.get("when", "")),
        str(said.get("who", "")),
        str(said.get("why", "")),
        tuple(map(str, said.get("stood_at") or ())),
        None if purged is None else str(purged),
        tuple(map(str, said.get("purged_from") or ())),
    )


def with_entry(known: Mapping[str, Forgotten], entry: Forgotten) -> str:
    """The text of the record with an entry added, or replaced."""
    return join_record({md5: str(one) for md5, one in {**known, entry.md5: entry}.items()})


def split_record(text: str) -> dict[str, str] | None:
    """Split a record into the texts of entries, by md5; None if it has another form than ours."""
    if not text:
        return {}
    if not text.startswith(_HEADER):
        return None
    entries = {found[1]: found[0] for found in _ENTRY.finditer(text, len(_HEADER))}
    return entries if join_record(entries) == text else None


def join_record(entries: Mapping[str, str]) -> str:
    """The text of a record with these entries; "" for none."""
    return f"{_HEADER}{''.join(entries.values())}" if entries else ""


def renew(before: Forgotten | None, now: Forgotten) -> Forgotten:
    """Update an entry: keep when and who, add new paths, and take a new reason if given."""
    if before is None:
        return now
    return replace(
        before,
        size=before.size if before.size is not None else now.size,
        why=now.why or before.why,
        stood_at=tuple(dict.fromkeys((*before.stood_at, *now.stood_at))),
        purged=now.purged or before.purged,
        purged_from=tuple(dict.fromkeys((*before.purged_from, *now.purged_from))),
    )
