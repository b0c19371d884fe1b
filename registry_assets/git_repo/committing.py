"""Commits made without touching the checked-out work tree, index and branch.

Trees are built in a temporary index (`GIT_INDEX_FILE`, see git(1)): the user's index and work tree
stay unchanged, and nothing else that is staged gets into the commit.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from registry_assets.errors import RegistryError
from registry_assets.git_repo.reading import GitRepo, error_line, with_lock_step
from registry_assets.git_repo.work_tree import StagedFile, check_checked_out, find_kept_out

_FILE_MODE = "100644"
_NO_BLOB = "0" * 40
_INDEX_LOCK = b"index.lock"
_MOST_TRIES = 50
_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class BlobChange:
    """A file that differs between two trees.

    Attributes:
        path: From the root of the registry.
        before: The blob in the first tree; None if the file is not in it.
        after: The blob in the second tree; None if the file is not in it.
        mode: The file mode in the second tree.
    """

    path: str
    before: str | None
    after: str | None
    mode: str = _FILE_MODE


def call_with_index(
    git: GitRepo,
    *arguments: str,
    stdin: bytes = b"",
    settings: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs ``git``, retrying while another process holds ``index.lock``; never raises."""
    for _ in range(_MOST_TRIES):
        done = git.call(*arguments, stdin=stdin, settings=settings, check=False)
        if done.returncode == 0 or _INDEX_LOCK not in done.stderr:
            break
        # Even `git status` locks the index for a moment.
        time.sleep(_RETRY_SECONDS)
    return done


class TreeBuilder:
    """Builds trees and commits of a repository.

    Args:
        git: The repository; paths count from its `root`.
    """

    def __init__(self, git: GitRepo) -> None:
        self.git = git
        self._prefix = git.prefix()

    def build(self, commit: str, paths: Collection[str], texts: Mapping[str, str]) -> str:
        """Builds a tree from a commit, with some files replaced.

        Args:
            commit: The commit or tree to start from.
            paths: The files to take from the work tree. Missing files are removed from the tree;
                files that Git keeps out of the work tree are taken from the index.
            texts: New text of files, by path; takes precedence over the work tree.

        Raises:
            RegistryError: when no commit was checked out yet.
        """
        check_checked_out(self.git)
        kept_out = find_kept_out(self.git).files
        entries = {path: kept_out[path] for path in paths if path in kept_out}
        for path, text in texts.items():
            entries[path] = StagedFile(_FILE_MODE, self._write_blob(path, text))
        listed = "".join(f"{path}\0" for path in paths if path not in kept_out)
        with TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git.call("read-tree", commit, settings=index)
            self.git.call(
                *("update-index", "--add", "--remove", "-z", "--stdin"),
                stdin=listed.encode(errors="surrogateescape"),
                settings=index,
            )
            self._set_entries(entries, index)
            return self.git.call("write-tree", settings=index).stdout.decode().strip()

    def _write_blob(self, path: str, text: str) -> str:
        done = self.git.call("hash-object", "-w", "--stdin", "--path", path, stdin=text.encode())
        return done.stdout.decode().strip()

    def _set_entries(
        self, entries: Mapping[str, StagedFile | None], settings: Mapping[str, str] | None = None
    ) -> None:
        """Sets index entries, regardless of the work tree; None removes one."""
        lines = [
            f"{entry.mode if entry else 0} {entry.blob if entry else _NO_BLOB}\t"
            f"{self._prefix}{path}\0"
            for path, entry in entries.items()
        ]
        if not lines:
            return
        stdin = "".join(lines).encode(errors="surrogateescape")
        arguments = ("update-index", "-z", "--index-info")
        done = call_with_index(self.git, *arguments, stdin=stdin, settings=settings)
        if done.returncode != 0:
            reason = error_line(done.stderr.decode(errors="replace"))
            raise RegistryError(with_lock_step(f"git update-index failed: {reason}"))

    def stage(self, changes: Iterable[BlobChange]) -> None:
        """Stages files as they are in the second tree of a comparison.

        Raises:
            RegistryError: when another process keeps the index locked.
        """
        kept_out = find_kept_out(self.git).files
        wanted = {c.path: StagedFile(c.mode, c.after) if c.after else None for c in changes}
        # Setting an entry again would clear its `skip-worktree` flag.
        same = {path for path, entry in wanted.items() if entry and kept_out.get(path) == entry}
        self._set_entries({path: wanted[path] for path in wanted.keys() - same})

    def compare(self, before: str, after: str, folder: str = ".") -> tuple[BlobChange, ...]:
        """Compares two commits or trees below a folder (default: `root`)."""
        parts = self.git.entries(
            *("diff-tree", "-r", "-z", "--no-renames", "--relative", before, after),
            *("--", f":(literal){folder}"),
        )
        changes = []
        for fields, path in zip(parts[::2], parts[1::2], strict=True):
            # ":mode mode blob blob status" (git-diff-tree(1), "RAW OUTPUT FORMAT").
            _, mode, *blobs, _ = fields.split(" ")
            before_blob, after_blob = (None if set(blob) == {"0"} else blob for blob in blobs)
            changes.append(BlobChange(path, before_blob, after_blob, mode))
        return tuple(changes)

    @cached_property
    def empty_tree(self) -> str:
        """The hash of a tree without files."""
        return self.git.call("mktree").stdout.decode().strip()

    def read_blobs(self, blobs: Iterable[str | None]) -> Mapping[str | None, str | None]:
        """The texts of blobs, by hash; None maps to None."""
        wanted = list(dict.fromkeys(blob for blob in blobs if blob))
        output = self.git.call("cat-file", "--batch", stdin="\n".join(wanted).encode()).stdout
        texts: dict[str | None, str | None] = {None: None}
        place = 0
        for blob in wanted:
            # "<blob> blob <size>\n<content>\n" (git-cat-file(1)).
            start = output.index(b"\n", place) + 1
            end = start + int(output[place:start].split()[2])
            texts[blob] = output[start:end].decode(errors="surrogateescape")
            place = end + 1
        return texts

    def files_at(self, commit: str) -> list[str]:
        """The files below `root` in a commit."""
        return self.git.entries("ls-tree", "-r", "-z", "--name-only", commit)

    def commit(self, tree: str, parent: str, message: str) -> str:
        """Makes a commit that is not on any branch yet.

        Raises:
            RegistryError: when Git does not know who is committing.
        """
        self.check_identity()
        done = self.git.call("commit-tree", tree, "-p", parent, "-F", "-", stdin=message.encode())
        return done.stdout.decode().strip()

    def check_identity(self) -> None:
        """Checks that Git knows who is committing.

        Raises:
            RegistryError: when it does not.
        """
        if self.git.call("var", "GIT_COMMITTER_IDENT", check=False).returncode != 0:
            raise RegistryError(
                "Git does not know who you are: run `git config --global user.name NAME` and "
                "`git config --global user.email ADDRESS`"
            )

    def set_branch(self, name: str, commit: str, before: str | None) -> bool:
        """Moves a branch, unless somebody else has moved it.

        Args:
            name: The full name, such as ``refs/heads/main``.
            commit: The commit to move it to.
            before: The commit it is expected to be at; None to create it.

        Returns:
            Whether it was moved.
        """
        expected = before or _NO_BLOB
        return self.git.call("update-ref", name, commit, expected, check=False).returncode == 0


def fold_trailers(trailers: Sequence[tuple[str, str]]) -> str:
    """Formats trailers for the end of a commit message (git-interpret-trailers(1))."""
    return "".join(f"{key}: {' '.join(value.split())}\n" for key, value in trailers)
