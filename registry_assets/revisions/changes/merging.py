"""Three-way merge of metafiles, entry by entry; the result is formatted as DVC writes it.

Git merges lines, so two branches that each record another collection conflict in ``dvc.lock``.
Merged by entry, they conflict only if both changed the same stage, the same collection of a list,
the decision about the same image, or an exception in a ``.gitignore``. A ``.dvc`` file is one
entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry_assets.dvc_repo.lock_text import LockText, split_lock
from registry_assets.forgotten import FORGOTTEN_FILE, join_record, split_record
from registry_assets.images.decision_text import DecisionText, split_decisions
from registry_assets.images.decisions import DECISIONS_FOLDER
from registry_assets.model import DVC_SUFFIX, LOCK_FILE

COLLECTIONS_FILE = "collections.yaml"
IGNORE_FILE = ".gitignore"

DECISION_FILES = f"**/{DECISIONS_FOLDER}/*.yaml"

MERGED_PATTERNS = (
    *(f"*{DVC_SUFFIX}", LOCK_FILE, COLLECTIONS_FILE, IGNORE_FILE),
    *(DECISION_FILES, FORGOTTEN_FILE),
)
"""The files that can be merged by entry, as Git pathspecs."""

WHOLE_FILE = ""
"""In `Merged.conflicts`: a conflict outside any entry."""

_ITEM = re.compile(r"(?P<indent>\s*)- +(?P<item>(?P<quote>[\"']?)(?P<name>[^\s\"'#]+)(?P=quote).*)")
_LIST = re.compile(r"^(?P<key>collections:)(?: *\[ *\])?(?= *(?:#|$))")


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        text: The merged file, always valid; has our side of conflicting entries. None if the file
            is to be deleted.
        conflicts: The entries that both sides changed differently: names of stages, md5s of
            images, or `WHOLE_FILE`.
    """

    text: str | None
    conflicts: tuple[str, ...] = ()


def can_merge(path: str) -> bool:
    """Whether a file can be merged by entry, by its name."""
    # Before Python 3.13, `**` matches exactly one folder in pathlib; in Git it matches none too.
    is_named = any(PurePosixPath(path).match(pattern) for pattern in MERGED_PATTERNS)
    return is_named or is_decisions_file(path)


def is_decisions_file(path: str) -> bool:
    """Whether a file holds decisions about images, by its name."""
    place = PurePosixPath(path)
    return place.parent.name == DECISIONS_FOLDER and place.suffix == ".yaml"


def merge(path: str, base: str | None, ours: str | None, theirs: str | None) -> Merged:
    """Merge three versions of a file by entry; a version is None where the file does not exist.

    Args:
        path: The path of the file.
        base: The merge base.
        ours: Our side, which wins where both sides changed an entry.
        theirs: Their side.

    Raises:
        MetafileError: when one of them cannot be read.
    """
    whole = _choose(base, ours, theirs)
    if whole is not None:
        return Merged(whole[0])
    name = PurePosixPath(path).name
    if ours is None or theirs is None or name.endswith(DVC_SUFFIX):
        return Merged(ours, (WHOLE_FILE,))
    if name == LOCK_FILE:
        return _merge_locks(base or "", ours, theirs)
    if name == COLLECTIONS_FILE:
        return _merge_lists(base or "", ours, theirs)
    if is_decisions_file(path):
        return _merge_decisions(base or "", ours, theirs)
    if name == FORGOTTEN_FILE:
        return _merge_records(base or "", ours, theirs)
    return _merge_lines(base or "", ours, theirs)


def _choose(base: str | None, ours: str | None, theirs: str | None) -> tuple[str | None] | None:
    """The merged version, in a tuple, if at most one side changed it; None on a conflict."""
    if ours == theirs or theirs == base:
        return (ours,)
    return (theirs,) if ours == base else None


# --- dvc.lock ----------------------------------------------------------------------------------


def _merge_locks(base: str, ours: str, theirs: str) -> Merged:
    locks = [read_lock(text) for text in (base, ours, theirs)]
    chosen, conflicts = _merge_entries(*(lock.entries for lock in locks))
    tail = _choose(*(lock.tail for lock in locks))
    if tail is None:
        conflicts.append(WHOLE_FILE)
    merged = LockText(chosen, (locks[1].tail if tail is None else tail[0]) or "")
    # DVC deletes a file without entries.
    is_empty = not merged.entries and not merged.tail
    return Merged(None if is_empty else str(merged), tuple(conflicts))


def read_lock(text: str) -> LockText:
    """Split a ``dvc.lock`` into entries, however its YAML is formatted.

    Raises:
        MetafileError: when it is not a valid ``dvc.lock``.
    """
    found = split_lock(text)
    if found is None:
        # Not formatted by DVC. Imported only when needed: it takes a second.
        from registry_assets.dvc_repo import read_lock_text

        found = read_lock_text(text)
    return found


def _merge_entries(
    base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The merged entries, with new ones of theirs at the end; and the conflicts."""
    merged: dict[str, str] = {}
    conflicts = []
    for name in dict.fromkeys((*ours, *theirs)):
        chosen = _choose(base.get(name), ours.get(name), theirs.get(name))
        if chosen is None:
            conflicts.append(name)
        text = ours.get(name) if chosen is None else chosen[0]
        if text is not None:
            merged[name] = text
    return merged, conflicts


# --- collections.yaml --------------------------------------------------------------------------


@dataclass(frozen=True)
class _List:
    """A parsed ``collections.yaml``.

    Attributes:
        items: The text after each dash, by name.
        around: All other lines, without the `[]` of an empty list.
        place: The index in `around` at which the items are inserted; None if there is no list.
        indent: The text before each dash.
    """

    items: Mapping[str, str]
    around: tuple[str, ...]
    place: int | None = None
    indent: str = "  "

    def __str__(self) -> str:
        lines = [f"{self.indent}- {item}" for item in self.items.values()]
        around = [*self.around]
        if self.place is not None:
            if not lines:
                around = [_LIST.sub(r"\g<key> []", line, count=1) for line in around]
            around[self.place : self.place] = lines
        return "".join(f"{line}\n" for line in around)


def _read_list(text: str) -> _List:
    items: dict[str, str] = {}
    around: list[str] = []
    place, indent, is_inside = None, "  ", False
    for line in text.splitlines():
        item = _ITEM.fullmatch(line) if is_inside else None
        if item:
            items[item["name"]] = item["item"]
            indent, place = item["indent"], len(around)
            continue
        if _LIST.match(line):
            is_inside, place = True, len(around) + 1
            line = _LIST.sub(r"\g<key>", line)
        elif line[:1] not in ("", " ", "#"):
            is_inside = False
        around.append(line)
    return _List(items, tuple(around), place, indent)


def _merge_lists(base: str, ours: str, theirs: str) -> Merged:
    lists = [_read_list(text) for text in (base, ours, theirs)]
    items, conflicts = _merge_entries(*(one.items for one in lists))
    around = _choose(*("\n".join(one.around) for one in lists))
    kept = next((one for one in lists[1:] if around == ("\n".join(one.around),)), None)
    if kept is None or (items and kept.place is None):
        return Merged(ours, (WHOLE_FILE,))
    return Merged(str(_List(items, kept.around, kept.place, kept.indent)), tuple(conflicts))


# --- decisions about images --------------------------------------------------------------------


def _merge_decisions(base: str, ours: str, theirs: str) -> Merged:
    parts = [split_decisions(text) for text in (base, ours, theirs)]
    before, mine, other = parts
    if before is None or mine is None or other is None:
        return Merged(ours, (WHOLE_FILE,))
    if mine.entries and other.entries and mine.indent != other.indent:
        return Merged(ours, (WHOLE_FILE,))
    chosen, conflicts = _merge_entries(before.entries, mine.entries, other.entries)
    head = _choose(before.head, mine.head, other.head)
    tail = _choose(before.tail, mine.tail, other.tail)
    if head is None or tail is None:
        conflicts.append(WHOLE_FILE)
    text = DecisionText(
        (mine.head if head is None else head[0]) or "",
        chosen,
        (mine.tail if tail is None else tail[0]) or "",
        mine.indent,
    )
    return Merged(str(text), tuple(conflicts))


# --- forgotten.yaml ----------------------------------------------------------------------------


def _merge_records(base: str, ours: str, theirs: str) -> Merged:
    records = [split_record(text) for text in (base, ours, theirs)]
    if any(record is None for record in records):
        return Merged(ours, (WHOLE_FILE,))
    merged, _ = _merge_entries(*(record or {} for record in records))
    # A conflict means that both sides forgot the same picture: keep our record of it.
    return Merged(join_record(merged) or None)


# --- .gitignore --------------------------------------------------------------------------------


def _merge_lines(base: str, ours: str, theirs: str) -> Merged:
    before, mine, other = (text.splitlines() for text in (base, ours, theirs))
    added = [line for line in other if line not in before and line not in mine]
    gone = {line for line in before if line not in other}
    lines = [line for line in mine if line not in gone] + added
    # The order of patterns matters only if one of them is an exception.
    touched = {*added, *gone, *(set(mine) ^ set(before))}
    conflicts = (WHOLE_FILE,) if any(line.startswith("!") for line in touched) else ()
    return Merged(ours if conflicts else "".join(f"{line}\n" for line in lines), conflicts)
