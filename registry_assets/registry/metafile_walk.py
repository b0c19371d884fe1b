"""The one directory walk through a registry that finds metafiles.

It finds what DVC would find (see `dvc_repo.collecting`), without importing DVC. It skips:

* ``.git``, ``.hg`` and ``.dvc`` anywhere, and nested DVC repositories;
* folders behind symbolic links, which are only reported as links;
* data: collections (`Settings.is_collection`), cached outputs, and folders with a ``.dvc`` file;
* folders that Git or ``.dvcignore`` ignores, such as a virtual environment, even when the ignore
  file is inside the folder; but not folders that may hold collections, because reading reports
  ignored collections.

Other hidden folders are walked. Asking Git about ignored folders starts a process, so the result
of `find_unseen` is cached with the registry, and `RepeatedWalk` asks about new folders only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from enum import Enum, auto
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from registry_assets.bounded import MOST_FOLDERS_DEEP, read_text
from registry_assets.errors import MetafileError
from registry_assets.fingerprint import (
    SETTLED_SECONDS,
    TreeFingerprint,
    UntoldChangesError,
    is_settled,
)
from registry_assets.git_repo import AskIgnored, GitRepo
from registry_assets.model import (
    DVC_FOLDER,
    DVC_SUFFIX,
    LOCK_FILE,
    PIPELINE_FILE,
    Registry,
    folders_above,
    metafile_of,
)
from registry_assets.registry.home import HOME
from registry_assets.registry.kept_answers import find_outside

if TYPE_CHECKING:
    from registry_assets.dvc_repo import DvcRepo

SPECIAL_FOLDERS = {".git": (), DVC_FOLDER: ("config", "config.local")}
"""Folders at the root in which only these files matter."""

_REPOSITORIES = {".git", ".hg", DVC_FOLDER}
_METAFILES = {PIPELINE_FILE, LOCK_FILE}
_LISTS = {"collections.yaml"}
_IGNORE_FILES = {".gitignore", ".dvcignore"}

FindIgnored = Callable[[Sequence[str]], Collection[str]]
"""Takes folders, by path from the root; returns those that are ignored."""


class Kind(Enum):
    """The kind of a path that the walk found."""

    METAFILE = auto()
    LIST = auto()
    IGNORE_FILE = auto()
    """An ignore file that decides which folders are walked; it need not exist."""
    LINK = auto()
    """A symbolic link to a folder, or a broken one."""
    FAMILY_FOLDER = auto()
    """A folder that holds collections."""
    UNLISTED = auto()
    """A folder that cannot be listed, so its content is unknown."""


class Found(NamedTuple):
    """A path, from the root, that affects what the registry declares."""

    path: str
    kind: Kind


def walk(registry: Registry, find_ignored: FindIgnored) -> Iterator[Found]:
    """Find metafiles, lists of collections and ignore files, level by level.

    Args:
        registry: As it was read last, for its root, settings and outputs.
        find_ignored: Called once per level, with the folders that no other rule skips, after the
            ignore files above them were yielded.
    """
    settings = registry.settings
    families = [pattern.removesuffix("/*") for pattern in settings.families]
    kept = {path for path, output in registry.outputs.items() if output.is_cached}
    level = [""]
    for depth in count():
        if not level or depth > MOST_FOLDERS_DEEP:
            break
        asked: list[str] = []
        below: list[str] = []
        for folder in level:
            try:
                found, inside = _look_into(registry.root, folder)
            except OSError:
                yield Found(folder, Kind.UNLISTED)
                continue
            yield from found
            for path in inside:
                if path in kept or settings.is_collection(path):
                    continue
                if any(_fits(path, family) for family in families):
                    yield Found(path, Kind.FAMILY_FOLDER)
                (below if settings.leads_to_collections(path) else asked).append(path)
        ignored = find_ignored(asked) if asked else ()
        for path in asked:
            if path in ignored:
                # If its own ignore file is removed, the folder may have to be walked.
                yield Found(f"{path}/.gitignore", Kind.IGNORE_FILE)
            else:
                below.append(path)
        level = sorted(below)
    yield from (Found(folder, Kind.UNLISTED) for folder in level)


def _look_into(root: Path, folder: str) -> tuple[list[Found], list[str]]:
    """What matters in a folder, and its subfolders that may have to be walked."""
    with os.scandir(root / folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    found: list[Found] = []
    inside: list[str] = []
    for entry in entries:
        name = entry.name
        path = f"{folder}/{name}" if folder else name
        if entry.is_dir(follow_symlinks=False):
            if name == DVC_FOLDER and folder:
                # A nested DVC repository.
                return [], []
            is_data = metafile_of(name) in names
            if name not in _REPOSITORIES and not is_data and path != HOME:
                inside.append(path)
        elif entry.is_symlink() and not entry.is_file():
            found.append(Found(path, Kind.LINK))
        elif name in _METAFILES or name.endswith(DVC_SUFFIX):
            found.append(Found(path, Kind.METAFILE))
        elif name in _LISTS:
            found.append(Found(path, Kind.LIST))
        elif name in _IGNORE_FILES:
            found.append(Found(path, Kind.IGNORE_FILE))
    return found, inside


def _fits(path: str, family: str) -> bool:
    parts, pattern = path.split("/"), family.split("/")
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


def find_unseen(registry: Registry) -> list[str]:
    """The topmost folders that are skipped because Git or ``.dvcignore`` ignores them."""
    rule = IgnoreRule(registry.root)
    rule.walk(registry)
    own = [HOME] if (registry.root / HOME).is_dir() else []
    return sorted({*rule.ignored, *own})


def without_named(registry: Registry, folders: Collection[str]) -> list[str]:
    """The folders that do not overlap with any path that a pipeline names."""
    named = {os.path.normpath(path) for path in named_paths(registry) if path}
    above = {folder for path in named for folder in folders_above(path)}
    return [
        folder
        for folder in folders
        if folder not in above and named.isdisjoint({folder, *folders_above(folder)})
    ]


def named_paths(registry: Registry) -> Iterator[str]:
    """All paths that the pipelines name."""
    yield from registry.variable_files
    yield from registry.outputs
    for stage in registry.stages:
        yield from (dependency.path for dependency in stage.dependencies)
        yield from (parameter.file for parameter in stage.parameters)


class IgnoreRule:
    """Which folders Git and ``.dvcignore`` ignore; asks about each folder once.

    Attributes:
        ignored: The ignored folders found so far.

    Args:
        root: Root of the registry.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[str] = set()
        self.ignored: set[str] = set()

    def walk(self, registry: Registry) -> list[Found]:
        """Walk by this rule."""
        is_ignored: Callable[[str], bool] | None = None

        def find_ignored(folders: Sequence[str]) -> Collection[str]:
            nonlocal is_ignored
            left = self._ask_git(ask, [path for path in folders if path not in self._known])
            if self._may_dvc_ignore(left):
                is_ignored = is_ignored or _dvc_repo(self._root).ignore_rule()
                self.ignored.update(filter(is_ignored, left))
            return self.ignored

        with GitRepo(self._root).asking_ignored() as ask:
            return list(walk(registry, find_ignored))

    def _ask_git(self, ask: AskIgnored, folders: Sequence[str]) -> Sequence[str]:
        """The folders that Git does not ignore; remembers the others."""
        self._known.update(folders)
        by_git = ask([f"{path}/" for path in folders]) or frozenset()
        left = []
        for path in folders:
            if f"{path}/" in by_git or _ignores_itself(self._root / path):
                self.ignored.add(path)
            else:
                left.append(path)
        return left

    def _may_dvc_ignore(self, folders: Sequence[str]) -> bool:
        above = {up for folder in folders for up in folders_above(folder)}
        return any(_holds_a_pattern(self._root / folder / ".dvcignore") for folder in above)


class RepeatedWalk:
    """A walk that is repeated in one process: asks Git and DVC about new folders only.

    Starts over when an ignore file, or a setting outside the work tree, has changed.

    Args:
        root: Root of the registry.
        settled_seconds: Minimum age of the newest such change, so that later ones are noticed.
    """

    def __init__(self, root: Path, *, settled_seconds: float = SETTLED_SECONDS) -> None:
        self._root = root
        self._settled_seconds = settled_seconds
        self._rule: IgnoreRule | None = None
        self._outside: list[str] = []
        self._digest = ""

    def __call__(self, registry: Registry) -> list[Found]:
        """Walk the registry as it is now."""
        if self._rule is not None:
            found = self._rule.walk(registry)
            fingerprint = self._fingerprint(found)
            if fingerprint is not None and fingerprint.digest() == self._digest:
                return found
        started = time.time()
        rule = IgnoreRule(self._root)
        self._outside = find_outside(self._root)
        found = rule.walk(registry)
        fingerprint = self._fingerprint(found)
        is_sure = fingerprint is not None and is_settled(
            fingerprint.newest, started, self._settled_seconds
        )
        self._rule = rule if is_sure else None
        self._digest = "" if fingerprint is None else fingerprint.digest()
        return found

    def _fingerprint(self, found: Sequence[Found]) -> TreeFingerprint | None:
        """A fingerprint of ignore files and settings; None when they may change unnoticed."""
        fingerprint = TreeFingerprint()
        files = (self._root / path for path, kind in found if kind is Kind.IGNORE_FILE)
        try:
            for place in (*files, *map(Path, self._outside)):
                fingerprint.add(place)
        except (OSError, UntoldChangesError):
            return None
        return fingerprint


def _dvc_repo(root: Path) -> DvcRepo:
    # Imported only when needed: DVC takes half a second to import.
    from registry_assets.dvc_repo import DvcRepo

    return DvcRepo(root)


def _ignores_itself(folder: Path) -> bool:
    """Whether a folder's own ``.gitignore`` ignores it, as in tool caches and virtualenvs."""
    with suppress(OSError, MetafileError):
        lines = read_text(folder / ".gitignore").split()
        return "*" in lines and not any(line.startswith("!") for line in lines)
    return False


def _holds_a_pattern(ignore_file: Path) -> bool:
    try:
        lines = read_text(ignore_file).splitlines()
    except OSError:
        return False
    except MetafileError:
        # DVC says what is wrong with it.
        return True
    return any(line.strip() and not line.startswith("#") for line in lines)
