"""Checking a commit out: what it would overwrite, and doing it without the hooks of DVC."""

from __future__ import annotations

import os
from dataclasses import dataclass

from registry_assets.addresses import without_secrets
from registry_assets.errors import RegistryError
from registry_assets.git_repo.committing import BlobChange, TreeBuilder, call_with_index
from registry_assets.git_repo.reading import GitRepo

PREVIOUS = "-"
"""What Git calls the commit or branch that was checked out before."""

# `dvc install` makes a hook that runs `dvc checkout`, here or through the tool pre-commit.
_HOOK_SETTING = "PRE_COMMIT_CHECKOUT_TYPE"
_SKIP_SETTING = "SKIP"
_HOOK_ID = "dvc-post-checkout"


@dataclass(frozen=True)
class Overwritten:
    """What stands in the way of checking a commit out.

    Attributes:
        lost: Files that are not as the checked-out commit has them, nor as the other one does.
        same: Files that nobody committed, and that are as the other commit has them.
    """

    lost: tuple[str, ...]
    same: tuple[BlobChange, ...]


def find_overwritten(builder: TreeBuilder, before: str, after: str) -> Overwritten:
    """Which files below the root would be replaced that are not committed."""
    git = builder.git
    # Dates alone make no difference; that Git says so of some is no failure.
    git.call("update-index", "-q", "--refresh", check=False)
    said = git.call("diff-index", "--name-only", "-z", "--relative", before).stdout
    edited = set(said.decode(errors="surrogateescape").split("\0"))
    lost, same = [], []
    for change in builder.compare(before, after):
        place = git.root / change.path
        is_there = os.path.lexists(place)
        if not is_there or (change.before is not None and change.path not in edited):
            continue
        if change.after is not None and _blob_of(git, change.path) == change.after:
            same.append(change)
        else:
            lost.append(change.path)
    return Overwritten(tuple(lost), tuple(same))


def _blob_of(git: GitRepo, path: str) -> str:
    done = git.call("hash-object", "--", path, check=False)
    return done.stdout.decode().strip()


def switch(git: GitRepo, name: str, commit: str) -> None:
    """Checks a branch, tag or commit out, as `git checkout` does.

    Args:
        git: The repository.
        name: As Git understands it; `PREVIOUS` for what was checked out before.
        commit: What it stands for.

    Raises:
        RegistryError: with what Git says, when it refuses; nothing has changed then.
    """
    skipped = [*filter(None, os.environ.get(_SKIP_SETTING, "").split(",")), _HOOK_ID]
    settings = {_HOOK_SETTING: "0", _SKIP_SETTING: ",".join(skipped)}
    done = call_with_index(git, "checkout", "--quiet", name, "--", settings=settings)
    # Somebody's hook may have failed after all was done.
    if done.returncode != 0 and git.commit() != commit:
        raise RegistryError(f"git checkout failed: {without_secrets(_told(done.stderr))}")


def _told(stderr: bytes) -> str:
    """What Git says is wrong, with the files that it lists below that."""
    lines = stderr.decode(errors="replace").splitlines()
    telling = [line.strip() for line in lines if line.startswith(("error:", "fatal:", "\t"))]
    return " ".join(telling or lines)
