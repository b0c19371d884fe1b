"""A cache of the last `Registry` read, valid until a metafile changes.

DVC takes about two milliseconds per metafile and two more per templated stage, which every run,
every reload of the definitions and every command would pay. The cache can be deleted safely.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_assets.bounded import read_text
from registry_assets.dvc_repo.lock_text import split_lock
from registry_assets.fingerprint import Moment, TreeFingerprint, UntoldChangesError
from registry_assets.model import LOCK_FILE, Registry
from registry_assets.registry.kept_answers import (
    KEPT_FOLDER,
    find_outside,
    fingerprint_environment,
    write_kept,
)
from registry_assets.registry.metafile_walk import SPECIAL_FOLDERS, Kind, find_unseen, walk
from registry_assets.settings import SETTINGS_FILE

if TYPE_CHECKING:
    from pydantic import TypeAdapter

COLLECTIONS_FILE = "collections.yaml"
"""Beside a ``dvc.yaml``: its list `collections` names the collections of the data set."""

ALL_QUOTED = re.compile(r'collections:\n(?:( *)- "[\w.-]+"\n(?:\1- "[\w.-]+"\n)*)?', re.ASCII)
"""A list as this package writes it, which needs no parser."""

_KEPT = f"{KEPT_FOLDER}/registry.json"


@dataclass(frozen=True)
class LastReading:
    """The last registry read, and what was written since.

    Attributes:
        registry: As it was read.
        changed: The paths, from the root, that were written, added or removed.
        metafiles: The metafiles that are there now, ignored or not.
        entries: A digest of the text of each entry, by name, of each ``dvc.lock`` in DVC's format;
            for each list of collections in our own format, nothing.
        unseen: The folders that were skipped because Git or ``.dvcignore`` ignores them.
    """

    registry: Registry
    changed: frozenset[str]
    metafiles: frozenset[str]
    entries: Mapping[str, Mapping[str, str]]
    unseen: frozenset[str]


def recall(root: Path) -> LastReading | None:
    """The last registry read, if all that may have changed is known."""
    try:
        kept, registry = _read(root / _KEPT)
        if registry.root != root:
            # The cache was copied along with the registry and describes the original.
            return None
        if kept["environment"] != fingerprint_environment(kept["outside"]):
            return None
        unseen = frozenset(kept["unseen"])
        fingerprint, metafiles = _fingerprint(registry, unseen)
        now, before = _digests(root, fingerprint), kept["files"]
        changed = {path for path in {*now, *before} if now.get(path) != before.get(path)}
        return LastReading(
            registry, frozenset(changed), frozenset(metafiles), kept["entries"], unseen
        )
    except Exception:
        # A broken cache, or one that another version wrote: read the metafiles instead.
        return None


def keep(registry: Registry, began: Moment) -> None:
    """Cache what was read, unless a later change could go unnoticed.

    Args:
        registry: What was read.
        began: When reading began.
    """
    if registry.problems:
        # A fix may be in a file that the fingerprint does not cover.
        return
    unseen = find_unseen(registry)
    with suppress(OSError, UntoldChangesError):
        fingerprint, _ = _fingerprint(registry, frozenset(unseen))
        files = _digests(registry.root, fingerprint)
        if not began.is_after(fingerprint.newest, fingerprint.devices):
            return
        outside = find_outside(registry.root)
        kept = {
            "files": files,
            "entries": {
                path: digests
                for path in files
                if path.endswith((LOCK_FILE, COLLECTIONS_FILE))
                if (digests := digest_entries(registry.root / path)) is not None
            },
            "unseen": unseen,
            "outside": outside,
            "environment": fingerprint_environment(outside),
        }
        _write(registry.root / _KEPT, kept, registry)


def digest_entries(path: Path) -> dict[str, str] | None:
    """`LastReading.entries` of one file; None if it is not in the format."""
    if not path.is_file():
        return {} if path.name == LOCK_FILE else None
    text = read_text(path)
    if path.name == COLLECTIONS_FILE:
        return {} if ALL_QUOTED.fullmatch(text) else None
    # An empty file is what a crash leaves, and no lock without entries.
    parts = split_lock(text) if text else None
    if parts is None or parts.tail:
        return None
    return {
        name: hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        for name, text in parts.entries.items()
    }


def _fingerprint(
    registry: Registry, unseen: Collection[str]
) -> tuple[TreeFingerprint, Collection[str]]:
    """A fingerprint of all files that `read_registry` reads and all folders that it looks for.

    Returns:
        The fingerprint, and the metafiles among them.
    """
    root = registry.root
    fingerprint = TreeFingerprint()
    metafiles = set()
    for path, kind in walk(registry, lambda _folders: unseen):
        if kind is Kind.UNLISTED:
            raise UntoldChangesError(path)
        if kind is Kind.METAFILE:
            metafiles.add(path)
        # Of these only the existence matters, not the content.
        mark = {Kind.LINK: "/is a link", Kind.FAMILY_FOLDER: "/is a folder"}.get(kind, "")
        fingerprint.add(root / f"{path}{mark}")
    settings = [f"{folder}/{name}" for folder, names in SPECIAL_FOLDERS.items() for name in names]
    for path in sorted(
        {SETTINGS_FILE, *settings, *registry.variable_files, *_parameters(registry)}
    ):
        fingerprint.add(root / path)
    return fingerprint, metafiles


def _digests(root: Path, fingerprint: TreeFingerprint) -> dict[str, str]:
    """The digest of each path of a fingerprint, from the root where it is inside."""
    inside = f"{root}/"
    found = fingerprint.finish().all()
    # JSON takes no names that are not UTF-8.
    return {
        place.removeprefix(inside).encode("utf-8", "backslashreplace").decode(): digest
        for place, digest in found.items()
    }


def _parameters(registry: Registry) -> Iterator[str]:
    for stage in (*registry.stages, *(template.stage for template in registry.templates)):
        yield from (parameter.file for parameter in stage.parameters)


@cache
def _adapter() -> TypeAdapter[tuple[dict[str, Any], Registry]]:
    """What converts to JSON and back; building it takes longer than reading a small registry."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[dict[str, Any], Registry])


def _read(path: Path) -> tuple[dict[str, Any], Registry]:
    return _adapter().validate_json(path.read_bytes())


def _write(path: Path, kept: dict[str, Any], registry: Registry) -> None:
    data = _adapter().dump_json((kept, registry))
    if _adapter().validate_json(data) != (kept, registry):
        # A parameter that JSON cannot represent, such as a date.
        return
    write_kept(path, data)
