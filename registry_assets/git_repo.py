"""What the registry asks Git: the only module that runs ``git``."""

from __future__ import annotations

import subprocess
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

    def init(self) -> None:
        """Makes the folder a Git repository whose first branch is called main."""
        self._run("init", "--quiet", "--initial-branch=main", check=True)
