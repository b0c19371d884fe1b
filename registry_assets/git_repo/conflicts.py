"""Files with merge conflicts, and the merge driver for metafiles."""

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
    """A file that both sides changed; a blob is None if that side does not have the file.

    Attributes:
        path: From the root of the registry.
        base: The blob of the common ancestor.
        ours: The blob of the checked-out side; during a rebase, of the branch rebased onto.
        theirs: The blob of the other side.
    """

    path: str
    base: str | None
    ours: str | None
    theirs: str | None


def find_unmerged(git: GitRepo) -> list[Unmerged]:
    """Finds the unmerged files in the index, below the root (git-ls-files(1))."""
    blobs: dict[str, dict[str, str]] = {}
    for entry in git.entries("ls-files", "--unmerged", "-z"):
        fields, _, path = entry.partition("\t")
        _, blob, stage = fields.split(" ")
        blobs.setdefault(path, {})[stage] = blob
    return [
        Unmerged(path, found.get("1"), found.get("2"), found.get("3"))
        for path, found in sorted(blobs.items())
    ]


def find_next_step(git: GitRepo) -> str | None:
    """The command that finishes the merge, rebase, … in progress; None if there is none."""
    for name, command in _IN_PROGRESS.items():
        place = git.call("rev-parse", "--git-path", name).stdout.decode().strip()
        if (git.root / place).exists():
            return command
    return None


def mark_resolved(git: GitRepo, paths: Sequence[str]) -> None:
    """Stages files as they are in the work tree; missing files are staged as deleted."""
    if paths:
        git.call("update-index", "--add", "--remove", "--", *paths)


def install_merge_driver(git: GitRepo, name: str, description: str, command: str) -> bool:
    """Configures a merge driver in this clone (gitattributes(5)); False if it already is."""
    # In this order: Git refuses to merge with a driver that has a name and no command.
    wanted = {f"merge.{name}.driver": command, f"merge.{name}.name": description}
    if all(git.setting(key) == value for key, value in wanted.items()):
        return False
    for key, value in wanted.items():
        git.call("config", "--local", key, value)
    return True
