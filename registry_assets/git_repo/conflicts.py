"""What a merge or rebase left to be decided, and the program that Git merges metafiles with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry_assets.git_repo.reading import GitRepo

_IN_PROGRESS = {
    "rebase-merge": "git rebase --continue",
    "rebase-apply": "git rebase --continue",
    "CHERRY_PICK_HEAD": "git cherry-pick --continue",
    "REVERT_HEAD": "git revert --continue",
    "MERGE_HEAD": "git commit",
}


@dataclass(frozen=True)
class Unmerged:
    """A file that both sides changed; each of its blobs is None where that side has no such file.

    Attributes:
        path: From the root of the registry.
        base: What both sides started from.
        ours: Of the checked-out side; while rebasing, of the branch that is rebased onto.
        theirs: Of the other side.
    """

    path: str
    base: str | None
    ours: str | None
    theirs: str | None


def find_unmerged(git: GitRepo) -> list[Unmerged]:
    """The files below the root that wait for a decision, as the index has them (git-ls-files)."""
    blobs: dict[str, dict[str, str]] = {}
    said = git.call("ls-files", "--unmerged", "-z").stdout.decode(errors="surrogateescape")
    for line in said.split("\0")[:-1]:
        entry, _, path = line.partition("\t")
        _, blob, stage = entry.split(" ")
        blobs.setdefault(path, {})[stage] = blob
    return [
        Unmerged(path, found.get("1"), found.get("2"), found.get("3"))
        for path, found in sorted(blobs.items())
    ]


def find_next_step(git: GitRepo) -> str | None:
    """The command that ends what is in progress (merge, rebase, …); None when nothing is."""
    for name, command in _IN_PROGRESS.items():
        place = git.call("rev-parse", "--git-path", name).stdout.decode().strip()
        if (git.root / place).exists():
            return command
    return None


def mark_resolved(git: GitRepo, paths: Sequence[str]) -> None:
    """Has the index take files as they stand in the work tree, or as gone."""
    if paths:
        git.call("update-index", "--add", "--remove", "--", *paths)


def install_merge_driver(git: GitRepo, name: str, description: str, command: str) -> bool:
    """Configures a merge driver in this clone (gitattributes(5)); False when it is so already."""
    # In this order: Git refuses to merge with a driver that has a name and no command.
    wanted = {f"merge.{name}.driver": command, f"merge.{name}.name": description}
    if all(git.setting(key) == value for key, value in wanted.items()):
        return False
    for key, value in wanted.items():
        git.call("config", "--local", key, value)
    return True
