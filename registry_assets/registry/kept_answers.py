"""Caches shared between processes, and what invalidates them from outside the work tree.

That is: settings of Git and DVC, ignore files above the root, and the code of this package.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from registry_assets.fingerprint import TreeFingerprint
from registry_assets.git_repo import GitRepo

KEPT_FOLDER = ".dvc/tmp/registry_assets"
"""Where the caches are stored, from the root; ignored by Git like all of ``.dvc/tmp``."""

_DVC_FOLDERS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")


def find_outside(root: Path) -> list[str]:
    """Paths of the settings files of Git and DVC, and of ignore files above the root."""
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


def fingerprint_environment(outside: Sequence[str]) -> str:
    """A fingerprint of all that a cached answer depends on besides the registry's own files."""
    fingerprint = TreeFingerprint()
    for place in map(Path, outside):
        fingerprint.add(place)
    said = [
        fingerprint.digest(),
        _fingerprint_code(),
        *sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith("DVC_")),
        os.environ.get("GIT_CONFIG_GLOBAL", ""),
    ]
    return hashlib.blake2b("\n".join(said).encode(), digest_size=16).hexdigest()


@cache
def _fingerprint_code() -> str:
    """A fingerprint of the code of this process, which does not load it again when it changes."""
    fingerprint = TreeFingerprint()
    for place in Path(__file__).parents[1].rglob("*.py"):
        fingerprint.add(place)
    return f"{fingerprint.digest()} {sys.version} {version('dvc')}"


def write_kept(path: Path, data: bytes) -> None:
    """Write a cache file atomically; several processes and threads may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}")
    fresh.write_bytes(data)
    fresh.replace(path)
