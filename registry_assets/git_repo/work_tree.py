"""Where the index stands for the work tree: sparse checkouts, `skip-worktree`, `assume-unchanged`.

A file that Git keeps out of the work tree is not deleted, and of one that it was told not to look
at it says that nothing changed (git-update-index(1), git-sparse-checkout(1)). Whoever compares the
work tree with a commit has to ask here before taking a file that is not there for a deleted one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from registry_assets.errors import RefusedError, RegistryError
from registry_assets.fingerprint import FileIdentity
from registry_assets.git_repo.reading import GitRepo

_SKIPPED = "S"
_UNKNOWN = "??"
_PATHS_AT_ONCE = 1000
_MOST_REMEMBERED = 64


@dataclass(frozen=True)
class StagedFile:
    """A file as the index has it."""

    mode: str
    blob: str


@dataclass(frozen=True)
class KeptOut:
    """The files of which Git takes the index for what the work tree holds.

    Attributes:
        root: Where paths count from.
        files: What the index has of them, by path.
    """

    root: Path
    files: Mapping[str, StagedFile]

    def lacks(self, path: str) -> bool:
        """Whether a file is not in the work tree because Git keeps it out."""
        return path in self.files and not os.path.lexists(self.root / path)

    @property
    def lacking(self) -> tuple[str, ...]:
        """All such files, sorted."""
        return tuple(sorted(path for path in self.files if self.lacks(path)))


def find_kept_out(git: GitRepo) -> KeptOut:
    """The files below the root that Git does not look for in the work tree.

    Asks Git once for each state of the index.
    """
    index = _place_of_index(git)
    if index is None or not index.exists():
        return KeptOut(git.root, {})
    return _read(git.root, FileIdentity.of(index.stat()))


def bring_in(git: GitRepo, path: str) -> None:
    """Writes a file that Git keeps out of the work tree as the index has it."""
    kept_out = find_kept_out(git)
    if kept_out.lacks(path):
        text = git.call("cat-file", "blob", kept_out.files[path].blob).stdout
        (git.root / path).write_bytes(text)


def check_checked_out(git: GitRepo) -> None:
    """Makes sure that a commit was ever checked out into the work tree.

    After `git clone --no-checkout` and `git worktree add --no-checkout` there is no index, and Git
    calls everything deleted.

    Raises:
        RegistryError: with the next step.
    """
    index = _place_of_index(git)
    if index is not None and not index.exists() and git.commit() is not None:
        raise RegistryError("no commit is checked out into this work tree yet: run `git checkout`")


def find_edited(git: GitRepo, paths: Collection[str]) -> Mapping[str, bool]:
    """The files at or in some paths that are not as the checked-out commit has them.

    Staged or not, and also files that Git does not know yet, unless it ignores them.

    Args:
        git: The repository.
        paths: Files or folders, from its `root`.

    Returns:
        Whether Git knows them, by path from the root.
    """
    asked = sorted(f":(literal){path}" for path in paths)
    above = git.prefix() or "."
    found = {}
    for start in range(0, len(asked), _PATHS_AT_ONCE):
        said = git.call(
            *("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"),
            *("--ignore-submodules=all", "--", *asked[start : start + _PATHS_AT_ONCE]),
            settings={"GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.decode(errors="surrogateescape")
        # Two letters, a space and the path from the top; a folder is a repository of its own.
        for line in said.split("\0")[:-1]:
            if not line.endswith("/"):
                found[posixpath.relpath(line[3:], above)] = not line.startswith(_UNKNOWN)
    return found


def _place_of_index(git: GitRepo) -> Path | None:
    """Where the index is, or would be; None outside of a repository."""
    try:
        return _find_index(git.root)
    except LookupError:
        return None


@lru_cache(maxsize=_MOST_REMEMBERED)
def _find_index(root: Path) -> Path:
    done = GitRepo(root).call("rev-parse", "--git-path", "index", check=False)
    if done.returncode != 0:
        # Not remembered, as somebody may make a repository of the folder.
        raise LookupError(root)
    return root / os.fsdecode(done.stdout).rstrip("\n")


@lru_cache(maxsize=_MOST_REMEMBERED)
def _read(root: Path, _index: FileIdentity) -> KeptOut:
    said = GitRepo(root).call("ls-files", "-v", "--stage", "-z", check=False).stdout
    files = {}
    for entry in said.decode(errors="surrogateescape").split("\0")[:-1]:
        told, path = entry.split("\t", 1)
        tag, mode, blob, _ = told.split(" ")
        # The tag of a file that is assumed to be unchanged is in lower case.
        if tag == _SKIPPED or tag.islower():
            files[path] = StagedFile(mode, blob)
    return KeptOut(root, files)


def kept_out(path: str) -> RefusedError:
    """What to raise where a metafile that Git keeps out would be written anew."""
    return RefusedError(f"{path} {describe_kept_out(path)}")


def describe_kept_out(path: str) -> str:
    """What to say of a metafile that Git keeps out of the work tree, and how to have it there."""
    return (
        "is recorded, but Git keeps it out of this work tree: "
        f"`git sparse-checkout add {PurePosixPath(path).parent}` brings it in, or where a flag "
        f"does that (`skip-worktree`, `assume-unchanged`) `git update-index --no-FLAG {path}` and "
        f"`git restore {path}`"
    )
