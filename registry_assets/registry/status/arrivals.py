"""Folders and archives in the raw folder that DVC does not track yet."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RefusedError
from registry_assets.fingerprint import fingerprint_file
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import KeptOut, describe_kept_out, find_kept_out
from registry_assets.images.contents import has_image_suffix
from registry_assets.images.entries import is_video
from registry_assets.leftovers import find_leftover, find_leftover_in
from registry_assets.model import DVC_SUFFIX, Registry, check_collection_name, metafile_of
from registry_assets.registry.status.archive_names import (
    archive_stem,
    unreadable_stem,
    why_unreadable,
)
from registry_assets.registry.status.staging import Landing


@dataclass(frozen=True)
class Arrival:
    """An untracked folder, an archive, or loose images and videos in the raw folder.

    Attributes:
        name: The name of the collection: of an archive, without its suffix; of loose files, the
            name of the first.
        path: The folder, the archive, or the first loose file.
        reason: Why it cannot be added as it is; None when it can.
        is_loose: Whether it represents the loose images and videos.
    """

    name: str
    path: Path
    reason: str | None = None
    is_loose: bool = False


def find_arrivals(folder: Path) -> Iterator[Arrival]:
    """Find everything in a folder that has no ``.dvc`` file, sorted by name.

    That is: folders, links to folders, archives, and as one arrival all loose images and videos.
    Looks at names only, so that ten thousand tracked collections cost one directory listing. A
    collection whose ``.dvc`` file is outside the sparse checkout is rejected.
    """
    kept_out: KeptOut | None = None
    for arrival in _find_untracked(folder):
        kept_out = kept_out or find_kept_out(GitRepo(folder))
        metafile = metafile_of(arrival.name)
        if arrival.reason is None and kept_out.lacks(metafile):
            path = f"{GitRepo(folder).prefix()}{metafile}"
            arrival = replace(arrival, reason=f"{path} {describe_kept_out(path)}")
        yield arrival


def find_arriving_names(registry: Registry) -> set[str]:
    """The names of the collections that folders and archives in the raw folder will become."""
    if registry.raw_folder is None:
        return set()
    arrivals = find_arrivals(registry.root / registry.raw_folder)
    return {arrival.name for arrival in arrivals if not arrival.is_loose}


def find_kept_out_names(root: Path) -> set[str]:
    """The names of collections whose ``.dvc`` files Git keeps out of the work tree."""
    lacking = find_kept_out(GitRepo(root)).lacking
    return {PurePosixPath(path).stem for path in lacking if path.endswith(DVC_SUFFIX)}


def _find_untracked(folder: Path) -> Iterator[Arrival]:
    try:
        with os.scandir(folder) as listing:
            entries = {entry.name: entry for entry in listing}
    except FileNotFoundError:
        return
    loose: list[str] = []
    first_of_name: dict[str, str] = {}
    for name in sorted(entries):
        if name.startswith(".") or metafile_of(name) in entries:
            continue
        if find_leftover(name, is_folder=entries[name].is_dir()) is not None:
            continue
        is_link = entries[name].is_symlink() and not entries[name].is_file()
        if entries[name].is_dir() or is_link:
            yield Arrival(name, folder / name, reason_against(name, folder / name))
            continue
        stem = archive_stem(name) or unreadable_stem(name)
        if stem is not None and entries[name].is_file():
            first = first_of_name.setdefault(stem, name)
            arrival = _archive_arrival(folder / name, stem, entries.keys(), first)
            if arrival is not None:
                yield arrival
        elif has_image_suffix(name) or is_video(name):
            loose.append(name)
    if loose:
        yield Arrival(loose[0], folder / loose[0], _why_loose(folder, loose), is_loose=True)


def _why_loose(folder: Path, names: Sequence[str]) -> str:
    more = len(names) - 1
    they, them = (f"it and {more:,} more lie", "them") if more else ("it lies", "it")
    return (
        f"{they} in {folder.name}/ itself, and a collection is a folder: move {them} into one, "
        f"{folder.name}/NAME/, then `registry add NAME`"
    )


def reject_unseen(dvc: DvcRepo, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """The arrivals; those that DVC would refuse get that as their reason.

    That is where it would not see the ``.dvc`` file, or where Git tracks files of the folder.
    """
    listed = [_reject_tracked(dvc, arrival) for arrival in arrivals]
    metafiles = {
        arrival.path: metafile_of(dvc.relative(arrival.path.with_name(arrival.name)))
        for arrival in listed
        if arrival.reason is None
    }
    reasons = dvc.why_unseen(list(metafiles.values())) if metafiles else {}
    for arrival in listed:
        reason = reasons.get(metafiles.get(arrival.path, ""))
        yield arrival if reason is None else replace(arrival, reason=str(reason))


def _reject_tracked(dvc: DvcRepo, arrival: Arrival) -> Arrival:
    if arrival.reason is not None or arrival.is_loose or not arrival.path.is_dir():
        return arrival
    path = dvc.relative(arrival.path)
    if not (dvc.git.is_present and dvc.git.tracked([path])):
        return arrival
    step = f"`git rm -r --cached {path}`, then `registry add {arrival.name}`"
    return replace(arrival, reason=f"Git tracks files in it, and DVC refuses those: {step}")


def _archive_arrival(
    archive: Path, name: str, beside: Collection[str], first: str
) -> Arrival | None:
    """The arrival of an archive; None when it has been unpacked already.

    Args:
        archive: The archive.
        name: The name of the collection.
        beside: The names of all files in the same folder.
        first: The first archive there that would become the same collection.
    """
    note = Landing(archive.parent, name).read_note()
    is_known = note is not None and (note.source, note.stamp) == (
        archive.name,
        fingerprint_file(archive),
    )
    is_tracked = metafile_of(name) in beside
    reason = reason_against_name(name)
    if is_known and note is not None and note.refusal is None and (is_tracked or name in beside):
        return Arrival(name, archive) if is_tracked else None
    if is_tracked or name in beside:
        reason = f"there is a collection {name} already: rename or remove the archive"
    elif first != archive.name:
        reason = f"{first} has the same name: rename one of them"
    elif (unreadable := why_unreadable(archive.name)) is not None:
        reason = unreadable
    elif is_known and note is not None:
        reason = note.refusal
    return Arrival(name, archive, reason)


def reason_against(name: str, path: Path) -> str | None:
    """Why a path cannot become a collection; None when it can."""
    reason = why_unreadable(name) if path.is_file() else None
    reason = reason or reason_against_name(name)
    if reason is not None:
        return reason
    # Other single files (a list, a table) can be tracked, as with `dvc add`.
    if path.is_file() and (has_image_suffix(name) or is_video(name)):
        put = f"move it to {path.parent.name}/NAME/{name}"
        return f"it is a file, and a collection is a folder: {put}"
    if path.is_symlink():
        target = os.fspath(path.readlink())
        if not path.exists():
            return f"it is a broken symbolic link to {target}: remove the link"
        return f"it is a symbolic link to {target}: replace the link by a copy of its target"
    if not holds_a_file(path):
        return "it contains no files"
    return None


def reason_against_name(name: str) -> str | None:
    """Why a name is not allowed for a collection; None when it is."""
    try:
        check_collection_name(name)
    except RefusedError as error:
        return str(error)
    return None


def holds_a_file(path: Path) -> bool:
    """Whether this is a file, or a folder with a file other than file manager leftovers."""
    return path.is_file() or any(
        find_leftover_in((Path(where) / name).relative_to(path).as_posix()) is None
        for where, _, files in os.walk(path)
        for name in files
    )
