"""Files that Git does not look for in the work tree, and files that were edited.

With a sparse checkout, `skip-worktree` or `assume-unchanged`, a missing file is not a deleted one
(git-sparse-checkout(1), git-update-index(1)). Code that compares the work tree with a commit has to
check that here.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from registry_assets.errors import RefusedError, RegistryError
from registry_assets.fingerprint import FileIdentity
from registry_assets.git_repo.reading import GitRepo
from registry_assets.units import printable

_SKIPPED = "S"
_UNKNOWN = "??"
_PATHS_AT_ONCE = 1000
_LINK = "120000 "
_OWN = re.compile(r"(?:\.dvc/(?:tmp|cache|config\.local)|\.dagster)(?:/|$)", re.IGNORECASE)
_MOST_REMEMBERED = 64


@dataclass(frozen=True)
class StagedFile:
    """An entry of the index."""

    mode: str
    blob: str


@dataclass(frozen=True)
class KeptOut:
    """The files that Git does not look for in the work tree.

    Attributes:
        root: The folder that paths start from.
        files: Their index entries, by path.
    """

    root: Path
    files: Mapping[str, StagedFile]

    def lacks(self, path: str) -> bool:
        """Whether a file is missing from the work tree because Git keeps it out."""
        return path in self.files and not os.path.lexists(self.root / path)

    @property
    def lacking(self) -> tuple[str, ...]:
        """All files that `lacks` is true of, sorted."""
        return tuple(sorted(path for path in self.files if self.lacks(path)))


def find_kept_out(git: GitRepo) -> KeptOut:
    """Finds the files below the root that Git does not look for in the work tree.

    The result is cached until the index changes.
    """
    index = place_of_index(git)
    if index is None or not index.exists():
        return KeptOut(git.root, {})
    return _read(git.root, FileIdentity.of(index.stat()))


def bring_in(git: GitRepo, path: str) -> None:
    """Restores a file from the index if Git keeps it out of the work tree."""
    kept_out = find_kept_out(git)
    if kept_out.lacks(path):
        text = git.call("cat-file", "blob", kept_out.files[path].blob).stdout
        (git.root / path).write_bytes(text)


def check_own(root: Path) -> None:
    """Checks that Git does not track what each clone writes for itself: locks, settings, history.

    A branch that has a link in the place of one would have it written elsewhere.

    Args:
        root: Of the registry.

    Raises:
        RefusedError: naming the first such path.
    """
    index = place_of_index(GitRepo(root))
    found = _find_own(root, FileIdentity.of(index.stat())) if index and index.exists() else None
    if found is not None:
        raise RefusedError(
            f"Git tracks {printable(found)} here, where each clone writes its own: check out "
            "another branch with `git checkout`, or take it out of this one with `git rm --cached`"
        )


@lru_cache(maxsize=_MOST_REMEMBERED)
def _find_own(root: Path, _index: FileIdentity) -> str | None:
    tops = (f":(icase){name}" for name in (".dvc", ".dagster"))
    for entry in GitRepo(root).entries("ls-files", "--stage", "-z", "--", *tops, check=False):
        fields, path = entry.split("\t", 1)
        if fields.startswith(_LINK) or _OWN.match(path):
            return path
    return None


def check_checked_out(git: GitRepo) -> None:
    """Checks that a commit was checked out into the work tree.

    After `git clone --no-checkout` and `git worktree add --no-checkout` there is no index, and Git
    reports every file as deleted.

    Raises:
        RegistryError: when none was.
    """
    index = place_of_index(git)
    if index is not None and not index.exists() and git.commit() is not None:
        raise RegistryError("no commit is checked out into this work tree yet: run `git checkout`")


def find_edited(git: GitRepo, paths: Collection[str]) -> Mapping[str, bool]:
    """Finds files that differ from the checked-out commit, staged or not, and untracked files.

    Args:
        git: The repository.
        paths: Files or folders, from its `root`.

    Returns:
        Whether Git tracks each file, by path from the root.
    """
    pathspecs = sorted(f":(literal){path}" for path in paths)
    above = git.prefix() or "."
    found = {}
    for start in range(0, len(pathspecs), _PATHS_AT_ONCE):
        lines = git.entries(
            *("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"),
            *("--ignore-submodules=all", "--", *pathspecs[start : start + _PATHS_AT_ONCE]),
            settings={"GIT_OPTIONAL_LOCKS": "0"},
        )
        # Two letters, a space and the path from the top; a folder is a nested repository.
        for line in lines:
            if not line.endswith("/"):
                found[posixpath.relpath(line[3:], above)] = not line.startswith(_UNKNOWN)
    return found


def place_of_index(git: GitRepo) -> Path | None:
    """The path of the index, whether or not it exists; None outside a repository."""
    try:
        return _find_index(git.root)
    except LookupError:
        return None


@lru_cache(maxsize=_MOST_REMEMBERED)
def _find_index(root: Path) -> Path:
    done = GitRepo(root).call("rev-parse", "--git-path", "index", check=False)
    if done.returncode != 0:
        # Raised, so that it is not cached: the folder may become a repository.
        raise LookupError(root)
    return root / os.fsdecode(done.stdout).rstrip("\n")


@lru_cache(maxsize=_MOST_REMEMBERED)
def _read(root: Path, _index: FileIdentity) -> KeptOut:
    files = {}
    for entry in GitRepo(root).entries("ls-files", "-v", "--stage", "-z", check=False):
        fields, path = entry.split("\t", 1)
        tag, mode, blob, _ = fields.split(" ")
        # Git marks `assume-unchanged` by a tag in lower case.
        if tag == _SKIPPED or tag.islower():
            files[path] = StagedFile(mode, blob)
    return KeptOut(root, files)


def kept_out(path: str) -> RefusedError:
    """The error for writing a metafile that Git keeps out of the work tree."""
    return RefusedError(f"{path} {describe_kept_out(path)}")


def describe_kept_out(path: str) -> str:
    """The reason why a metafile is not in the work tree, and how to restore it."""
    return (
        "is recorded, but Git keeps it out of this work tree: run "
        f"`git sparse-checkout add {PurePosixPath(path).parent}`, or if a flag keeps it out "
        f"(`skip-worktree`, `assume-unchanged`), `git update-index --no-FLAG {path}` and "
        f"`git restore {path}`"
    )
