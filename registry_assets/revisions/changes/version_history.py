"""Every version that any commit has recorded: of what, made of what, by which commit, kept by what.

Read from the texts of metafiles, each entry once however many commits have it: a ``dvc.lock`` of a
thousand entries is another text in every commit, and nearly all of its entries are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from registry_assets.errors import MetafileError
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
    MetafileEntry,
    records_versions,
    split_entries,
)

WORK_TREE = "the work tree"
"""What keeps a version that the metafiles name as they are now."""

_PATTERNS = (f"*{DVC_SUFFIX}", LOCK_FILE, f"*/{LOCK_FILE}")
# A `dvc.lock` may be a megabyte of text.
_TEXTS_AT_ONCE = 50


@dataclass(frozen=True)
class Recorded:
    """What one entry of a metafile has recorded.

    Attributes:
        outputs: The versions that it names, by path.
        read: The versions that they were made of, by path.
        objects: The md5s that it has the cache keep.
    """

    address: str
    outputs: Mapping[str, Version]
    read: Mapping[str, Version]
    objects: frozenset[str]


@dataclass
class VersionHistory:
    """Versions in the history of a repository.

    Attributes:
        entries: Everything that was recorded, each once.
        commits: The newest commit that recorded an entry, by its place in `entries`; those of the
            work tree need not have one.
        keepers: What has an entry now, by its place in `entries`: branches, tags, stashes, the
            index and the work tree; nothing for what only older commits have.
        unread: Metafiles that could not be read, each with where and why.
        kept_unread: Those of them that something has now.
    """

    entries: list[Recorded] = field(default_factory=list)
    commits: dict[int, str] = field(default_factory=dict)
    keepers: defaultdict[int, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    unread: dict[str, None] = field(default_factory=dict)
    kept_unread: dict[str, None] = field(default_factory=dict)

    @cached_property
    def versions(self) -> Mapping[tuple[str, str], tuple[int, ...]]:
        """The entries that have recorded a version of an output, newest first, by path and md5."""
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, entry in enumerate(self.entries):
            for path, version in entry.outputs.items():
                found[path, version.md5].append(number)
        return {key: tuple(numbers) for key, numbers in found.items()}

    def commit_of(self, path: str, md5: str) -> str | None:
        """The newest commit that recorded a version; None where it is not committed yet."""
        numbers = self.versions.get((path, md5), ())
        return next((self.commits[n] for n in numbers if n in self.commits), None)

    def keepers_of(self, path: str, md5: str) -> tuple[str, ...]:
        """What has a version of an output now."""
        numbers = self.versions.get((path, md5), ())
        return tuple(dict.fromkeys(k for n in numbers for k in self.keepers.get(n, ())))

    def is_known(self, path: str, md5: str) -> bool:
        """Whether a commit, or something that has it now, tells that an output had a version."""
        return bool(self.commit_of(path, md5) or self.keepers_of(path, md5))

    def committed_objects(self) -> frozenset[str]:
        """The md5s of all versions that a commit has, which may be an old one."""
        return frozenset().union(*(self.entries[number].objects for number in self.commits))

    def needed_objects(self) -> frozenset[str]:
        """The md5s of all versions that something has now."""
        return frozenset().union(
            *(self.entries[n].objects for n, has in self.keepers.items() if has)
        )


def read_version_history(registry: Registry, runs: Path | None = None) -> VersionHistory:
    """Reads every version that any commit, or the work tree, has recorded.

    Args:
        registry: What the metafiles declare now.
        runs: DVC's run cache, to read what no commit recorded, too: paths then count from the
            folder of their stage.
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
    """Reads what DVC's run cache knows: which stage made what of what, on this machine.

    Args:
        registry: What the metafiles declare now.
        runs: The run cache. Its paths count from the folder of their stage.
    """
    reader = _Reader(registry, GitRepo(registry.root))
    reader.read_runs(runs)
    return reader.history.entries


class _Reader:
    """Reads entries, each text once."""

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
        """Reads what is staged, and what is not committed at all, where others work."""
        for top, root in find_other_work_trees(self._git):
            if not top.is_dir():
                gone = f"the work tree {top} is not there (`git worktree prune` forgets it)"
                self.history.unread[gone] = None
            if not root.is_dir():
                continue
            git = GitRepo(root)
            for path, blob in read_staged_blobs(git, records_versions).items():
                kept.setdefault((path, blob), []).append(OTHER_WORK_TREE)
            for path in find_files(git, _PATTERNS):
                place = root / path
                if records_versions(path) and not path.startswith(".dvc/") and place.is_file():
                    try:
                        text = place.read_text(encoding="utf-8")
                    except (OSError, ValueError) as error:
                        self.history.unread[f"{place}: {error}"] = None
                        continue
                    self._keep(self._read(path, text, str(root)), [OTHER_WORK_TREE])

    def read_past(self) -> None:
        changes = [c for c in read_changes(self._git, _PATTERNS) if c.after is not None]
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
            # People do commit conflict markers; and raw data, which may be called like a metafile.
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
    # Small ones by the thousand, large ones by the dozen.
    size = _TEXTS_AT_ONCE if any(_is_lock(path) for path, _ in files) else len(files) or 1
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _is_lock(path: str) -> bool:
    return PurePosixPath(path).name == LOCK_FILE
