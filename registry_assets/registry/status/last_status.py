"""A cache of the last status of a registry, valid until a file changes.

Comparing everything needs DVC, which takes seconds to start; checking that nothing was written
since needs only a walk over names, times and sizes. The cache can be deleted safely.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_assets.fingerprint import (
    Clock,
    CoveredFolder,
    FolderDigests,
    Moment,
    ObjectsFingerprint,
    TreeFingerprint,
    UntoldChangesError,
    read_clock,
)
from registry_assets.model import DVC_FOLDER, Registry, folders_above
from registry_assets.registry.home import ENV_FILE, event_log_file
from registry_assets.registry.kept_answers import (
    KEPT_FOLDER,
    find_outside,
    fingerprint_environment,
    write_kept,
)
from registry_assets.registry.metafile_walk import (
    SPECIAL_FOLDERS,
    find_unseen,
    named_paths,
    without_named,
)
from registry_assets.registry.status.values import RegistryStatus

if TYPE_CHECKING:
    from registry_assets.dvc_repo import DvcRepo, KnownData

_KEPT = f"{KEPT_FOLDER}/last_look.json"
_KEPT_PLACES = (DVC_FOLDER, f"{DVC_FOLDER}/tmp", KEPT_FOLDER, f"{KEPT_FOLDER}/clock", _KEPT)
_SYNCED = "registry_assets.json"


@dataclass(frozen=True)
class Observation:
    """Names, times and sizes of all files of a registry at one moment.

    Attributes:
        root: Root of the registry.
        entries: A fingerprint of each relevant entry of the root.
        folders: A fingerprint of each folder, in which those of outputs are found.
        covered: The folders that need not be listed next time if others are unchanged.
        is_settled: Whether every later change is sure to change a fingerprint.
        kept: The cache that an earlier observation wrote.
        moment: When the observation began.
    """

    root: Path
    entries: Mapping[str, str]
    folders: FolderDigests = field(repr=False)
    covered: Mapping[str, CoveredFolder] = field(repr=False)
    is_settled: bool
    kept: Mapping[str, Any]
    moment: Moment

    @property
    def status(self) -> RegistryStatus | None:
        """The cached status, if nothing was written since."""
        if not self.is_settled:
            return None
        try:
            if self.kept["entries"] != self.entries:
                return None
            if self.kept["environment"] != fingerprint_environment(self.kept["outside"]):
                return None
            if self.kept["objects"] != ObjectsFingerprint.of(self.kept["caches"]).digest:
                return None
            return RegistryStatus.from_dict(self.kept["status"])
        except Exception:
            # A broken cache, or one that another version wrote: compare again.
            return None

    @property
    def known(self) -> KnownData | None:
        """What was kept about data, as far as it still holds although something was written."""
        from registry_assets.dvc_repo import KnownData, KnownFolder

        try:
            if not self._has_settings_of(self.kept):
                return None
            kept = self.kept["data"]
            caches = ObjectsFingerprint.of(self.kept["caches"])
            return KnownData(
                {
                    path: KnownFolder(
                        md5, stamp, self.folders.below(f"{self.root}/{path}") == fingerprint
                    )
                    for path, (fingerprint, stamp, md5) in kept["folders"].items()
                },
                frozenset(kept["in_cache"] if caches.digest == self.kept["objects"] else ()),
            )
        except Exception:
            # As in `status`.
            return None

    def keep(self, registry: Registry, found: RegistryStatus, dvc: DvcRepo) -> Observation:
        """Cache a status, if later observations can tell whether it is still valid.

        Args:
            registry: The registry, read after this observation.
            found: Its status, read after this observation.
            dvc: The repository, in the session in which the status was read.

        Returns:
            This observation, updated with what was cached.
        """
        if not self.is_settled or not is_self_contained(registry):
            return self
        caches, data = [str(cache) for cache in dvc.object_folders], dvc.known_data()
        objects = ObjectsFingerprint.of(caches)
        if not self.moment.is_after(objects.newest, objects.devices):
            return self
        unseen = without_named(registry, find_unseen(registry))
        entries = self._entries_without(unseen)
        if entries is None:
            return self
        outside = [*find_outside(registry.root), *_ignore_files(registry)]
        kept = {
            "unseen": unseen,
            "entries": entries,
            "outside": outside,
            "environment": fingerprint_environment(outside),
            "caches": caches,
            "objects": objects.digest,
            "status": asdict(found),
            "covered": self.covered,
            "data": {
                "folders": {
                    path: (self.folders.below(f"{self.root}/{path}"), folder.stamp, folder.md5)
                    for path, folder in data.folders.items()
                },
                "in_cache": sorted(data.in_cache),
            },
        }
        _write(self.root / _KEPT, kept)
        return replace(self, entries=entries, kept=kept)

    def _entries_without(self, unseen: Collection[str]) -> Mapping[str, str] | None:
        """The entries as they would have been observed without some folders.

        None when something else was written meanwhile.
        """
        entries = {name: found for name, found in self.entries.items() if name not in unseen}
        skipped = _skipped(self.kept)
        for name in {path.split("/")[0] for path in skipped.symmetric_difference(unseen)}:
            if name in entries:
                without = _fingerprint(self.root, name, unseen)
                # Read last: if it is unchanged, what was read before it is valid too.
                if without is None or _fingerprint(self.root, name, skipped) != entries[name]:
                    return None
                entries[name] = without
        return entries

    def has_settings_of(self, before: Observation) -> bool:
        """Whether settings and ignore files are those of an earlier observation that was kept.

        What a process knows of unchanged folders holds only with the same ignore files.
        """
        try:
            return self._has_settings_of(before.kept)
        except (KeyError, OSError, UntoldChangesError):
            return False

    def _has_settings_of(self, kept: Mapping[str, Any]) -> bool:
        if self.entries.get(DVC_FOLDER) != kept["entries"].get(DVC_FOLDER):
            return False
        return bool(fingerprint_environment(kept["outside"]) == kept["environment"])

    def is_synced(self, home: Path) -> bool:
        """Whether this state was reported to the Dagster instance of a home folder."""
        told = self._told_to(home)
        return told is not None and _read(home / _SYNCED).get(str(self.root)) == told

    def mark_synced(self, home: Path) -> None:
        """Remember that this state was reported to Dagster."""
        told = self._told_to(home)
        if told is not None:
            _write(home / _SYNCED, {**_read(home / _SYNCED), str(self.root): told})

    def _told_to(self, home: Path) -> dict[str, Any] | None:
        """This state and the inode of the event log; a recreated event log has another inode."""
        log = event_log_file(home)
        if log is None or not self.is_settled:
            return None
        try:
            return {"log": log.stat().st_ino, "entries": dict(self.entries)}
        except OSError:
            return None


def observe(start: Path, *, clock: Clock = read_clock) -> Observation | None:
    """Observe the registry around a folder; None when there is none.

    None also where links lead what is kept elsewhere, as those of a stranger's branch may: whether
    they are its own, only Git knows (`git_repo.check_own`).

    Reads none of its files, runs no program and imports neither DVC nor Dagster.

    Args:
        start: Any folder of the registry.
        clock: Reads the clock of a file system.
    """
    root = _find_root(start)
    if root is None or any((root / place).is_symlink() for place in _KEPT_PLACES):
        return None
    kept = _read(root / _KEPT)
    moment = clock(root / KEPT_FOLDER)
    skipped = _skipped(kept)
    # The `.env` file is rewritten in each copy and is not part of the registry's state.
    names = [n for n in sorted(os.listdir(root)) if n != ENV_FILE and n not in skipped]
    fingerprint = TreeFingerprint(_covered(kept))
    broken = [name for name in names if not _add(fingerprint, root, name, skipped)]
    try:
        folders = fingerprint.finish()
    except (UntoldChangesError, OSError):
        folders, broken = FolderDigests(), names
    entries = {name: folders.at(f"{root}/{name}") for name in names}
    is_sure = not broken and moment.is_after(fingerprint.newest, fingerprint.devices)
    return Observation(root, entries, folders, fingerprint.covered, is_sure, kept, moment)


def _covered(kept: Mapping[str, Any]) -> Mapping[str, CoveredFolder]:
    try:
        return {path: CoveredFolder(*found) for path, found in kept["covered"].items()}
    except (KeyError, TypeError, AttributeError):
        return {}


def _fingerprint(root: Path, name: str, skipped: Collection[str]) -> str | None:
    """The fingerprint of an entry of the root; None if it is not complete."""
    fingerprint = TreeFingerprint()
    is_whole = _add(fingerprint, root, name, skipped)
    return fingerprint.finish().at(f"{root}/{name}") if is_whole else None


def _skipped(kept: Mapping[str, Any]) -> frozenset[str]:
    """The ignored folders that an earlier observation found, from the root."""
    unseen = kept.get("unseen")
    return frozenset(map(str, unseen)) if isinstance(unseen, list) else frozenset()


def _add(fingerprint: TreeFingerprint, root: Path, name: str, skipped: Collection[str]) -> bool:
    """Add an entry of the root to a fingerprint; return whether it is complete."""
    without = {f"{root}/{path}" for path in skipped}
    try:
        if name in SPECIAL_FOLDERS:
            for file in SPECIAL_FOLDERS[name]:
                fingerprint.add(root / name / file)
        else:
            fingerprint.add(root / name, without)
    except (UntoldChangesError, OSError):
        return False
    return True


def _ignore_files(registry: Registry) -> Iterator[str]:
    """Where files could be that say what DVC ignores in outputs and dependencies."""
    folders = {folder for path in named_paths(registry) for folder in folders_above(path)}
    yield from (str(registry.root / folder / ".dvcignore") for folder in sorted(folders))


def is_self_contained(registry: Registry) -> bool:
    """Whether the status depends on nothing outside the registry."""
    return (
        all(item.is_frozen for item in registry.inputs)
        and not any(d.is_external for stage in registry.stages for d in stage.dependencies)
        and not any(path.startswith(("..", "/")) for path in named_paths(registry))
    )


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
