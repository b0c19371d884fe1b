"""Where DVC does not look: what Git or ``.dvcignore`` ignores, and folders behind symbolic links.

A metafile there is recorded and then seen by nobody, so none is written, and one that is there is
reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dvc.dvcfile import DVC_FILE_SUFFIX
from dvc.scm import NoSCM

from registry_assets.errors import RefusedError, RegistryError
from registry_assets.git_repo import GitRepo
from registry_assets.units import few_of

if TYPE_CHECKING:
    from dvc.repo import Repo

    from registry_assets.dvc_repo.opening import RepoAccess


@dataclass(frozen=True)
class _Asked:
    """What was found out in a session.

    Attributes:
        reasons: Why DVC does not see a metafile, None where it does, by path.
    """

    reasons: Mapping[str, RegistryError | None]


def check_seen(dvc: RepoAccess, repo: Repo, metafile: str) -> None:
    """Makes sure that DVC sees a metafile, or will see it when it is written."""
    reason = why_unseen(dvc, repo, [metafile])[metafile]
    if reason is not None:
        raise reason


def why_unseen(
    dvc: RepoAccess, repo: Repo, metafiles: Sequence[str]
) -> Mapping[str, RegistryError | None]:
    """Why DVC does not see metafiles, whether they are there or not; None where it does."""
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
            # Git ignores what is inside an output, where nothing may be declared in any case.
            continue
        link = next((folder for folder in folders if (root / folder).is_symlink()), None)
        if link is not None:
            # Git looks at nothing behind it, either.
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


def read_link(link: Path) -> str:
    """What a symbolic link leads to, as it is written."""
    return os.fsdecode(os.readlink(link))  # noqa: PTH115 - as it is, not as a path


def describe_ignored(root: Path, ignored: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each rule that hides metafiles from DVC.

    Args:
        root: Of the repository.
        ignored: Metafiles by what Git ignores: the metafile itself, or a folder above, which ends
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
    """Makes sure that no link above places in a repository leads out of it.

    Raises:
        RefusedError: naming the link.
    """
    for folder in {Path(place).parent for place in places}:
        error = find_link_out(repo, folder)
        if error is not None:
            raise error


def find_link_out(repo: Repo, folder: Path) -> RefusedError | None:
    """Why nothing below a folder of a repository can be recorded: a link that leads out of it.

    Git has to ignore what DVC records, and cannot do so behind such a link.
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
    """What to raise where a symbolic link stands where a folder with data is due."""
    return RefusedError(
        f"{link} is a symbolic link to {target}, and DVC follows no link to a folder: move the "
        "folder into its place; to have the data on another disk, move the whole registry there, "
        "or its cache (`dvc cache dir --local FOLDER`, then `dvc config --local cache.type "
        "symlink`)"
    )


def _ignored(
    metafiles: Sequence[str], by: str, rule: str | None = None, culprit: str | None = None
) -> RefusedError:
    """What to raise where DVC does not see metafiles, as they are ignored.

    Args:
        metafiles: The metafiles, from the root.
        by: What ignores them: Git, or a ``.dvcignore``.
        rule: The rule, with its file and line, where it is known.
        culprit: What the rule is about: a metafile, or a folder above, which ends in ``/``.
    """
    them = "it" if len(metafiles) == 1 else "them"
    what = culprit if culprit is not None and culprit.endswith("/") else them
    where = f" ({rule})" if rule is not None else ""
    next_step = "take the line that does so out"
    if by == "Git":
        next_step = (
            "take that line out, as DVC keeps data out of Git by itself, or name "
            f"{them} in .dvcignore to do without {them}"
        )
    return RefusedError(
        f"{few_of(metafiles)}: {by} ignores {what}{where}, so DVC does not see {them}: {next_step}"
    )
