"""Resolving merge conflicts of metafiles, and naming the stages to rerun."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError
from registry_assets.git_repo import TreeBuilder, Unmerged
from registry_assets.git_repo.conflicts import find_next_step, find_unmerged, mark_resolved
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.reading import read_recorded_status
from registry_assets.registry.status.values import OutputStatus
from registry_assets.revisions.changes.merging import (
    WHOLE_FILE,
    Merged,
    can_merge,
    is_decisions_file,
    merge,
)
from registry_assets.revisions.changes.metafile_entries import records_versions, stage_address

_MARKER = "<<<<<<< "


@dataclass(frozen=True)
class Resolution:
    """The result for one file.

    Attributes:
        path: The path from the root.
        is_resolved: Whether no conflict is left.
        conflicts: The entries that both sides changed differently: addresses of stages and
            ``.dvc`` files, images with a decision, or the path of the file itself.
        reason: Why the file was not touched; empty if it was merged.
    """

    path: str
    is_resolved: bool
    conflicts: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Resolved:
    """The results for all files with conflicts.

    Attributes:
        files: The result for each file.
        next_step: The Git command that completes the merge or rebase, once everything is resolved.
    """

    files: tuple[Resolution, ...]
    next_step: str | None

    @property
    def is_complete(self) -> bool:
        """Whether no conflicts are left."""
        return all(file.is_resolved for file in self.files)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The conflicts that are left."""
        return tuple(c for file in self.files if not file.is_resolved for c in file.conflicts)


def resolve(root: Path) -> Resolved:
    """Resolve merge conflicts of metafiles as far as possible, and stage the resolved files.

    A file whose conflicts the user has resolved (by rerunning a stage, or checking out one side)
    counts as resolved. A file equal to our side does not: Git leaves it like that when a merge
    driver fails.

    Args:
        root: Any folder of the registry.
    """
    dvc = DvcRepo(root)
    git = dvc.git
    files = find_unmerged(git)
    if not files:
        dvc.recover(_ignore)
        return Resolved((), find_next_step(git))
    texts = TreeBuilder(git).read_blobs(
        blob for file in files for blob in (file.base, file.ours, file.theirs)
    )
    done: list[Resolution] = []
    # Locked against runs that record something.
    with dvc.open() as repo, dvc.write_lock(repo, _ignore):
        for file in files:
            sides = (texts[file.base], texts[file.ours], texts[file.theirs])
            done.append(_resolve_file(dvc, file, sides))
    resolved = Resolved(tuple(done), find_next_step(git))
    if resolved.is_complete:
        # What an interrupted command left; with conflicts it is not known what was recorded.
        dvc.recover(_ignore)
    return resolved


def _ignore(_line: str) -> None:
    pass


def _resolve_file(
    dvc: DvcRepo, file: Unmerged, sides: tuple[str | None, str | None, str | None]
) -> Resolution:
    path = file.path
    if not can_merge(path):
        return Resolution(path, False, reason=f"not a metafile: edit it, then `git add {path}`")
    try:
        merged = merge(path, *sides)
    except MetafileError as error:
        return Resolution(path, False, reason=f"one side cannot be read ({error.problem})")
    place = dvc.path_of(path)
    now = place.read_bytes().decode() if place.is_file() else None
    if merged.conflicts and None in sides[1:]:
        gone = "ours" if sides[1] is None else "theirs"
        reason = f"deleted by {gone}, changed by the other side: `git add` or `git rm {path}`"
        return Resolution(path, False, _addresses(path, merged), reason)
    was_left_so = now is None or _MARKER in now or now in (merged.text, sides[1])
    if merged.conflicts and not was_left_so:
        mark_resolved(dvc.git, [path])
        return Resolution(path, True, _addresses(path, merged))
    if merged.text is None:
        place.unlink(missing_ok=True)
    elif now != merged.text:
        dvc.write_text(path, merged.text)
    if not merged.conflicts:
        mark_resolved(dvc.git, [path])
    return Resolution(path, not merged.conflicts, _addresses(path, merged))


def _addresses(path: str, merged: Merged) -> tuple[str, ...]:
    return tuple(_address(path, name) for name in merged.conflicts)


def _address(path: str, name: str) -> str:
    if name != WHOLE_FILE and records_versions(path):
        return stage_address(path, name)
    # An image, by its md5.
    return f"{path}:{name}" if name != WHOLE_FILE and is_decisions_file(path) else path


def find_stale(lineage: Lineage) -> tuple[OutputStatus, ...]:
    """The outputs that are not up to date, by the metafiles alone."""
    return tuple(o for o in read_recorded_status(lineage) if o.state != "up_to_date")


def describe_conflict(lineage: Lineage, address: str, stale: Collection[str]) -> str:
    """Describe a conflict, with the command to resolve it.

    Args:
        lineage: The graph as it is now.
        address: A stage, a ``.dvc`` file or another file.
        stale: The paths of outputs that are not up to date.
    """
    nodes = [node for node in lineage.nodes.values() if node.address == address]
    if not nodes or nodes[0].key is None:
        return f"{address}: both sides changed it; ours was kept"
    node = nodes[0]
    if node.kind == "stage":
        select = f"--select 'key:\"{'/'.join(node.key or ())}\"'"
        collection = f" --collection {node.partition}" if node.partition else ""
        command = f"registry materialize {select}{collection}"
        if any(node.path in stale for node in nodes):
            return f"{address}: both sides ran it; ours was kept, rerun it: {command}"
        return f"{address}: both sides ran it; ours was kept, and is up to date: {command} --force"
    what = "recorded" if node.kind == "raw" else "imported"
    return (
        f"{address}: both sides {what} another version; ours was kept: "
        f"keep it, or choose with `git checkout --theirs {address}`, `dvc pull {address}`"
    )
