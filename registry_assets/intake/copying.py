"""A folder from elsewhere brought into the raw folder: file by file, verified, and resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from registry_assets.errors import RegistryError
from registry_assets.images.contents import SET_ASIDE_PREFIX
from registry_assets.leftovers import find_leftover
from registry_assets.registry.status.staging import Landing, Note

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _SourceFile:
    """A file or the like at the source: what tells whether it changed."""

    path: str
    mode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Copied:
    """How far copying is.

    Attributes:
        files: How many files stand where they should, of `all_files`.
        size: How many bytes they have, of `whole_size`.
        kept: How many of the files an earlier attempt had copied.
    """

    files: int
    all_files: int
    size: int
    whole_size: int
    kept: int


def copy_collection(
    source: Path, landing: Landing, report: Callable[[Copied], None], *, link: bool = False
) -> Mapping[str, int]:
    """Brings a folder from elsewhere into the raw folder, where it appears whole.

    Every file is hashed while it is read, and its copy is read again and has to give the same.
    What an interrupted attempt copied is not copied again, as long as size and date of the
    original are the same. What is no file becomes a note, as when DVC could not store it. What file
    managers and NAS leave in folders stays there.

    Args:
        source: The folder.
        landing: Where it is gathered.
        report: Takes how far it is, file by file.
        link: Whether to make second names of the files instead of copies.

    Returns:
        How many files were left out, as file managers leave them, by the pattern that they fit.

    Raises:
        RegistryError: naming what cannot be read, written or linked; what was copied is kept.
    """
    left_out: Counter[str] = Counter()
    note = Note(str(source.resolve()), "linked" if link else "copied")
    if landing.target.exists() and landing.read_note() == note:
        return left_out
    with landing.held():
        if landing.read_note() != note:
            landing.clear()
            landing.write_note(note)
        entries = list(_entries(source, left_out))
        _gather(source, entries, landing, report, link=link)
        if list(_entries(source, Counter())) != entries:
            raise RegistryError(
                f"{source} changed while it was copied: run the same again when it is quiet"
            )
        landing.land(landing.folder, note)
    return left_out


def _entries(source: Path, left_out: Counter[str]) -> Iterator[_SourceFile]:
    """What is in a folder and its sub-folders, sorted; links are not followed.

    Counts what file managers left there, by pattern, which is not among that.
    """

    def stop(error: OSError) -> None:
        raise RegistryError(f"{error.filename} cannot be read: {error.strerror}") from error

    for folder, folders, files in os.walk(source, onerror=stop):
        for name in folders:
            pattern = find_leftover(name, is_folder=True)
            if pattern is not None:
                inside = os.walk(Path(folder) / name)
                left_out[pattern] += sum(len(names) for _, _, names in inside)
        folders[:] = sorted(n for n in folders if find_leftover(n, is_folder=True) is None)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(folder) / name
            pattern = find_leftover(name)
            if pattern is not None:
                left_out[pattern] += 1
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            yield _SourceFile(
                path.relative_to(source).as_posix(),
                stat.S_IFMT(status.st_mode),
                status.st_size,
                status.st_mtime_ns,
            )


def _gather(
    source: Path,
    entries: list[_SourceFile],
    landing: Landing,
    report: Callable[[Copied], None],
    *,
    link: bool,
) -> None:
    done = {entry: md5 for entry, md5 in _read_journal(landing) if _stands(landing, entry)}
    _remove_others(landing.folder, {entry.path for entry in entries if entry in done})
    whole = sum(entry.size for entry in entries)
    missing = whole - sum(entry.size for entry in entries if entry in done)
    free = shutil.disk_usage(landing.target.parent).free
    if not link and missing > free:
        raise RegistryError(
            f"{source} does not fit: {missing:,} bytes are to be copied, {free:,} are free"
        )
    files = size = kept = 0
    landing.folder.mkdir(parents=True, exist_ok=True)
    with landing.journal.open("a", encoding="utf-8") as journal:
        for entry in entries:
            if entry in done:
                kept += 1
            else:
                md5 = _bring(source, entry, landing, link=link)
                journal.write(json.dumps({**asdict(entry), "md5": md5}) + "\n")
                journal.flush()
            files, size = files + 1, size + entry.size
            report(Copied(files, len(entries), size, whole, kept))


def _read_journal(landing: Landing) -> Iterator[tuple[_SourceFile, str]]:
    """What earlier attempts copied; a line that was being written when one ended is no line."""
    try:
        lines = landing.journal.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if line.endswith("\n"):
            # A line that cannot be read is one of another version: its file is copied again.
            with suppress(ValueError, AttributeError, KeyError, TypeError):
                told = json.loads(line)
                md5 = told.pop("md5")
                yield _SourceFile(**told), md5


def _stands(landing: Landing, entry: _SourceFile) -> bool:
    place = landing.folder / entry.path
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    is_file = stat.S_ISREG(entry.mode)
    return not is_file or (stat.S_ISREG(status.st_mode) and status.st_size == entry.size)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Removes what an earlier attempt left and the source does not have like that any more."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(where) / name
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()


def _bring(source: Path, entry: _SourceFile, landing: Landing, *, link: bool) -> str:
    """Puts one file into its place; returns its md5, "" where it was not read."""
    original, place = source / entry.path, landing.folder / entry.path
    md5 = ""
    landing.unfinished.unlink(missing_ok=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(entry.mode):
            landing.unfinished.symlink_to(original.readlink())
        elif not stat.S_ISREG(entry.mode):
            landing.unfinished.write_bytes(SET_ASIDE_PREFIX + b"not a regular file\n")
        elif link:
            landing.unfinished.hardlink_to(original)
        else:
            md5 = _copy(original, landing.unfinished)
            os.utime(landing.unfinished, ns=(entry.mtime_ns, entry.mtime_ns))
        landing.unfinished.replace(place)
    except OSError as error:
        raise RegistryError(_explain(original, error, link=link)) from error
    return md5


def _explain(original: Path, error: OSError, *, link: bool) -> str:
    if link:
        return f"{original} cannot be linked ({error.strerror}): leave --link out, and it is copied"
    return (
        f"{original} cannot be copied ({error.strerror}): mend it and run the same again, which "
        "goes on where it stopped"
    )


def _copy(original: Path, place: Path) -> str:
    with original.open("rb") as source, place.open("xb") as target:
        md5 = _hash(source, target)
    with place.open("rb") as copy:
        if _hash(copy) != md5:
            raise RegistryError(f"the copy of {original} is not what was read: check the disk")
    return md5


def _hash(stream: IO[bytes], target: IO[bytes] | None = None) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest()
