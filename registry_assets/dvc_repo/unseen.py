"""Metafiles that DVC does not see: ignored by Git or ``.dvcignore``, or behind symbolic links.

Such metafiles are not written, and existing ones are reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dvc.dvcfile import DVC_FILE_SUFFIX
from dvc.scm import NoSCM

from registry_assets.bounded import read_text
from registry_assets.dvc_repo.metafiles import IGNORE_FILE, PLAIN_NAME
from registry_assets.dvc_repo.syncing import note_stored
from registry_assets.errors import MetafileError, RefusedError, RegistryError
from registry_assets.git_repo import GitRepo
from registry_assets.units import few_of

if TYPE_CHECKING:
    from dvc.repo import Repo

    from registry_assets.dvc_repo.opening import RepoAccess

_MANY_LINES = 300
"""With fewer lines in a ``.gitignore``, DVC's Git library answers before Git has started."""


@dataclass(frozen=True)
class _Asked:
    """The reasons found in a session.

    Attributes:
        reasons: Why DVC does not see a metafile (None if it does), by path.
    """

    reasons: Mapping[str, RegistryError | None]


def check_seen(dvc: RepoAccess, repo: Repo, metafile: str) -> None:
    """Checks that DVC sees a metafile, or will see it once it is written."""
    reason = why_unseen(dvc, repo, [metafile])[metafile]
    if reason is not None:
        raise reason


def why_unseen(
    dvc: RepoAccess, repo: Repo, metafiles: Sequence[str]
) -> Mapping[str, RegistryError | None]:
    """Why DVC does not see each metafile, existing or not; None if it does."""
    known = dvc.recall(_Asked) or _Asked({})
    new = [path for path in metafiles if path not in known.reasons]
    if new:
        reasons = {**known.reasons, **_find_reasons(dvc.root, repo, new)}
        dvc.remember(_Asked(reasons))
        return reasons
    return known.reasons


def _find_reasons(
    root: Path, repo: Repo, metafiles: Sequence[str]
) -> Mapping[str, RegistryError | None]:
    reasons: dict[str, RegistryError | None] = dict.fromkeys(metafiles)
    chains: dict[str, list[str]] = {}
    for metafile in metafiles:
        folders = [str(folder) for folder in PurePosixPath(metafile).parents][-2::-1]
        if any((root / f"{folder}{DVC_FILE_SUFFIX}").exists() for folder in folders):
            # Inside an output, which Git ignores; nothing can be declared there anyway.
            continue
        link = next((folder for folder in folders if (root / folder).is_symlink()), None)
        if link is not None:
            # Git does not follow links, either.
            reasons[metafile] = link_in_the_way(link, read_link(root / link))
        elif repo.dvcignore.is_ignored_file(str(root / metafile)):
            reasons[metafile] = _ignored([metafile], ".dvcignore")
        else:
            chains[metafile] = [*(f"{folder}/" for folder in folders), metafile]
    git = GitRepo(root)
    ignored = git.ignored([path for chain in chains.values() for path in chain]) or frozenset()
    culprits = {
        metafile: culprit
        for metafile, chain in chains.items()
        if (culprit := next((path for path in chain if path in ignored), None)) is not None
    }
    rules = git.ignore_rules(sorted(set(culprits.values())))
    for metafile, culprit in culprits.items():
        reasons[metafile] = _ignored([metafile], "Git", rules.get(culprit), culprit)
    return reasons


class IgnoredByGit:
    """Replaces DVC's question whether Git ignores a path, with the same answers.

    DVC's Git library compiles every line of ``.gitignore`` for each answer. As there is a line per
    collection, N collections would cost N². It is asked only where its answer may differ: Git
    also applies rules for folders to a path without a ``/`` at its end.

    Args:
        root: Root of the repository.
        by_library: Asks the library.
    """

    def __init__(self, root: Path, by_library: Callable[[str], bool]) -> None:
        self._git = GitRepo(root)
        self._by_library = by_library
        self._free: frozenset[str] = frozenset()

    def __call__(self, path: str) -> bool:
        """Whether Git ignores a path."""
        place = Path(os.path.abspath(path))  # noqa: PTH100 - links are not to be followed
        lines = _ignore_lines_beside(place)
        if len(lines) >= _MANY_LINES and not path.endswith(os.sep):
            is_plain = PLAIN_NAME.fullmatch(place.name) is not None
            # As DVC adds it, and no other line takes it back.
            if is_plain and f"/{place.name}" in lines and not any(x[:1] == "!" for x in lines):
                return True
            if str(place) in (self._free or self._free_of([place])):
                return False
        return self._by_library(path)

    @contextmanager
    def asking_once(self, places: Sequence[Path]) -> Iterator[None]:
        """Asks Git about many paths at once, for as long as lines are added for them only."""
        if any(len(_ignore_lines_beside(place)) >= _MANY_LINES for place in places):
            self._free = self._free_of(places)
        try:
            yield
        finally:
            self._free = frozenset()

    def _free_of(self, places: Sequence[Path]) -> frozenset[str]:
        """The paths that Git certainly does not ignore."""
        paths = frozenset(map(str, places))
        ignored = self._git.ignored(sorted(paths))
        return frozenset() if ignored is None else paths - ignored


def editing_ignore_file(
    repo: Repo, edit: Callable[[str], str | None]
) -> Callable[[str], str | None]:
    """Replaces DVC's edit of the ``.gitignore`` beside a path, which would follow a link.

    What it wrote is synced before the next metafile: otherwise a power cut might leave an output
    that is recorded, and that Git does not ignore.

    Raises:
        RefusedError: when a link stands there: another file would be edited, and Git, which does
            not follow it, would ignore nothing.
    """

    def edit_file(path: str) -> str | None:
        file = Path(path).with_name(IGNORE_FILE)
        if file.is_symlink():
            name = os.path.relpath(file, repo.root_dir)
            raise RefusedError(
                f"{name} is a symbolic link to {read_link(file)}, which Git does not follow: put a "
                "file in its place"
            )
        edited = edit(path)
        if edited is not None:
            note_stored(repo)
        return edited

    return edit_file


@contextmanager
def asking_once(repo: Repo, places: Sequence[Path]) -> Iterator[None]:
    """Asks Git at once which of some paths it ignores, while lines are added for them only."""
    is_ignored = getattr(repo.scm, "is_ignored", None)
    if isinstance(is_ignored, IgnoredByGit):
        with is_ignored.asking_once(places):
            yield
    else:
        yield


def _ignore_lines_beside(place: Path) -> Sequence[str]:
    try:
        return read_text(place.with_name(IGNORE_FILE)).split("\n")
    except (OSError, MetafileError):
        return ()


def read_link(link: Path) -> str:
    """The target of a symbolic link, as written."""
    return os.fsdecode(os.readlink(link))  # noqa: PTH115 - as it is, not as a path


def describe_ignored(root: Path, ignored: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yields a line for each rule that hides metafiles from DVC.

    Args:
        root: Of the repository.
        ignored: Metafiles by the ignored path: the metafile itself, or a folder above, which ends
            in ``/``.
    """
    rules = GitRepo(root).ignore_rules(list(ignored))
    grouped: dict[tuple[str | None, str | None], list[str]] = {}
    for culprit, metafiles in ignored.items():
        folder = culprit if culprit.endswith("/") else None
        grouped.setdefault((rules.get(culprit), folder), []).extend(metafiles)
    for (rule, folder), metafiles in grouped.items():
        yield str(_ignored(metafiles, "Git", rule, folder))


def check_links(repo: Repo, places: Iterable[str]) -> None:
    """Checks that no symbolic link above paths in a repository leads out of it.

    Raises:
        RefusedError: naming the link.
    """
    for folder in {Path(place).parent for place in places}:
        error = find_link_out(repo, folder)
        if error is not None:
            raise error


def find_link_out(repo: Repo, folder: Path) -> RefusedError | None:
    """The error for a folder behind a symbolic link that leads out of the repository, if it is.

    Nothing can be recorded there: Git cannot ignore outputs behind such a link.
    """
    root = Path(repo.root_dir)
    is_inside = folder == root or Path(os.path.realpath(folder)).is_relative_to(
        os.path.realpath(root)
    )
    if is_inside or not folder.is_relative_to(root) or isinstance(repo.scm, NoSCM):
        return None
    above = (place for place in (*reversed(folder.parents), folder) if root in place.parents)
    link = next((place for place in above if place.is_symlink()), None)
    if link is None:
        return None
    return link_in_the_way(link.relative_to(root).as_posix(), read_link(link))


def link_in_the_way(link: str, target: str) -> RefusedError:
    """The error for a symbolic link in place of a folder with data."""
    return RefusedError(
        f"{link} is a symbolic link to {target}, and DVC does not follow links to folders: move "
        "the folder here; to keep the data on another disk, move the whole registry there, "
        "or its cache (`dvc cache dir --local FOLDER`, then `dvc config --local cache.type "
        "symlink`)"
    )


def _ignored(
    metafiles: Sequence[str], by: str, rule: str | None = None, culprit: str | None = None
) -> RefusedError:
    """The error for metafiles that are ignored.

    Args:
        metafiles: The metafiles, from the root.
        by: ``Git`` or ``.dvcignore``.
        rule: The rule, with its file and line, if known.
        culprit: The ignored path: a metafile, or a folder above, which ends in ``/``.
    """
    them = "it" if len(metafiles) == 1 else "them"
    what = culprit if culprit is not None and culprit.endswith("/") else them
    where = f" ({rule})" if rule is not None else ""
    next_step = "remove that line"
    if by == "Git":
        next_step = (
            "remove that line (DVC keeps data out of Git by itself), or add "
            f"{them} to .dvcignore if DVC is not to see {them}"
        )
    return RefusedError(
        f"{few_of(metafiles)}: {by} ignores {what}{where}, so DVC does not see {them}: {next_step}"
    )
