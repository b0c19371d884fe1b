"""The answer of the last look at a registry, kept for as long as nothing is written.

Comparing everything takes DVC, and seconds of starting it; that nothing was written since takes a
walk over names, times and sizes. What is kept is a copy of an answer: deleting it loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from registry_assets.fingerprint import Stamp, UntoldChangesError
from registry_assets.model import Registry
from registry_assets.registry.environment import (
    KEPT_FOLDER,
    SETTLED_SECONDS,
    SPECIAL_FOLDERS,
    find_outside,
    find_unseen,
    is_self_contained,
    stamp_of_surroundings,
    write_kept,
)
from registry_assets.registry.home import ENV_FILE, event_log_file
from registry_assets.registry.status.values import RegistryStatus

_KEPT = f"{KEPT_FOLDER}/last_look.json"
_SYNCED = "registry_assets.json"
# Of a cache: where objects lie.
_OBJECTS = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True)
class Look:
    """A registry as it stood at a moment, by names, times and sizes.

    Attributes:
        root: Of the registry.
        entries: A stamp of each entry of the root that counts.
        is_settled: Whether every later change is sure to change a stamp.
        kept: What an earlier look left.
        told_from: What changed before that, in nanoseconds since the epoch, can be told from what
            changes after this look.
    """

    root: Path
    entries: Mapping[str, str]
    is_settled: bool
    kept: Mapping[str, Any]
    told_from: int = 0

    @property
    def status(self) -> RegistryStatus | None:
        """What an earlier look found, when nothing was written since."""
        if not self.is_settled:
            return None
        try:
            if self.kept["entries"] != self.entries:
                return None
            if self.kept["setting"] != stamp_of_surroundings(self.kept["outside"]):
                return None
            if self.kept["objects"] != _stamp_of_objects(self.kept["caches"]).digest:
                return None
            return RegistryStatus.from_json(self.kept["status"])
        except Exception:
            # Whatever is wrong with a copy, which another version may have kept: ask anew.
            return None

    def keep(self, registry: Registry, found: RegistryStatus, caches: Iterable[Path]) -> Look:
        """Keeps what was found after this look for the next one, if looks can tell that it holds.

        Args:
            registry: What was read meanwhile.
            found: Its status.
            caches: The folders of the objects that it depends on.

        Returns:
            The look as it would be taken now.
        """
        if not self.is_settled or not is_self_contained(registry):
            return self
        objects = _stamp_of_objects(map(str, caches))
        if objects.newest >= self.told_from:
            return self
        unseen = find_unseen(registry)
        entries = {name: stamp for name, stamp in self.entries.items() if name not in unseen}
        outside = find_outside(registry.root)
        kept = {
            "unseen": unseen,
            "entries": entries,
            "outside": outside,
            "setting": stamp_of_surroundings(outside),
            "caches": [str(cache) for cache in caches],
            "objects": objects.digest,
            "status": found.as_json(),
        }
        _write(self.root / _KEPT, kept)
        return replace(self, entries=entries, kept=kept)

    def is_synced(self, home: Path) -> bool:
        """Whether all that this look shows was told to the Dagster instance in a home folder."""
        told = self._told_to(home)
        return told is not None and _read(home / _SYNCED).get(str(self.root)) == told

    def mark_synced(self, home: Path) -> None:
        """Remembers that all that this look shows was told to Dagster."""
        told = self._told_to(home)
        if told is not None:
            _write(home / _SYNCED, {**_read(home / _SYNCED), str(self.root): told})

    def _told_to(self, home: Path) -> dict[str, Any] | None:
        """What was told, and which event log knows it: one that was deleted knows nothing."""
        log = event_log_file(home)
        if log is None or not self.is_settled:
            return None
        try:
            return {"log": log.stat().st_ino, "entries": dict(self.entries)}
        except OSError:
            return None


def look(start: Path, *, settled_seconds: float = SETTLED_SECONDS) -> Look | None:
    """Looks at the registry around a folder; None when there is none.

    Reads no file of it, runs no program and imports neither DVC nor Dagster.

    Args:
        start: Any folder of the registry.
        settled_seconds: How old the newest change has to be for the look to tell later ones.
    """
    root = _find_root(start)
    if root is None:
        return None
    kept = _read(root / _KEPT)
    unseen = kept.get("unseen")
    skipped = {ENV_FILE, *(map(str, unseen) if isinstance(unseen, list) else ())}
    started = time.time_ns()
    newest = 0
    entries = {}
    is_told = True
    for name in sorted(os.listdir(root)):
        # What leads Dagster here is written anew in a copy, and says nothing of the registry.
        if name in skipped:
            continue
        stamp = Stamp(is_strict=True)
        try:
            if name in SPECIAL_FOLDERS:
                for file in SPECIAL_FOLDERS[name]:
                    stamp.add(root / name / file)
            else:
                stamp.add(root / name)
        except (UntoldChangesError, OSError):
            is_told = False
        entries[name] = stamp.digest()
        newest = max(newest, stamp.newest)
    told_from = started - int(settled_seconds * 1e9)
    return Look(root, entries, is_told and newest < told_from, kept, told_from)


class _Objects(NamedTuple):
    """Which objects caches hold, as far as their folders tell without being read.

    Attributes:
        newest: When one was added or removed last, in nanoseconds since the epoch.
    """

    digest: str
    newest: int


def _stamp_of_objects(caches: Iterable[str]) -> _Objects:
    lines, newest = [], 0
    for cache in caches:
        with suppress(OSError), os.scandir(cache) as folders:
            for folder in folders:
                if _OBJECTS.fullmatch(folder.name):
                    status = folder.stat()
                    lines.append(f"{folder.path}\0{status.st_ino} {status.st_mtime_ns}\n")
                    newest = max(newest, status.st_mtime_ns)
    text = "".join(sorted(lines)).encode("utf-8", "surrogateescape")
    return _Objects(hashlib.blake2b(text, digest_size=16).hexdigest(), newest)


def _find_root(start: Path) -> Path | None:
    folder = start.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    with suppress(OSError):
        write_kept(path, json.dumps(data).encode())
