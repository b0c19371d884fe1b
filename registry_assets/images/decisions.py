"""People's decisions about single images: a YAML file for each collection of a data set.

A decision refers to an image by md5, so that it survives renames. People can edit the file: writing
an entry preserves comments and other entries:

    decisions:
      - md5: "0f3c1b7e9d52a8460c4e9a7b1d6f2e85"
        decision: "deny"
        path: "camera_lake/IMG_0630.jpg"
        by: "Ada <ada@example.org>"
        date: "2026-11-26"
        why: "a thumb before the lens"
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath
from typing import Any, Literal

from registry_assets.bounded import check_yaml, read_text
from registry_assets.errors import MetafileError
from registry_assets.images.tables import unescape_text

DECISIONS_FOLDER = "decisions"
"""The folder of these files in a data set."""

Verdict = Literal["allow", "deny"]

EMPTY = """\
# What was decided about images of this collection. `registry allow` and `registry deny` write here.
decisions: []
"""
"""The text of a file without decisions."""

_KEYS = ("md5", "decision", "path", "by", "date", "why", "only_here", "duplicate_of")
_REQUIRED = ("md5", "decision", "by", "why")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Decision:
    """A decision about an image.

    Attributes:
        md5: The md5 of the image.
        verdict: `allow`: keep it, regardless of thresholds; `deny`: leave it out.
        by: Who decided.
        why: The reason in words.
        date: As in 2026-11-26.
        path: Its path in the collection at that time, for people.
        only_here: Whether the decision is for this collection only; otherwise it also applies to
            the same image in other collections of the data set.
        duplicate_of: For a duplicate, the picture that is kept instead, as `COLLECTION/PATH`.
        kept_path: The path of that picture if it is in this collection, else "". If set, the
            decision applies to all other copies in this collection.
    """

    md5: str
    verdict: Verdict
    by: str
    why: str
    date: str = ""
    path: str = ""
    only_here: bool = False
    duplicate_of: str = ""
    kept_path: str = ""

    def is_about(self, path: str) -> bool:
        """Whether the decision applies to the copy of its image at a path in the collection."""
        return not self.kept_path or path != self.kept_path

    def __str__(self) -> str:
        """In words: "denied by Ada on 2026-11-26: a thumb before the lens"."""
        when = f" on {self.date}" if self.date else ""
        done = "allowed" if self.verdict == "allow" else "denied"
        return f"{done} by {self.by}{when}: {self.why}"


def read_decisions(path: str | os.PathLike[str]) -> dict[str, Decision]:
    """Return the decisions in a file by md5; empty if the file does not exist.

    Raises:
        MetafileError: If the file is invalid, with line and fix.
    """
    try:
        text = read_text(Path(path))
    except FileNotFoundError:
        return {}
    return parse_decisions(text, str(path))


def parse_decisions(text: str, name: str) -> dict[str, Decision]:
    """Return the decisions in a text by md5.

    Args:
        text: The text of the file.
        name: Its path, for messages; its stem is the collection.

    Raises:
        MetafileError: As `read_decisions`.
    """
    if text == EMPTY:
        return {}
    # Imported here: loading it takes as long as the rest of a stage with a small collection.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    check_yaml(text, name)
    try:
        data = YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise MetafileError(name, error.problem or str(error), mark and mark.line + 1) from error
    listed = data.get("decisions") if isinstance(data, dict) else data
    if listed is not None and not isinstance(listed, list):
        raise MetafileError(name, "`decisions` must be a list of entries")
    found: dict[str, Decision] = {}
    for number, entry in enumerate(listed or []):
        problem = _problem(entry) or (
            f"two decisions about {entry['md5']}: keep one" if entry["md5"] in found else None
        )
        if problem is not None:
            raise MetafileError(name, problem, _line_of(text, number))
        found[entry["md5"]] = _decision(entry, PurePath(name).stem)
    return found


def _problem(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "an entry must have the keys md5, decision, by and why"
    unknown = [str(key) for key in entry if key not in _KEYS]
    missing = [key for key in _REQUIRED if entry.get(key) in (None, "")]
    if unknown:
        return f"an entry has no key {', '.join(unknown)}: it has {', '.join(_KEYS)}"
    if missing:
        return f"an entry lacks {', '.join(missing)}"
    if not isinstance(entry["md5"], str) or not _MD5.fullmatch(entry["md5"]):
        return 'write the md5, 32 digits and letters from a to f, in quotes: md5: "0f3c…"'
    if entry["decision"] not in ("allow", "deny"):
        return "decision must be allow or deny"
    if not isinstance(entry.get("only_here", False), bool):
        return "only_here must be true or false"
    return None


def _decision(entry: Mapping[str, Any], collection: str) -> Decision:
    duplicate_of = unescape_text(str(entry.get("duplicate_of") or ""))
    kept_in, _, kept_path = duplicate_of.partition("/")
    return Decision(
        md5=entry["md5"],
        verdict=entry["decision"],
        by=str(entry["by"]),
        why=str(entry["why"]),
        date=str(entry.get("date") or ""),
        path=unescape_text(str(entry.get("path") or "")),
        only_here=entry.get("only_here", False),
        duplicate_of=duplicate_of,
        kept_path=kept_path if kept_in == collection else "",
    )


def _line_of(text: str, number: int) -> int | None:
    """The line of an entry, for messages."""
    from ruamel.yaml import YAML

    data = YAML().load(text)
    listed = data["decisions"] if isinstance(data, dict) else data
    line: int = listed.lc.item(number)[0]
    return line + 1


def today() -> str:
    """Return the date, for `Decision.date`."""
    return date.today().isoformat()
