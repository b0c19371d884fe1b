"""The registry at a commit, read from a temporary clone."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from registry_assets.dvc_repo import keep_together
from registry_assets.git_repo import GitRepo
from registry_assets.model import DVC_FOLDER
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry


class Snapshots:
    """Reads registries at commits, each once.

    Args:
        stack: Removes the clones when it is closed.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folders: dict[tuple[str, str], Path] = {}
        self._lineages: dict[Path, Lineage] = {}

    def check_out(self, where: str, commit: str) -> Path:
        """Clone a repository and check out a commit.

        Args:
            where: A URL, or the path of a repository.
            commit: The commit.

        Raises:
            SourceUnreachableError: when it cannot be cloned or has no such commit.
        """
        key = (where, commit)
        if key not in self._folders:
            temporary = tempfile.TemporaryDirectory(prefix="registry-")
            folder = Path(self._stack.enter_context(temporary)).resolve() / "registry"
            GitRepo(folder).check_out(where, commit)
            self._folders[key] = folder
        return self._folders[key]

    def read(self, root: Path) -> Lineage:
        """The graph of a DVC repository in such a clone.

        Raises:
            NotFoundError: when there is no DVC repository.
        """
        if root not in self._lineages:
            if (root / DVC_FOLDER).is_dir():
                keep_together(root)
            self._lineages[root] = build_lineage(read_registry(root))
        return self._lineages[root]

    def read_here(self, root: Path, commit: str) -> Lineage:
        """The graph of a local registry at a commit."""
        top = GitRepo(root).top() or root
        clone = self.check_out(str(top), commit)
        return self.read(clone / root.resolve().relative_to(top.resolve()))
