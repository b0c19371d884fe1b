"""What the registry asks Git: the only module that runs ``git``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry_assets.errors import RegistryError


class GitRepo:
    """The Git repository around a registry, or the lack of one.

    Args:
        root: Any folder of the work tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def _run(self, *arguments: str, check: bool = False) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.strip()
        if check:
            raise RegistryError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
        return None

    @property
    def is_present(self) -> bool:
        """Whether the folder lies in a Git work tree."""
        return self._run("rev-parse", "--is-inside-work-tree") == "true"

    def head(self) -> str | None:
        """The checked-out branch, else the commit of a detached HEAD, else None (no Git)."""
        return self._run("symbolic-ref", "--quiet", "HEAD") or self.commit()

    def commit(self) -> str | None:
        """The current commit, None where there is none yet."""
        return self._run("rev-parse", "--verify", "--quiet", "HEAD")

    def text_at(self, commit: str, path: str) -> str | None:
        """A file as a commit has it, None when it does not; the path counts from `root`."""
        return self._run("show", f"{commit}:./{path}")

    def newest_change(self, text: str, path: str, start: str = "HEAD") -> str | None:
        """The newest commit from `start` back that made a text occur more or less often in a file.

        None when there is none.
        """
        return self._run("log", "-1", "--format=%H", f"-S{text}", start, "--", path) or None

    def changes(self, pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The commits of all branches that changed lines with a pattern, each with the file.

        Args:
            pattern: A regular expression, as `git log -G` takes it.
            paths: The files to look at, as patterns of Git; those below `root` count.

        Yields:
            Commit and path from `root`, newest first.
        """
        said = self._run(
            *("-c", "core.quotePath=false", "log", "--all", "--format=%x00%H"),
            *("--name-only", "--relative", f"-G{pattern}", "--", *paths),
        )
        for entry in (said or "").split("\0")[1:]:
            commit, *files = entry.split("\n")
            yield from ((commit, file) for file in files if file)

    def init(self) -> None:
        """Makes the folder a Git repository whose first branch is called main."""
        self._run("init", "--quiet", "--initial-branch=main", check=True)
