"""What stands in the folder that collections are dropped into, before DVC knows it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from registry_assets.arriving.landing import Landing, stamp_of
from registry_assets.arriving.unpacking import archive_stem, unreadable_stem, why_unreadable
from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.folders.ignoring import IgnoreRule, refused_reason
from registry_assets.errors import CollectionNameError, KeptOutError, RegistryError
from registry_assets.forgotten import Forgotten
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import KeptOut, find_kept_out
from registry_assets.images.contents import SET_ASIDE_PREFIX, has_image_suffix, hash_file
from registry_assets.images.entries import is_video
from registry_assets.leftovers import REASON as LEFTOVER_REASON
from registry_assets.leftovers import find_leftover, find_leftover_in
from registry_assets.model import check_collection_name
from registry_assets.units import is_text, printable

SET_ASIDE_FOLDER = ".set_aside"
"""In the raw folder: what DVC cannot store, by collection, and archives that became collections."""


@dataclass(frozen=True)
class Arrival:
    """A folder that DVC does not track, an archive, or photographs outside any folder.

    Attributes:
        name: Of the collection; of an archive, without its ending; of photographs and videos that
            lie in the raw folder itself, that of the first.
        reason: Why it cannot be taken in as it is, None when it can.
        is_loose: Whether it stands for such photographs and videos.
    """

    name: str
    path: Path
    reason: str | None = None
    is_loose: bool = False


@dataclass(frozen=True)
class Extent:
    """What a folder holds, without reading any of it.

    Attributes:
        nfiles: Files, links and the like, in all sub-folders.
        size: Bytes.
        changed: When anything in it changed last, in seconds since the epoch: contents, or, as
            copies keep the dates of their originals, the entries themselves.
    """

    nfiles: int
    size: int
    changed: float


def find_arrivals(folder: Path) -> Iterator[Arrival]:
    """Finds what is, or should be, in a folder without a ``.dvc`` file beside it, sorted by name.

    Folders, links to folders, archives, and as one arrival all photographs and videos that lie
    there loose. Looks at the names only, so that ten thousand tracked collections cost one listing.
    What Git keeps the ``.dvc`` file of out of the work tree cannot be taken in a second time.
    """
    kept_out: KeptOut | None = None
    for arrival in _find_untracked(folder):
        kept_out = kept_out or find_kept_out(GitRepo(folder))
        metafile = f"{arrival.name}.dvc"
        if arrival.reason is None and kept_out.lacks(metafile):
            path = f"{GitRepo(folder).prefix()}{metafile}"
            arrival = replace(arrival, reason=str(KeptOutError(path)))
        yield arrival


def _find_untracked(folder: Path) -> Iterator[Arrival]:
    try:
        with os.scandir(folder) as listing:
            entries = {entry.name: entry for entry in listing}
    except FileNotFoundError:
        return
    loose: list[str] = []
    first_of_name: dict[str, str] = {}
    for name in sorted(entries):
        if name.startswith(".") or f"{name}.dvc" in entries:
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
    """Arrivals, those with the reason whose ``.dvc`` file DVC would not see."""
    listed = list(arrivals)
    metafiles = {
        arrival.path: f"{dvc.relative(arrival.path.with_name(arrival.name))}.dvc"
        for arrival in listed
        if arrival.reason is None
    }
    reasons = dvc.why_unseen(list(metafiles.values())) if metafiles else {}
    for arrival in listed:
        reason = reasons.get(metafiles.get(arrival.path, ""))
        yield arrival if reason is None else replace(arrival, reason=str(reason))


def _archive_arrival(
    archive: Path, name: str, beside: Collection[str], first: str
) -> Arrival | None:
    """What an archive is to become; None when it is the folder beside it already.

    Args:
        archive: The archive.
        name: Of the collection.
        beside: The names of all that lies beside it.
        first: The first of the archives that would become the same collection.
    """
    note = Landing(archive.parent, name).read_note()
    is_known = note is not None and (note.source, note.stamp) == (archive.name, stamp_of(archive))
    is_tracked = f"{name}.dvc" in beside
    reason = reason_against_name(name)
    if is_known and note is not None and note.refusal is None and (is_tracked or name in beside):
        return Arrival(name, archive) if is_tracked else None
    if is_tracked or name in beside:
        reason = f"there is a collection {name} already: rename the archive, or take it away"
    elif first != archive.name:
        reason = f"{first} has the same name: rename one of them"
    elif (unreadable := why_unreadable(archive.name)) is not None:
        reason = unreadable
    elif is_known and note is not None:
        reason = note.refusal
    return Arrival(name, archive, reason)


def reason_against(name: str, path: Path) -> str | None:
    """Why a folder, or what is no folder, cannot become a collection, None when it can."""
    reason = why_unreadable(name) if path.is_file() else None
    reason = reason or reason_against_name(name)
    if reason is not None:
        return reason
    # Other single files (a list, a table) are versions of their own, as `dvc add` makes them.
    if path.is_file() and (has_image_suffix(name) or is_video(name)):
        put = f"put it into one, {path.parent.name}/NAME/{name}"
        return f"it is a file, and a collection is a folder: {put}"
    if path.is_symlink():
        target = os.fspath(path.readlink())
        if not path.exists():
            return f"it is a symbolic link to {target}, which is not there: remove the link"
        return f"it is a symbolic link to {target}: copy what it leads to into a folder here"
    if not holds_a_file(path):
        return "there are no files in it"
    return None


def reason_against_name(name: str) -> str | None:
    """Why a collection cannot have a name, None when it can."""
    try:
        check_collection_name(name)
    except CollectionNameError as error:
        return str(error)
    return None


def holds_a_file(path: Path) -> bool:
    """Whether there is a file, or a file somewhere in a folder that no file manager left there."""
    return path.is_file() or any(
        find_leftover_in((Path(where) / name).relative_to(path).as_posix()) is None
        for where, _, files in os.walk(path)
        for name in files
    )


def measure_extent(path: Path) -> Extent:
    """Counts what is in a folder, or takes a file, and finds when it changed last."""
    status = path.lstat()
    changed = status.st_ctime
    nfiles, size = (0, 0) if stat.S_ISDIR(status.st_mode) else (1, status.st_size)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                status = (Path(folder) / name).lstat()
            except FileNotFoundError:
                continue
            changed = max(changed, status.st_ctime)
            if not stat.S_ISDIR(status.st_mode):
                nfiles += 1
                size += status.st_size
    return Extent(nfiles, size, changed)


def set_aside_unstorable(
    folder: Path,
    store: Path,
    *,
    is_ignored: IgnoreRule | None = None,
    read_recorded: Callable[[], Collection[str]] = frozenset,
) -> dict[str, str]:
    """Moves what DVC cannot, or should not, store out of a collection, leaving a note for each.

    DVC stops at a link to nothing, at a name that is no text and at a file it may not read, waits
    for ever at a pipe, and takes in the content of whatever a link leads to, wherever that is. It
    leaves out what lies beside a ``.dvc``, and would run the commands of a ``dvc.yaml``. Each is
    moved to the side, and a small text file takes its place, so that the collection can be
    registered, and that the table of measurements can say why the file is not in the data set.
    What file managers leave needs no note; where DVC ignores it, it stays.

    Args:
        folder: The collection.
        store: Where the cache is; links into it are DVC's own.
        is_ignored: What DVC ignores in the folder, by what is written outside of it; None where
            somebody may mean what is called like a metafile, as in no folder of a family.
        read_recorded: Gives the files of the recorded version: those are data by now, whatever
            they are called. Asked only where something is called so.

    Returns:
        The reason by path inside the folder.

    Raises:
        RegistryError: when something cannot be moved.
    """
    found = dict(_find_unstorable(folder, store, is_ignored, read_recorded))
    _set_aside(folder, found)
    return {printable(name): reason for name, reason in found.items()}


def set_aside_forgotten(folder: Path, forgotten: Mapping[str, Forgotten]) -> dict[str, str]:
    """Moves pictures that were forgotten and have come back out of a collection, as the unstorable.

    Reads only files that are as large as one that was forgotten.

    Args:
        folder: The collection.
        forgotten: What was forgotten, by md5.

    Returns:
        The reason by path inside the folder.

    Raises:
        RegistryError: when a file cannot be moved.
    """
    sizes = {entry.size for entry in forgotten.values()}
    found = {}
    for where, _, files in os.walk(folder) if forgotten else ():
        for name in files:
            path = Path(where) / name
            # What was recorded without its size cannot be told but by reading everything.
            if None not in sizes and path.stat().st_size not in sizes:
                continue
            entry = forgotten.get(hash_file(path))
            if entry is not None:
                found[path.relative_to(folder).as_posix()] = entry.reason
    _set_aside(folder, found)
    return found


def _set_aside(folder: Path, found: Mapping[str, str]) -> None:
    for name, reason in found.items():
        try:
            _move(folder / name, free_place_aside(folder.parent, f"{folder.name}/{name}"))
        except OSError as error:
            raise RegistryError(
                f"{folder.name}/{printable(name)} cannot be stored ({reason}), and moving it aside "
                f"failed ({error.strerror or error}): make it readable, or take it away"
            ) from error
        if reason == LEFTOVER_REASON:
            continue
        # Not under its name, where DVC would take the note for what it was.
        is_refused = refused_reason(Path(name).name, is_folder=False) is not None
        note = _free(folder / f"{printable(name)}{'.txt' if is_refused else ''}")
        note.write_bytes(SET_ASIDE_PREFIX + f"{reason}\n".encode())


def free_place_aside(raw: Path, name: str) -> Path:
    """Where to put what is set aside; a number tells it from what was set aside before."""
    store = raw / SET_ASIDE_FOLDER
    wanted = store / name
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for ignore in (store / ".gitignore", store / ".dvcignore"):
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    return _free(wanted)


def _free(wanted: Path) -> Path:
    numbered = (wanted.with_name(f"{wanted.name}.{number}") for number in count(2))
    return next(place for place in chain([wanted], numbered) if not os.path.lexists(place))


def _move(source: Path, target: Path) -> None:
    mode = source.lstat().st_mode
    if not stat.S_ISDIR(mode):
        shutil.move(source, target)
        return
    # Moving a folder takes the right to write to it.
    source.chmod(mode | stat.S_IRWXU)
    shutil.move(source, target)
    target.chmod(stat.S_IMODE(mode))


def _find_unstorable(
    folder: Path,
    store: Path,
    is_ignored: IgnoreRule | None,
    read_recorded: Callable[[], Collection[str]],
) -> Iterator[tuple[str, str]]:
    inside, store = folder.resolve(), store.resolve()
    waiting = [(str(folder), "")]
    while waiting:
        where, prefix = waiting.pop()
        with os.scandir(where) as entries:
            for entry in entries:
                path = f"{prefix}{entry.name}"
                is_folder = entry.is_dir(follow_symlinks=False)
                named = None
                if is_ignored is not None:
                    named = _reason_by_name(entry.name, is_folder=is_folder)
                    if named == LEFTOVER_REASON and is_ignored(where, entry.name, is_folder):
                        continue
                reason = _unstorable_reason(entry, inside, store)
                if reason is None and named is not None and not _holds(read_recorded(), path):
                    reason = named
                if reason is not None:
                    yield path, reason
                elif is_folder:
                    waiting.append((entry.path, f"{path}/"))


def _reason_by_name(name: str, *, is_folder: bool) -> str | None:
    if find_leftover(name, is_folder=is_folder) is not None:
        return LEFTOVER_REASON
    return refused_reason(name, is_folder=is_folder)


def _holds(recorded: Collection[str], path: str) -> bool:
    """Whether a version has a file at a path, or in a folder there."""
    return path in recorded or any(name.startswith(f"{path}/") for name in recorded)


def _unstorable_reason(entry: os.DirEntry[str], inside: Path, store: Path) -> str | None:
    if not is_text(entry.name):
        return "its name is not UTF-8"
    if entry.is_symlink():
        target = Path(entry.path).readlink()
        try:
            resolved = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
            return f"broken symbolic link to {target}"
        if not resolved.is_relative_to(inside) and not resolved.is_relative_to(store):
            return f"symbolic link out of the collection, to {target}"
        return None
    if entry.is_dir():
        return (
            None
            if os.access(entry.path, os.R_OK | os.X_OK)
            else "unreadable folder: permission denied"
        )
    if not entry.is_file():
        return "not a regular file"
    return None if os.access(entry.path, os.R_OK) else "unreadable: permission denied"
