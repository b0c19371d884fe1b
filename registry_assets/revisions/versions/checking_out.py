"""Bringing a registry back to a commit, with its data: nothing that is saved nowhere gets lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry_assets.dvc_repo import DvcRepo, Restored, Unsaved
from registry_assets.errors import RefusedError
from registry_assets.git_repo import TreeBuilder
from registry_assets.git_repo.conflicts import find_next_step
from registry_assets.git_repo.history import read_blobs_at
from registry_assets.git_repo.switching import PREVIOUS, find_overwritten, switch
from registry_assets.model import Registry
from registry_assets.registry.reading import read_registry
from registry_assets.revisions.changes.committing import OutputChange, read_changes
from registry_assets.revisions.changes.metafile_entries import records_versions, split_entries
from registry_assets.revisions.changes.metafile_history import find_recorded
from registry_assets.revisions.changes.revisions import SHORT_COMMIT, check_git, find_commit
from registry_assets.units import few_of

Report = Callable[[str], None]


@dataclass(frozen=True)
class CheckedOut:
    """Where the registry stands now.

    Attributes:
        commit: What is checked out.
        branch: The branch; None where none is.
        former: The branch or commit that was checked out before.
        taken_away: The outputs that the commit does not declare, which were there, also of a
            commit that was checked out with Git alone.
        data: What came of all others.
        registry: As it is now.
    """

    commit: str
    branch: str | None
    former: str
    taken_away: tuple[str, ...]
    data: Restored
    registry: Registry


def check_out(registry: Registry, name: str, report: Report) -> CheckedOut:
    """Checks a commit out and brings its data, from the cache, else from a remote.

    Interrupted anywhere, the same again goes on.

    Args:
        registry: As it is.
        name: A branch, tag or commit; ``-`` for what was checked out before.
        report: Takes progress.

    Raises:
        NotFoundError: when there is no such commit.
        RefusedError: when something that it replaces is saved nowhere; nothing has changed.
        RefusedError: when a run is at work, or a merge is going on; nothing has changed.
    """
    dvc = DvcRepo(registry.root)
    git = dvc.git
    check_git(git)
    builder = TreeBuilder(git)
    head = find_commit(git, "HEAD")
    # As `git checkout` has it, and no other command: a branch goes before a tag of its name.
    branch = git.resolve_ref(f"refs/heads/{name}")
    commit = branch or find_commit(git, "@{-1}" if name == PREVIOUS else name)
    former = git.branch() or head[:SHORT_COMMIT]
    step = find_next_step(git)
    if step is not None:
        raise RefusedError(f"a merge or rebase is going on: end it with `{step}` first")
    with dvc.standing_still(report):
        overwritten = find_overwritten(builder, head, commit)
        if overwritten.lost:
            raise _would_be_lost(
                name,
                [f"{path} (not committed)" for path in overwritten.lost],
                "commit it (`registry publish --switch` does so with metafiles), or `git stash` it",
            )
        changed = _changed(registry, read_changes(builder, head, commit).outputs)
        unsaved = [
            item
            for item in dvc.find_unsaved([change.path for change in changed])
            if not item.is_ignored or any(_is_in(item.path, c) for c in changed if not c.after)
        ]
        if unsaved:
            raise _would_be_lost(name, list(map(_tell, unsaved)), _next_step(registry, unsaved))
        leftovers = _find_leftovers(registry, dvc, builder, head, commit)
        if unsaved := list(dvc.find_unsaved(leftovers)):
            step = "move it elsewhere, or record it (`registry add` for what is in raw)"
            raise _would_be_lost(name, list(map(_tell, unsaved)), step)

        def move() -> None:
            builder.stage(overwritten.same)
            switch(git, name, commit)

        gone: dict[str, tuple[str, str | None]] = {path: (path, None) for path in leftovers}
        gone |= {c.path: (c.address, c.before.md5) for c in changed if c.before and not c.after}
        taken_away = dvc.switch(gone, move, report)
        with dvc.reading_once():
            data = dvc.restore_all(report)
            after = read_registry(registry.root, dvc)
    return CheckedOut(commit, git.branch(), former, tuple(taken_away), data, after)


def _changed(registry: Registry, outputs: Sequence[OutputChange]) -> list[OutputChange]:
    """The outputs whose data another commit has otherwise, of those that DVC keeps."""
    after = {change.path for change in outputs if change.after}
    found = {}
    for change in outputs:
        output = registry.outputs.get(change.path)
        if output is not None and output.is_cached and change.before is not None:
            # One that another metafile declares there stays.
            moved = change.path in after and change.after is None
            if not moved:
                found[change.path] = change
    raw = {item.output.path for item in registry.raw}
    # What people edit first.
    ordered = sorted(found.values(), key=lambda change: change.path not in raw)
    return [change for change in ordered if not change.path.startswith("../")]


def _find_leftovers(
    registry: Registry, dvc: DvcRepo, builder: TreeBuilder, head: str, commit: str
) -> list[str]:
    """What neither commit has, an earlier checkout with Git alone left, and some commit records."""
    if registry.problems:
        # Who knows what those declare.
        return []
    found = dvc.find_leftovers(registry.outputs.keys())
    if not found:
        return []
    # Also what is recorded and not declared any more, or kept out of the work tree.
    had = {path for each in (head, commit) for path in _paths_at(builder, each)}
    recorded = {(one.output, one.md5) for one in find_recorded(builder.git, {*found.values()})}
    return [path for path, md5 in found.items() if (path, md5) in recorded and path not in had]


def _paths_at(builder: TreeBuilder, commit: str) -> Iterator[str]:
    """Everything that a commit has: outputs, files of Git, and the folders above those."""
    for file in builder.files_at(commit):
        yield file
        yield from map(str, PurePosixPath(file).parents)
    metafiles = read_blobs_at(builder.git, commit, records_versions)
    texts = builder.read_blobs(metafiles.values())
    for path, blob in metafiles.items():
        for entry in split_entries(path, texts[blob]).values():
            yield from entry.read_outputs()


def _is_in(path: str, change: OutputChange) -> bool:
    return PurePosixPath(path).is_relative_to(change.path)


def _tell(item: Unsaved) -> str:
    return f"{item.path} ({'DVC ignores it' if item.is_ignored else 'not in the cache'})"


def _next_step(registry: Registry, unsaved: Sequence[Unsaved]) -> str:
    first = unsaved[0]
    if first.is_ignored:
        return "move it out of the folder"
    raw = next((raw.name for raw in registry.raw if raw.output.path == first.path), None)
    keep = f"`registry add {raw}`" if raw else f"`dvc commit {first.path}`"
    return f"{keep} records it, `dvc checkout --force {first.path}` drops what was edited"


def _would_be_lost(revision: str, what: Sequence[str], next_step: str) -> RefusedError:
    """What to raise where checking a commit out would lose what is saved nowhere.

    Args:
        revision: What was to be checked out.
        what: Each path, with the reason.
        next_step: How to save it.
    """
    return RefusedError(
        f"checking out {revision} would lose {few_of(what)}: {next_step}; nothing was changed"
    )
