"""The answer of the last look at a registry, kept for as long as nothing is written.

Comparing everything takes DVC, and seconds of starting it; that nothing was written since takes a
walk over names, times and sizes. What is kept is a copy of an answer: deleting it loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from registry_assets.git_repo import GitRepo
from registry_assets.history import HOME, event_log_file
from registry_assets.model import Registry
from registry_assets.stamps import Stamp, UntoldChangesError
from registry_assets.status import RegistryStatus

_KEPT = ".dvc/tmp/registry_assets/last_look.json"
_SYNCED = "registry_assets.json"
_SPECIAL = {".git": (), ".dvc": ("config", "config.local")}
"""Folders at the root of which these files count, and nothing else."""
_DVC_FOLDERS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")
SETTLED_SECONDS = 2.0
"""How old the newest change has to be: file systems tell times apart by up to two seconds (FAT)."""


@dataclass(frozen=True)
class Look:
    """A registry as it stood at a moment, by names, times and sizes.

    Attributes:
        root: Of the registry.
        entries: A stamp of each entry of the root that counts.
        is_settled: Whether every later change is sure to change a stamp.
        kept: What an earlier look left.
    """

    root: Path
    entries: Mapping[str, str]
    is_settled: bool
    kept: Mapping[str, Any]

    @property
    def status(self) -> RegistryStatus | None:
        """What an earlier look found, when nothing was written since."""
        if not self.is_settled or not self.kept or self.kept["entries"] != self.entries:
            return None
        if self.kept["setting"] != _setting(self.kept["outside"]):
            return None
        return RegistryStatus.from_json(self.kept["status"])

    def keep(self, registry: Registry, found: RegistryStatus) -> Look:
        """Keeps what was found after this look for the next one, if looks can tell that it holds.

        Args:
            registry: What was read meanwhile.
            found: Its status.

        Returns:
            The look as it would be taken now.
        """
        if not self.is_settled or not _is_self_contained(registry):
            return self
        unseen = _unseen(registry)
        entries = {name: stamp for name, stamp in self.entries.items() if name not in unseen}
        outside = _outside(registry.root)
        kept = {
            "unseen": unseen,
            "entries": entries,
            "outside": outside,
            "setting": _setting(outside),
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
    started = time.time_ns()
    newest = 0
    entries = {}
    is_told = True
    for name in sorted(os.listdir(root)):
        if name in kept.get("unseen", ()):
            continue
        stamp = Stamp(is_strict=True)
        try:
            if name in _SPECIAL:
                for file in _SPECIAL[name]:
                    stamp.add(root / name / file)
            else:
                stamp.add(root / name)
        except (UntoldChangesError, OSError):
            is_told = False
        entries[name] = stamp.digest()
        newest = max(newest, stamp.newest)
    return Look(root, entries, is_told and newest < started - settled_seconds * 1e9, kept)


def _find_root(start: Path) -> Path | None:
    folder = start.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), None)


def _is_self_contained(registry: Registry) -> bool:
    """Whether the status depends on nothing that lies elsewhere."""
    paths = [
        *registry.variable_files,
        *registry.outputs,
        *(dependency.path for stage in registry.stages for dependency in stage.dependencies),
        *(parameter.file for stage in registry.stages for parameter in stage.parameters),
    ]
    return (
        all(item.is_frozen for item in registry.inputs)
        and not any(d.is_external for stage in registry.stages for d in stage.dependencies)
        and not any(path.startswith(("..", "/")) for path in paths)
    )


def _unseen(registry: Registry) -> list[str]:
    """Folders at the root that Git, and so DVC, does not look into, and that no stage names."""
    root = registry.root
    named = {
        PurePosixPath(path).parts[0]
        for path in (
            *registry.variable_files,
            *registry.outputs,
            *(d.path for stage in registry.stages for d in stage.dependencies),
            *(p.file for stage in registry.stages for p in stage.parameters),
        )
        if path
    }
    folders = [
        place.name
        for place in root.iterdir()
        if place.is_dir() and place.name not in named and place.name not in _SPECIAL
    ]
    ignored = GitRepo(root).ignored([f"{name}/" for name in folders])
    return sorted(
        name
        for name in folders
        if f"{name}/" in ignored or name == HOME or _ignores_itself(root / name)
    )


def _ignores_itself(folder: Path) -> bool:
    """As caches of tools and newer virtual environments do."""
    with suppress(OSError, UnicodeDecodeError):
        lines = (folder / ".gitignore").read_text(encoding="utf-8").split()
        return "*" in lines and not any(line.startswith("!") for line in lines)
    return False


def _outside(root: Path) -> list[str]:
    """Settings of Git and DVC, and ignore files above the root, wherever they are."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    systems = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    git = GitRepo(root)
    places = [
        *git.settings_files(),
        home / ".gitconfig",
        config / "git" / "config",
        config / "git" / "ignore",
        Path("/etc/gitconfig"),
        *(Path(os.environ[key]) / "config" for key in _DVC_FOLDERS if key in os.environ),
        config / "dvc" / "config",
        home / "Library" / "Preferences" / "dvc" / "config",
        *(Path(folder) / "dvc" / "config" for folder in systems.split(os.pathsep)),
    ]
    top = git.top()
    if top is not None and top != root:
        for folder in root.parents:
            places += [folder / ".gitignore", folder / ".dvcignore"]
            if folder == top:
                break
    return [str(place) for place in places]


def _setting(outside: Sequence[str]) -> str:
    """A stamp of all that an answer depends on beside the files of the registry."""
    stamp = Stamp(is_strict=True)
    for place in (*map(Path, outside), *_code()):
        stamp.add(place)
    said = [
        stamp.digest(),
        sys.version,
        version("dvc"),
        *sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith("DVC_")),
        os.environ.get("GIT_CONFIG_GLOBAL", ""),
    ]
    return hashlib.blake2b("\n".join(said).encode(), digest_size=16).hexdigest()


def _code() -> Iterator[Path]:
    """The code of this package, which answers."""
    return Path(__file__).parent.rglob("*.py")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(data), encoding="utf-8")
        fresh.replace(path)
