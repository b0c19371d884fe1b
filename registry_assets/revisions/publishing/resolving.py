"""Resolving what a merge or rebase left of metafiles, and naming what is to be made anew."""

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
    """What became of one file.

    Attributes:
        path: From the root.
        is_resolved: Whether nothing of it waits for a decision any more.
        conflicts: The entries that both sides changed, each to something else: addresses of stages
            and ``.dvc`` files, images that were decided about, or the path of the file itself.
        reason: Why it was left as it is; empty where it was merged.
    """

    path: str
    is_resolved: bool
    conflicts: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Resolved:
    """What became of all files that waited for a decision.

    Attributes:
        next_step: The command that ends what is in progress, once everything is resolved.
    """

    files: tuple[Resolution, ...]
    next_step: str | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing waits for a decision any more."""
        return all(file.is_resolved for file in self.files)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """What both sides changed, each to something else, and is to be made anew."""
        return tuple(c for file in self.files if not file.is_resolved for c in file.conflicts)


def resolve(root: Path) -> Resolved:
    """Resolves, as far as can be, what a merge or rebase left of metafiles, and tells Git.

    A file whose conflicts somebody has decided (a stage was run again, one side was checked out)
    counts as resolved. One that is as our side had it does not: so Git leaves it, too, where a
    merge driver failed.

    Args:
        root: Any folder of the registry.
    """
    dvc = DvcRepo(root)
    git = dvc.git
    files = find_unmerged(git)
    if not files:
        return Resolved((), find_next_step(git))
    texts = TreeBuilder(git).read_blobs(
        blob for file in files for blob in (file.base, file.ours, file.theirs)
    )
    done: list[Resolution] = []
    # A run may be about to record something.
    with dvc.open() as repo, dvc.write_lock(repo, lambda _line: None):
        for file in files:
            sides = (texts[file.base], texts[file.ours], texts[file.theirs])
            done.append(_resolve_file(dvc, file, sides))
    return Resolved(tuple(done), find_next_step(git))


def _resolve_file(
    dvc: DvcRepo, file: Unmerged, sides: tuple[str | None, str | None, str | None]
) -> Resolution:
    path = file.path
    if not can_merge(path):
        return Resolution(path, False, reason=f"no metafile: edit it, then `git add {path}`")
    try:
        merged = merge(path, *sides)
    except MetafileError as error:
        return Resolution(path, False, reason=f"one side cannot be read ({error.problem})")
    place = dvc.path_of(path)
    now = place.read_bytes().decode() if place.is_file() else None
    if merged.conflicts and None in sides[1:]:
        gone = "ours" if sides[1] is None else "theirs"
        reason = f"{gone} has deleted it, the other side changed it: `git add` or `git rm {path}`"
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
    """What is not up to date after merging, by the metafiles alone."""
    return tuple(o for o in read_recorded_status(lineage) if o.state != "up_to_date")


def describe_conflict(lineage: Lineage, address: str, stale: Collection[str]) -> str:
    """What both sides changed, with the command that makes it anew.

    Args:
        lineage: The graph as it is now.
        address: A stage, a ``.dvc`` file or another file.
        stale: The outputs that are not up to date, by path.
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
            return f"{address}: both sides made it; ours was kept, make it anew: {command}"
        return f"{address}: both sides made it; ours was kept, and is up to date: {command} --force"
    what = "recorded" if node.kind == "raw" else "took in"
    return (
        f"{address}: both sides {what} another version; ours was kept: "
        f"keep it, or choose with `git checkout --theirs {address}`, `dvc pull {address}`"
    )
