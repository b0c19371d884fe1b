"""What an answer about a registry depends on beside the files of its work tree.

Settings of Git and DVC, ignore files above the root, and the code that answers. For answers that
are kept from one process to the next.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from registry_assets.fingerprint import Stamp
from registry_assets.git_repo import GitRepo
from registry_assets.model import Registry
from registry_assets.registry.home import HOME

KEPT_FOLDER = ".dvc/tmp/registry_assets"
"""Where answers are kept, from the root; DVC has Git ignore what is in there."""

SPECIAL_FOLDERS = {".git": (), ".dvc": ("config", "config.local")}
"""Folders at the root of which these files count, and nothing else."""

SETTLED_SECONDS = 2.0
"""How old the newest change has to be to tell later ones: file systems tell times apart by up to
two seconds (FAT)."""

_DVC_FOLDERS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")


def is_self_contained(registry: Registry) -> bool:
    """Whether the status depends on nothing that lies elsewhere."""
    return (
        all(item.is_frozen for item in registry.inputs)
        and not any(d.is_external for stage in registry.stages for d in stage.dependencies)
        and not any(path.startswith(("..", "/")) for path in _named_paths(registry))
    )


def _named_paths(registry: Registry) -> Iterator[str]:
    """Everything that the pipelines name."""
    yield from registry.variable_files
    yield from registry.outputs
    for stage in registry.stages:
        yield from (dependency.path for dependency in stage.dependencies)
        yield from (parameter.file for parameter in stage.parameters)


def find_unseen(registry: Registry) -> list[str]:
    """Folders at the root that Git, and so DVC, does not look into, and that no stage names."""
    root = registry.root
    named = {PurePosixPath(path).parts[0] for path in _named_paths(registry) if path}
    folders = [
        place.name
        for place in root.iterdir()
        if place.is_dir() and place.name not in named and place.name not in SPECIAL_FOLDERS
    ]
    ignored = GitRepo(root).ignored([f"{name}/" for name in folders]) or frozenset()
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


def stamp_of_surroundings(outside: Sequence[str]) -> str:
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
    return Path(__file__).parents[1].rglob("*.py")


def write_kept(path: Path, data: bytes) -> None:
    """Keeps an answer in one rename, as several processes and threads may at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}")
    fresh.write_bytes(data)
    fresh.replace(path)
