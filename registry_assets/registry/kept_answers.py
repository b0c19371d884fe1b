"""Answers kept from one process to the next, and what they depend on outside the work tree.

Settings of Git and DVC, ignore files above the root, and the code that answers.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from registry_assets.fingerprint import TreeFingerprint
from registry_assets.git_repo import GitRepo

KEPT_FOLDER = ".dvc/tmp/registry_assets"
"""Where answers are kept, from the root; DVC has Git ignore what is in there."""

_DVC_FOLDERS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")


def find_outside(root: Path) -> list[str]:
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


def fingerprint_environment(outside: Sequence[str]) -> str:
    """A fingerprint of all that an answer depends on beside the files of the registry."""
    fingerprint = TreeFingerprint(is_strict=True)
    for place in (*map(Path, outside), *_code()):
        fingerprint.add(place)
    said = [
        fingerprint.digest(),
        sys.version,
        version("dvc"),
        *sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith("DVC_")),
        os.environ.get("GIT_CONFIG_GLOBAL", ""),
    ]
    return hashlib.blake2b("\n".join(said).encode(), digest_size=16).hexdigest()


def _code() -> Iterator[Path]:
    """The code of this package, which answers."""
    return Path(__file__).parents[1].rglob("*.py")


def write_kept(path: Path, data: bytes) -> None:
    """Keeps an answer in one rename, as several processes and threads may at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}")
    fresh.write_bytes(data)
    fresh.replace(path)
