"""Where the repositories of imports are, seen from this machine, and which of them is this one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from registry_assets.addresses import is_local, is_same_repository
from registry_assets.git_repo import GitRepo
from registry_assets.model import DVC_FOLDER


class Origins:
    """Reads the addresses that imports give their repositories.

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
        """The address of a repository, which does not depend on the working directory.

        DVC takes a relative path as it is given on the command line, and does not record in which
        folder that was: the root, most often, else one between there and the metafile.

        Args:
            url: As the metafile gives it.
            metafile: The metafile, absolute.
        """
        if not is_local(url) or Path(url).is_absolute():
            return url
        between = [folder for folder in metafile.parents if folder.is_relative_to(self._root)]
        candidates = [folder / url for folder in reversed(between)]
        found = next(filter(_is_repository, candidates), candidates[0])
        return str(found.resolve())

    def path_here(self, address: str, path: str) -> str | None:
        """The path in this repository that an import from its own address was taken from.

        Args:
            address: As `locate` gives it.
            path: The path there.

        Returns:
            The path from the root; None when the address is another repository's, or the path lies
            outside the root.
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
    # A bare one has its HEAD at the top.
    return any((folder / name).exists() for name in (".git", DVC_FOLDER, "HEAD"))
