"""Checking out a commit with its data, without losing unsaved data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.dvc_repo import DvcRepo, Restored, Unsaved
from registry_assets.errors import MetafileError, RefusedError
from registry_assets.git_repo import TreeBuilder
from registry_assets.git_repo.conflicts import find_next_step
from registry_assets.git_repo.history import read_blobs_at
from registry_assets.git_repo.switching import (
    PREVIOUS,
    bring_file,
    find_overwritten,
    is_edited,
    switch,
)
from registry_assets.model import Registry, folders_above
from registry_assets.registry.reading import read_registry
from registry_assets.revisions.changes.committing import OutputChange, read_changes
from registry_assets.revisions.changes.metafile_entries import records_versions, split_entries
from registry_assets.revisions.changes.metafile_history import find_recorded
from registry_assets.revisions.changes.revisions import SHORT_COMMIT, check_git, find_commit
from registry_assets.units import few_of

Report = Callable[[str], None]


@dataclass(frozen=True)
class CheckedOut:
    """The result of a checkout.

    Attributes:
        commit: The checked-out commit.
        branch: The checked-out branch; None if HEAD is detached.
        former: The branch or commit that was checked out before.
        taken_away: The outputs that were removed from the workspace, because the commit does not
            declare them; includes leftovers of an earlier plain `git checkout`.
        data: The result of restoring all other outputs.
        registry: The registry at the commit.
    """

    commit: str
    branch: str | None
    former: str
    taken_away: tuple[str, ...]
    data: Restored
    registry: Registry


def check_out(root: Path, name: str, report: Report) -> CheckedOut:
    """Check out a commit and restore its data from the cache, or else from a remote.

    Safe to rerun after an interruption.

    Args:
        root: Any folder of the registry.
        name: A branch, tag or commit; ``-`` for the previous one.
        report: Called with progress messages.

    Raises:
        NotFoundError: when there is no such commit.
        RefusedError: when unsaved data would be lost, or a run or merge is in progress; nothing
            has changed then.
        MetafileError: when the settings, a list of collections or an ignore file cannot be read,
            and are edited or no better at the commit.
    """
    dvc = DvcRepo(root)
    git = dvc.git
    check_git(git)
    builder = TreeBuilder(git)
    head = find_commit(git, "HEAD")
    # Like `git checkout`, and no other command, prefer a branch to a tag of the same name.
    branch = git.resolve_ref(f"refs/heads/{name}")
    commit = branch or find_commit(git, "@{-1}" if name == PREVIOUS else name)
    former = git.branch() or head[:SHORT_COMMIT]
    step = find_next_step(git)
    if step is not None:
        raise RefusedError(f"a merge or rebase is in progress: complete it with `{step}` first")
    with _readable(dvc, builder, head, commit, report) as registry:
        overwritten = find_overwritten(builder, head, commit)
        if overwritten.lost:
            raise _would_be_lost(
                name,
                [f"{path} (not committed)" for path in overwritten.lost],
                "commit it (`registry publish --switch` does so with metafiles), or `git stash` it",
            )
        changed = _changed(registry, read_changes(builder, head, commit).outputs)
        removed = [change.path for change in changed if not change.after]
        unsaved = [
            item
            for item in dvc.find_unsaved([change.path for change in changed])
            if not item.is_ignored or any(map(PurePosixPath(item.path).is_relative_to, removed))
        ]
        if unsaved:
            raise _would_be_lost(
                name, list(map(_describe_unsaved, unsaved)), _next_step(registry, unsaved)
            )
        leftovers = _find_leftovers(registry, dvc, builder, head, commit)
        if unsaved := list(dvc.find_unsaved(leftovers)):
            step = "move it elsewhere, or record it (`registry add` for what is in raw)"
            raise _would_be_lost(name, list(map(_describe_unsaved, unsaved)), step)

        def move() -> None:
            builder.stage(overwritten.same)
            switch(git, name, commit)

        gone: dict[str, tuple[str, str | None]] = {path: (path, None) for path in leftovers}
        gone |= {c.path: (c.address, c.before.md5) for c in changed if c.before and not c.after}
        taken_away = dvc.switch(gone, move, report)
        with dvc.reading_once():
            data = dvc.restore_all(report)
            after = read_registry(dvc.root, dvc)
    return CheckedOut(commit, git.branch(), former, tuple(taken_away), data, after)


@contextmanager
def _readable(
    dvc: DvcRepo, builder: TreeBuilder, head: str, commit: str, report: Report
) -> Iterator[Registry]:
    """Read the registry before a checkout, which leads away from files that stop all commands.

    All outputs are locked meanwhile. Where settings, lists or ignore files cannot be read and are
    committed like that, those of the other commit are brought first, as the checkout does anyway.
    Without a checkout, they are put back.
    """
    others = {change.path for change in builder.compare(head, commit) if change.before}
    brought: list[str] = []
    try:
        with ExitStack() as locked:
            while True:
                try:
                    with ExitStack() as attempt:
                        # DVC reads an ignore file before anything can be locked.
                        attempt.enter_context(dvc.standing_still(report))
                        registry = read_registry(dvc.root, dvc)
                        locked.enter_context(attempt.pop_all())
                        break
                except MetafileError as error:
                    path = os.path.relpath(dvc.root / error.path, dvc.root)
                    if path in brought or path not in others or is_edited(dvc.git, path):
                        raise
                    brought.append(path)
                    bring_file(dvc.git, path, commit)
            yield registry
    except BaseException:
        if dvc.git.commit() == head:
            for path in brought:
                bring_file(dvc.git, path, head)
        raise


def _changed(registry: Registry, outputs: Sequence[OutputChange]) -> list[OutputChange]:
    """The changes to outputs that DVC caches; raw collections first."""
    after = {change.path for change in outputs if change.after}
    found = {}
    for change in outputs:
        output = registry.outputs.get(change.path)
        if output is not None and output.is_cached and change.before is not None:
            # Not removed if another metafile declares it at that commit.
            moved = change.path in after and change.after is None
            if not moved:
                found[change.path] = change
    raw = {item.output.path for item in registry.raw}
    # Raw collections are the most likely to be edited.
    ordered = sorted(found.values(), key=lambda change: change.path not in raw)
    return [change for change in ordered if not change.path.startswith("../")]


def _find_leftovers(
    registry: Registry, dvc: DvcRepo, builder: TreeBuilder, head: str, commit: str
) -> list[str]:
    """Outputs of other commits that a plain `git checkout` left in the workspace."""
    if registry.problems:
        # The broken metafiles may declare them.
        return []
    found = dvc.find_leftovers(registry.outputs.keys())
    if not found:
        return []
    # Includes outputs that are recorded but no longer declared, or outside the sparse checkout.
    had = {path for each in (head, commit) for path in _paths_at(builder, each)}
    recorded = {(one.output, one.md5) for one in find_recorded(builder.git, {*found.values()})}
    return [path for path, md5 in found.items() if (path, md5) in recorded and path not in had]


def _paths_at(builder: TreeBuilder, commit: str) -> Iterator[str]:
    """All paths of a commit: outputs, files in Git, and the parent folders of these."""
    for file in builder.files_at(commit):
        yield file
        yield from folders_above(file)
    metafiles = read_blobs_at(builder.git, commit, records_versions)
    texts = builder.read_blobs(metafiles.values())
    for path, blob in metafiles.items():
        for entry in split_entries(path, texts[blob]).values():
            yield from entry.read_outputs()


def _describe_unsaved(item: Unsaved) -> str:
    return f"{item.path} ({'DVC ignores it' if item.is_ignored else 'not in the cache'})"


def _next_step(registry: Registry, unsaved: Sequence[Unsaved]) -> str:
    first = unsaved[0]
    if first.is_ignored:
        return "move it out of the folder"
    raw = next((raw.name for raw in registry.raw if raw.output.path == first.path), None)
    keep = f"`registry add {raw}`" if raw else f"`dvc commit {first.path}`"
    return f"{keep} records it, `dvc checkout --force {first.path}` discards the edit"


def _would_be_lost(revision: str, what: Sequence[str], next_step: str) -> RefusedError:
    """The error for a checkout that would lose unsaved data.

    Args:
        revision: The revision to check out.
        what: The paths, each with the reason.
        next_step: How to save the data.
    """
    return RefusedError(
        f"checking out {revision} would lose {few_of(what)}: {next_step}; nothing was changed"
    )
