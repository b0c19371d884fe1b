"""What does not belong into a collection, moved to the side before DVC stores the rest."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain, count
from pathlib import Path

from registry_assets.dvc_repo import IgnoreRule, refused_reason
from registry_assets.errors import RegistryError
from registry_assets.forgotten import Forgotten
from registry_assets.images.contents import SET_ASIDE_PREFIX, hash_file
from registry_assets.leftovers import REASON as LEFTOVER_REASON
from registry_assets.leftovers import find_leftover
from registry_assets.units import is_text, printable

SET_ASIDE_FOLDER = ".set_aside"
"""In the raw folder: what DVC cannot store, by collection, and archives that became collections."""


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
