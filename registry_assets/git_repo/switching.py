"""`git checkout` without DVC's hooks, and which files it would overwrite."""

from __future__ import annotations

import os
from dataclasses import dataclass

from registry_assets.addresses import without_secrets
from registry_assets.errors import RegistryError
from registry_assets.git_repo.committing import BlobChange, TreeBuilder, call_with_index
from registry_assets.git_repo.reading import GitRepo, check_no_option, with_lock_step

PREVIOUS = "-"
"""Git's name for the previously checked-out branch or commit."""

# `dvc install` makes a hook that runs `dvc checkout`, directly or through pre-commit.
_HOOK_SETTING = "PRE_COMMIT_CHECKOUT_TYPE"
_SKIP_SETTING = "SKIP"
_HOOK_ID = "dvc-post-checkout"


@dataclass(frozen=True)
class Overwritten:
    """Uncommitted files that a checkout would overwrite.

    Attributes:
        lost: Files that differ from both commits: a checkout would lose their content.
        same: Files that already are as in the other commit.
    """

    lost: tuple[str, ...]
    same: tuple[BlobChange, ...]


def find_overwritten(builder: TreeBuilder, before: str, after: str) -> Overwritten:
    """Finds uncommitted files below the root that a checkout would overwrite."""
    git = builder.git
    # So that a changed mtime alone does not count as an edit. It exits with 1 for edited files.
    git.call("update-index", "-q", "--refresh", check=False)
    edited = set(git.entries("diff-index", "--name-only", "-z", "--relative", before))
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


def is_edited(git: GitRepo, path: str) -> bool:
    """Whether a file of the work tree differs from what the checked-out commit has of it."""
    done = git.call("diff", "--quiet", "HEAD", "--", f":(literal){path}", check=False)
    return done.returncode != 0


def bring_file(git: GitRepo, path: str, commit: str) -> None:
    """Brings a file of the work tree to what it is in a commit, which may not have it."""
    arguments = ("--quiet", f"--source={commit}", "--worktree", "--", f":(literal){path}")
    git.call("restore", *arguments)


def switch(git: GitRepo, name: str, commit: str) -> None:
    """Checks out a branch, tag or commit.

    Args:
        git: The repository.
        name: The revision to check out, or `PREVIOUS`.
        commit: The commit that it resolves to.

    Raises:
        RefusedError: when Git would take the name for an option.
        RegistryError: with Git's message, when it refuses; nothing is changed then.
    """
    if name != PREVIOUS:
        check_no_option(name)
    skipped = [*filter(None, os.environ.get(_SKIP_SETTING, "").split(",")), _HOOK_ID]
    settings = {_HOOK_SETTING: "0", _SKIP_SETTING: ",".join(skipped)}
    done = call_with_index(git, "checkout", "--quiet", name, "--", settings=settings)
    # A hook may fail after the checkout has succeeded.
    if done.returncode != 0 and git.commit() != commit:
        reason = without_secrets(_error_of(done.stderr))
        raise RegistryError(with_lock_step(f"git checkout failed: {reason}"))


def _error_of(stderr: bytes) -> str:
    """Git's error message, with the files that it lists below."""
    lines = stderr.decode(errors="replace").splitlines()
    errors = [line.strip() for line in lines if line.startswith(("error:", "fatal:", "\t"))]
    return " ".join(errors or lines)
