"""The addresses of imported repositories, and whether one is this repository."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from registry_assets.addresses import is_local, is_same_repository
from registry_assets.git_repo import GitRepo
from registry_assets.model import DVC_FOLDER


class Origins:
    """Resolves the addresses of imported repositories.

    Args:
        root: The root of this repository.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @cached_property
    def _top(self) -> Path:
        return (GitRepo(self._root).top() or self._root).resolve()

    @cached_property
    def _own_addresses(self) -> tuple[str, ...]:
        remotes = GitRepo(self._root).remotes()
        return tuple(
            str((self._top / remote).resolve()) if is_local(remote) else remote
            for remote in remotes
        )

    def locate(self, url: str, metafile: Path) -> str:
        """The URL or absolute path of a repository.

        DVC records a relative path as given on the command line, but not the working directory,
        which was the root or a folder between it and the metafile.

        Args:
            url: The URL in the metafile.
            metafile: The metafile, absolute.
        """
        if not is_local(url) or Path(url).is_absolute():
            return url
        between = [folder for folder in metafile.parents if folder.is_relative_to(self._root)]
        candidates = [folder / url for folder in reversed(between)]
        found = next(filter(_is_repository, candidates), candidates[0])
        return str(found.resolve())

    def path_here(self, address: str, path: str) -> str | None:
        """The source path in this repository, for an import from its own address.

        Args:
            address: As `locate` returns it.
            path: The imported path.

        Returns:
            The path from the root; None for another repository, or a path outside the root.
        """
        if is_local(address) and Path(address).resolve() == self._root.resolve():
            return path
        is_own = any(
            is_same_repository(address, own) for own in (str(self._top), *self._own_addresses)
        )
        if not is_own:
            return None
        place = self._top / path
        root = self._root.resolve()
        return place.relative_to(root).as_posix() if place.is_relative_to(root) else None


def _is_repository(folder: Path) -> bool:
    # A bare repository has HEAD at the top.
    return any((folder / name).exists() for name in (".git", DVC_FOLDER, "HEAD"))
