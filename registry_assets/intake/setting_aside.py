"""Moving files out of a collection that DVC cannot or should not store."""

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
from registry_assets.writing import write_whole

SET_ASIDE_FOLDER = ".set_aside"
"""In the raw folder: the files set aside, by collection, and archives that were unpacked."""


def set_aside_unstorable(
    folder: Path,
    store: Path,
    *,
    is_ignored: IgnoreRule | None = None,
    read_recorded: Callable[[], Collection[str]] = frozenset,
) -> dict[str, str]:
    """Move files that DVC cannot or should not store out of a collection, each replaced by a note.

    DVC fails on broken links, names that are not UTF-8 and unreadable files, hangs on pipes, and
    stores the content behind links that lead out of the collection. It skips folders with a
    ``.dvc`` folder, and would run the commands of a ``dvc.yaml``. The note, a small text file,
    tells the table of measurements why the file is not in the data set. Leftovers of file managers
    get no note, and stay if DVC ignores them.

    Args:
        folder: The collection.
        store: The cache; links into it are DVC's own.
        is_ignored: Tells what DVC ignores in the folder by rules outside of it; None to accept
            files named like metafiles, which outside of families may be intended.
        read_recorded: Reads the files of the recorded version, which are data whatever their name.
            Called only if a name is suspicious.

    Returns:
        The reasons, by path inside the folder.

    Raises:
        RegistryError: when a file cannot be moved.
    """
    found = dict(_find_unstorable(folder, store, is_ignored, read_recorded))
    _set_aside(folder, found)
    return {printable(name): reason for name, reason in found.items()}


def set_aside_forgotten(folder: Path, forgotten: Mapping[str, Forgotten]) -> dict[str, str]:
    """Move forgotten pictures that have come back out of a collection, each replaced by a note.

    Hashes only files with the size of a forgotten picture.

    Args:
        folder: The collection.
        forgotten: The forgotten pictures, by md5.

    Returns:
        The reasons, by path inside the folder.

    Raises:
        RegistryError: when a file cannot be moved.
    """
    sizes = {entry.size for entry in forgotten.values()}
    found = {}
    for where, _, files in os.walk(folder) if forgotten else ():
        for name in files:
            path = Path(where) / name
            # If a size was not recorded, every file has to be hashed.
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
                f"failed ({error.strerror or error}): make it readable, or remove it"
            ) from error
        if reason == LEFTOVER_REASON:
            continue
        # With another name, if DVC would treat the note as a metafile.
        is_refused = refused_reason(Path(name).name, is_folder=False) is not None
        note = _free(folder / f"{printable(name)}{'.txt' if is_refused else ''}")
        note.write_bytes(SET_ASIDE_PREFIX + f"{reason}\n".encode())


def free_place_aside(raw: Path, name: str) -> Path:
    """A free path for a file to set aside, numbered if the name is taken."""
    store = raw / SET_ASIDE_FOLDER
    wanted = store / name
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for ignore in (store / ".gitignore", store / ".dvcignore"):
        if not ignore.exists():
            write_whole(ignore, "*\n")
    return _free(wanted)


def _free(wanted: Path) -> Path:
    numbered = (wanted.with_name(f"{wanted.name}.{number}") for number in count(2))
    return next(place for place in chain([wanted], numbered) if not os.path.lexists(place))


def _move(source: Path, target: Path) -> None:
    mode = source.lstat().st_mode
    if not stat.S_ISDIR(mode):
        shutil.move(source, target)
        return
    # Moving a folder needs write permission to it.
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
    """Whether a version has a file at, or below, a path."""
    return path in recorded or any(name.startswith(f"{path}/") for name in recorded)


def _unstorable_reason(entry: os.DirEntry[str], inside: Path, store: Path) -> str | None:
    if not is_text(entry.name):
        return "its name is not UTF-8"
    if entry.is_symlink():
        target = Path(entry.path).readlink()
        try:
            resolved = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
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
