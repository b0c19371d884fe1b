"""A work tree as it is, uncommitted edits included, as a commit that travels in a pack.

It is built in a temporary index and a temporary object directory (`GIT_INDEX_FILE`,
`GIT_OBJECT_DIRECTORY`, see git(1)), so the repository stays as it was.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from registry_assets.errors import RefusedError, RegistryError
from registry_assets.git_repo.reading import GitRepo
from registry_assets.git_repo.work_tree import check_checked_out, find_kept_out, place_of_index

_METAFILES = ("*.dvc", "dvc.yaml", "dvc.lock", ".gitignore", ".dvcignore", ".dvc/config")
# Below the folder of a family everything else is data.
_WITH_DATA = (".dvc", "/.gitignore")
# What a clone has to itself; by the path in its `.dvc`.
_OWN = ("config.local", "tmp", "cache")
_MOST_PACKS = 8

_QUIET = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.splitIndex=false"),
    *("-c", "core.safecrlf=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "advice.addEmbeddedRepo=false"),
)
"""Settings that keep whatever a user configured from running, or writing, beside a command."""

_NOBODY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "registry-assets"),
        ("EMAIL", "registry-assets@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}
"""Equal trees get equal commits."""


@dataclass(frozen=True)
class Snapshot:
    """A work tree as it was.

    Attributes:
        commit: A commit without parents; equal work trees have equal ones.
        prefix: The path of the registry in it, ending in ``/``; "" at its top.
        pack: The commit and all its objects.
        taken: When it was begun, in seconds since the epoch.
    """

    commit: str
    prefix: str
    pack: bytes
    taken: float


def take_snapshot(
    git: GitRepo, *, declared: Collection[str], is_data: Callable[[str], bool]
) -> Snapshot:
    """Takes a snapshot of code and metafiles as they are in the work tree.

    It has the tracked files, untracked metafiles that Git does not ignore, and what is declared.
    Files that Git keeps out of the work tree come from the index.

    Args:
        git: The repository of the registry.
        declared: The files and folders that stages depend on outside DVC, by path from `git.root`.
            They are taken with all that is in them, also if Git ignores them.
        is_data: Whether a path from `git.root` is below the folder of a family. There only ``.dvc``
            and ``.gitignore`` files are taken, even of what is tracked or declared.

    Raises:
        RefusedError: when the registry is in no Git repository.
        RegistryError: when Git fails, for example as a file may not be read.
    """
    taken = time.time()
    top = git.top()
    if top is None:
        raise RefusedError(
            f"{git.root} is in no Git repository, and stages on other machines get their code from "
            f"one: run `git init {git.root}`"
        )
    check_checked_out(git)
    builder = _Builder(GitRepo(top), git.prefix(), is_data)
    with TemporaryDirectory(prefix="registry-") as folder:
        commit, pack = builder.build(Path(folder), declared)
    return Snapshot(commit, builder.prefix, pack, taken)


class _Builder:
    def __init__(self, git: GitRepo, prefix: str, is_data: Callable[[str], bool]) -> None:
        self.git, self.prefix, self.is_data = git, prefix, is_data
        self.settings: Mapping[str, str] = {}

    def build(self, scratch: Path, declared: Collection[str]) -> tuple[str, bytes]:
        """The commit, and its pack."""
        self.settings = self._set_up(scratch)
        self._leave_out()
        self._take_edits()
        self._add(self._untracked_metafiles())
        self._add(path for path in self._files_of(declared) if self._belongs(path))
        tree = self._call("write-tree").decode().strip()
        commit = self._call("commit-tree", tree, "-m", "Work tree").decode().strip()
        pack = self._call("pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n".encode())
        return commit, pack

    def _set_up(self, scratch: Path) -> Mapping[str, str]:
        """Makes index and object directory; returns the environment that leads Git there."""
        objects, index = scratch / "objects", scratch / "index"
        (objects / "info").mkdir(parents=True)
        done = self.git.call("rev-parse", "--path-format=absolute", "--git-path", "objects")
        (objects / "info" / "alternates").write_bytes(done.stdout)
        own = place_of_index(self.git)
        if own is not None and own.exists():
            # With its date: files that are younger than the index are compared by content.
            shutil.copy2(own, index)
        places = {"GIT_INDEX_FILE": str(index), "GIT_OBJECT_DIRECTORY": str(objects)}
        return {**_NOBODY, **places, "GIT_OPTIONAL_LOCKS": "0"}

    def _call(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return self.git.call(*_QUIET, *arguments, stdin=stdin, settings=self.settings).stdout

    def _listed(self, *arguments: str) -> list[str]:
        return self._call(*arguments).decode(errors="surrogateescape").split("\0")[:-1]

    def _take_edits(self) -> None:
        """Brings the tracked files in the index up to date with the work tree."""
        kept_out = find_kept_out(self.git)
        there = [path for path in kept_out.files if not kept_out.lacks(path)]
        for flag in ("--no-skip-worktree", "--no-assume-unchanged"):
            self._update(there, flag)
        self._call("add", "--update")

    def _untracked_metafiles(self) -> Iterator[str]:
        patterns = (f":(glob)**/{pattern}" for pattern in _METAFILES)
        listed = self._listed("ls-files", "--others", "--exclude-standard", "-z", "--", *patterns)
        # A folder is a repository of its own.
        yield from (path for path in listed if not path.endswith("/") and self._belongs(path))

    def _files_of(self, declared: Iterable[str]) -> Iterator[str]:
        """The declared files, and those in declared folders, by path from the top."""
        top = self.git.root
        for path in declared:
            place = posixpath.normpath(f"{self.prefix}{path}")
            if place.startswith(("../", "/")):
                continue
            yield from _files_at(top, place)

    def _belongs(self, path: str) -> bool:
        """Whether a file may be in a snapshot, by its path from the top."""
        parts = path.split("/")
        if any(pair[0] == ".dvc" and pair[1] in _OWN for pair in pairwise(parts)):
            return False
        if not path.startswith(self.prefix) or f"/{path}".endswith(_WITH_DATA):
            return True
        return not self.is_data(path.removeprefix(self.prefix))

    def _leave_out(self) -> None:
        unwanted = [path for path in self._listed("ls-files", "-z") if not self._belongs(path)]
        self._update(unwanted, "--force-remove")

    def _add(self, paths: Iterable[str]) -> None:
        self._update(paths, "--add", "--replace")

    def _update(self, paths: Iterable[str], *options: str) -> None:
        listed = "".join(f"{path}\0" for path in paths)
        if listed:
            stdin = listed.encode(errors="surrogateescape")
            self._call("update-index", *options, "-z", "--stdin", stdin=stdin)


def _files_at(top: Path, path: str) -> Iterator[str]:
    """The files at a path, and below it; a symbolic link is a file, followed by its target."""
    for above in [*reversed(PurePosixPath(path).parents[:-1]), PurePosixPath(path)]:
        place = top / above
        if (place / ".git").exists():
            # A repository of its own.
            return
        if place.is_symlink():
            yield above.as_posix()
            target = Path(os.path.realpath(place))
            if place.exists() and target.is_relative_to(os.path.realpath(top)):
                inside = os.path.relpath(target, os.path.realpath(top))
                rest = PurePosixPath(path).relative_to(above)
                yield from _files_at(top, (PurePosixPath(inside) / rest).as_posix())
            return
    if place.is_file():
        yield path
    for folder, folders, names in os.walk(place):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if not Path(folder, name, ".git").exists()]
        yield from (Path(folder, name).relative_to(top).as_posix() for name in [*names, *links])


def unpack_snapshot(tree: Path, commit: str, pack: bytes | None) -> None:
    """Makes a folder the work tree of a snapshot.

    The folder is a repository of its own. Used again, it is checked out anew only where it differs;
    what else lies in it is removed, except for DVC's own ``tmp`` and ``config.local``.

    Args:
        tree: The folder; made if it does not exist.
        commit: The commit of the snapshot.
        pack: Its pack; not needed if the folder has the commit already.

    Raises:
        RegistryError: when Git fails, for example as the disk is full or the pack is missing.
    """
    git = GitRepo(tree)
    if not (tree / ".git").is_dir():
        tree.mkdir(parents=True, exist_ok=True)
        git.call("init", "--quiet", "--template=", "--object-format=sha1")
    if git.call("cat-file", "-e", f"{commit}^{{tree}}", check=False).returncode != 0:
        if pack is None:
            raise RegistryError(f"the snapshot {commit[:10]} of the code was not sent along")
        git.call(*_QUIET, "index-pack", "--stdin", stdin=pack)
        _drop_old_packs(tree)
    try:
        _check_out(git, commit)
    except RegistryError:
        # Perhaps the command of an earlier stage left a folder that may not be written to.
        _remove_all_but_git(tree)
        _check_out(git, commit)


def _check_out(git: GitRepo, commit: str) -> None:
    git.call("update-ref", "--no-deref", "HEAD", commit)
    git.call(*_QUIET, "-c", "core.sparseCheckout=false", "reset", "--hard", "--quiet", commit)
    kept = ("--exclude=**/.dvc/tmp/", "--exclude=**/.dvc/config.local")
    git.call("clean", "-ffdxq", *kept)


def _remove_all_but_git(tree: Path) -> None:
    for folder, folders, _ in os.walk(tree):
        if Path(folder) == tree:
            folders.remove(".git")
        Path(folder).chmod(0o700)
    for place in tree.iterdir():
        if place.name != ".git":
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


def _drop_old_packs(tree: Path) -> None:
    """Removes all packs but the newest; each has all objects of a snapshot."""
    packs = sorted(
        (tree / ".git" / "objects" / "pack").glob("*.pack"), key=lambda pack: pack.stat().st_mtime
    )
    for pack in packs[:-_MOST_PACKS]:
        for part in pack.parent.glob(f"{pack.stem}.*"):
            part.unlink(missing_ok=True)
