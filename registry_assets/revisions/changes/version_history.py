"""Every version that any commit has recorded: its inputs, its commit, and the refs that have it.

Each distinct entry of a metafile is parsed once: a ``dvc.lock`` of a thousand entries differs from
commit to commit, but nearly all of its entries are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from registry_assets.errors import MetafileError, RegistryError
from registry_assets.git_repo import GitRepo, TreeBuilder
from registry_assets.git_repo.history import (
    INDEX,
    OTHER_WORK_TREE,
    find_files,
    find_other_work_trees,
    read_blobs_at,
    read_changes,
    read_staged_blobs,
    read_tips,
)
from registry_assets.model import DVC_SUFFIX, LOCK_FILE, Registry, Version
from registry_assets.revisions.changes.committing import metafiles_of
from registry_assets.revisions.changes.metafile_entries import (
    METAFILE_PATTERNS,
    MetafileEntry,
    records_versions,
    split_entries,
)

WORK_TREE = "the work tree"
"""The keeper of a version that the metafiles in the work tree record."""

# A `dvc.lock` may be a megabyte of text.
_TEXTS_AT_ONCE = 50


@dataclass(frozen=True)
class Recorded:
    """The content of one entry of a metafile.

    Attributes:
        address: The stage or ``.dvc`` file.
        outputs: The versions of its outputs, by path.
        read: The versions of its dependencies, by path.
        objects: The md5s of all cache objects that it needs.
    """

    address: str
    outputs: Mapping[str, Version]
    read: Mapping[str, Version]
    objects: frozenset[str]


@dataclass
class VersionHistory:
    """All versions in the history of a repository.

    A keeper of an entry is a branch, tag, stash, index or work tree that has the entry now. An
    entry that only older commits have has no keeper.

    Attributes:
        entries: The distinct entries.
        commits: The newest commit that recorded each entry, by its index in `entries`. Uncommitted
            entries have none.
        keepers: The keepers of each entry, by its index in `entries`.
        unread: Messages about metafiles that could not be read.
        kept_unread: Those messages that concern a branch, tag, stash, index or work tree.
    """

    entries: list[Recorded] = field(default_factory=list)
    commits: dict[int, str] = field(default_factory=dict)
    keepers: defaultdict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    unread: dict[str, None] = field(default_factory=dict)
    kept_unread: dict[str, None] = field(default_factory=dict)

    @cached_property
    def versions(self) -> Mapping[tuple[str, str], tuple[int, ...]]:
        """Indices of the entries that record a version, newest first, by path and md5."""
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, entry in enumerate(self.entries):
            for path, version in entry.outputs.items():
                found[path, version.md5].append(number)
        return {key: tuple(numbers) for key, numbers in found.items()}

    def commit_of(self, path: str, md5: str) -> str | None:
        """The newest commit that recorded a version; None if it is not committed yet."""
        numbers = self.versions.get((path, md5), ())
        return next((self.commits[n] for n in numbers if n in self.commits), None)

    def keepers_of(self, path: str, md5: str) -> tuple[str, ...]:
        """The keepers of a version of an output."""
        numbers = self.versions.get((path, md5), ())
        return tuple(dict.fromkeys(k for n in numbers for k in self.keepers.get(n, ())))

    def is_known(self, path: str, md5: str) -> bool:
        """Whether a version of an output is recorded in any commit or keeper."""
        return bool(self.commit_of(path, md5) or self.keepers_of(path, md5))

    def committed_objects(self) -> frozenset[str]:
        """The md5s of all objects that any commit needs, however old."""
        return frozenset().union(*(self.entries[number].objects for number in self.commits))

    def needed_objects(self) -> frozenset[str]:
        """The md5s of all objects that a keeper needs."""
        return frozenset().union(
            *(self.entries[n].objects for n, has in self.keepers.items() if has)
        )


def read_version_history(registry: Registry, runs: Path | None = None) -> VersionHistory:
    """Read every version that any commit, or the work tree, has recorded.

    Args:
        registry: The registry.
        runs: DVC's run cache, to include runs that were never committed. Their paths are relative
            to the folder of their stage.
    """
    git = GitRepo(registry.root)
    reader = _Reader(registry, git)
    reader.read_work_tree()
    if runs is not None:
        reader.read_runs(runs)
    reader.history.kept_unread = dict(reader.history.unread)
    if git.is_present:
        reader.read_named()
        reader.read_past()
    return reader.history


def read_runs(registry: Registry, runs: Path) -> Sequence[Recorded]:
    """Read the outputs and dependencies of all runs in DVC's run cache.

    Args:
        registry: The registry.
        runs: The run cache. Its paths are relative to the folder of their stage.
    """
    reader = _Reader(registry, GitRepo(registry.root))
    reader.read_runs(runs)
    return reader.history.entries


class _Reader:
    """Reads entries; parses each distinct text once."""

    def __init__(self, registry: Registry, git: GitRepo) -> None:
        self.history = VersionHistory()
        self._registry = registry
        self._git = git
        self._numbers: dict[tuple[str, str], int] = {}
        self._in_blob: dict[tuple[str, str], frozenset[int]] = {}

    def read_work_tree(self) -> None:
        for path in sorted(metafiles_of(self._registry)):
            place = self._registry.root / path
            if records_versions(path) and place.is_file():
                text = place.read_text(encoding="utf-8")
                self._keep(self._read(path, text, WORK_TREE), [WORK_TREE])

    def read_runs(self, runs: Path) -> None:
        for place in sorted(runs.glob("??/*/*")):
            if not place.name.endswith(".tmp"):
                text = place.read_text(encoding="utf-8", errors="replace")
                self._read(f"{place.name}{DVC_SUFFIX}", text, "the run cache")

    def read_named(self) -> None:
        kept: dict[tuple[str, str], list[str]] = {}
        for path, blob in read_staged_blobs(self._git, records_versions).items():
            kept.setdefault((path, blob), []).append(INDEX)
        self._read_other_work_trees(kept)
        for commit, names in read_tips(self._git).items():
            for file in read_blobs_at(self._git, commit, records_versions).items():
                kept.setdefault(file, []).extend(names)
        self._read_blobs(kept)
        for file, having in kept.items():
            self._keep(self._in_blob[file], having)
        self.history.kept_unread = dict(self.history.unread)

    def _read_other_work_trees(self, kept: dict[tuple[str, str], list[str]]) -> None:
        """Read staged and uncommitted metafiles of the other work trees of this repository."""
        for top, root in find_other_work_trees(self._git):
            if not top.is_dir():
                gone = f"the work tree {top} is missing (`git worktree prune` unregisters it)"
                self.history.unread[gone] = None
            if not root.is_dir():
                continue
            git = GitRepo(root)
            for path, blob in read_staged_blobs(git, records_versions).items():
                kept.setdefault((path, blob), []).append(OTHER_WORK_TREE)
            try:
                files = find_files(git, METAFILE_PATTERNS)
            except RegistryError as error:
                self.history.unread[f"the work tree {root} cannot be read: {error}"] = None
                continue
            for path in files:
                place = root / path
                if records_versions(path) and not path.startswith(".dvc/") and place.is_file():
                    try:
                        text = place.read_text(encoding="utf-8")
                    except (OSError, ValueError) as error:
                        self.history.unread[f"{place}: {error}"] = None
                        continue
                    self._keep(self._read(path, text, str(root)), [OTHER_WORK_TREE])

    def read_past(self) -> None:
        changes = [c for c in read_changes(self._git, METAFILE_PATTERNS) if c.after is not None]
        files = dict.fromkeys(
            (change.path, blob)
            for change in changes
            for blob in (change.after, *change.before)
            if blob is not None
        )
        self._read_blobs(files)
        for change in changes:
            assert change.after is not None, "those were left out"
            fresh = self._in_blob[change.path, change.after]
            for blob in change.before:
                fresh = fresh - self._in_blob[change.path, blob]
            for number in fresh:
                self.history.commits.setdefault(number, change.commit)

    def _keep(self, numbers: Iterable[int], names: Collection[str]) -> None:
        for number in numbers:
            self.history.keepers[number].update(dict.fromkeys(names))

    def _read_blobs(self, files: Iterable[tuple[str, str]]) -> None:
        wanted = [file for file in files if file not in self._in_blob]
        builder = TreeBuilder(self._git)
        for chunk in _chunks(wanted):
            texts = builder.read_blobs(blob for _, blob in chunk)
            for path, blob in chunk:
                where = f"blob {blob[:10]}"
                self._in_blob[path, blob] = self._read(path, texts[blob], where)

    def _read(self, path: str, text: str | None, where: str) -> frozenset[int]:
        try:
            return frozenset(map(self._number, split_entries(path, text).values()))
        except (MetafileError, AttributeError, KeyError, TypeError, ValueError) as error:
            # Conflict markers may be committed, and raw data may be named like a metafile.
            if self._registry.settings.declares(path):
                self.history.unread[f"{path} in {where}: {error}"] = None
            return frozenset()

    def _number(self, entry: MetafileEntry) -> int:
        key = (entry.address, entry.text)
        if key not in self._numbers:
            recorded = Recorded(
                entry.address, entry.read_outputs(), entry.read_dependencies(), entry.find_objects()
            )
            self._numbers[key] = len(self.history.entries)
            self.history.entries.append(recorded)
        return self._numbers[key]


def _chunks(files: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    has_locks = any(PurePosixPath(path).name == LOCK_FILE for path, _ in files)
    size = _TEXTS_AT_ONCE if has_locks else len(files) or 1
    for start in range(0, len(files), size):
        yield files[start : start + size]
