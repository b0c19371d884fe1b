"""Copying or linking a folder from elsewhere into the raw folder, verified and resumable."""

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

from registry_assets.errors import DISK_STEPS, RegistryError
from registry_assets.images.contents import SET_ASIDE_PREFIX
from registry_assets.leftovers import find_leftover
from registry_assets.registry.status.staging import Landing, Note

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _SourceFile:
    """An entry of the source folder, with what shows whether it changed."""

    path: str
    mode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Copied:
    """The progress of copying.

    Attributes:
        files: Number of files done.
        all_files: Number of files in all.
        size: Size of the files done, in bytes.
        whole_size: Size of all files, in bytes.
        kept: Number of files that an earlier attempt had copied.
    """

    files: int
    all_files: int
    size: int
    whole_size: int
    kept: int


def copy_collection(
    source: Path, landing: Landing, report: Callable[[Copied], None], *, link: bool = False
) -> Mapping[str, int]:
    """Copy a folder from elsewhere into the raw folder, where it appears once complete.

    Every file is hashed while it is read, and its copy is hashed again. Files that an interrupted
    attempt copied are not copied again, unless size or date of the original changed. Anything that
    is not a file becomes a note, as in `setting_aside`. Leftovers of file managers are not copied.

    Args:
        source: The folder.
        landing: The folder in which it is assembled.
        report: Called with the progress after each file.
        link: Whether to make hardlinks instead of copies.

    Returns:
        The number of leftovers of file managers that were not copied, by pattern.

    Raises:
        RegistryError: when a file cannot be read, written or linked; finished copies are kept.
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
                f"{source} changed while it was copied: run this again once nobody writes to it"
            )
        landing.land(landing.folder, note)
    return left_out


def _entries(source: Path, left_out: Counter[str]) -> Iterator[_SourceFile]:
    """The entries of a folder and its subfolders, sorted; does not follow links.

    Leftovers of file managers are skipped, and counted by pattern in `left_out`.
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
    done = {entry: md5 for entry, md5 in _read_journal(landing) if _stands(landing, entry, md5)}
    _remove_others(landing.folder, {entry.path for entry in entries if entry in done})
    whole = sum(entry.size for entry in entries)
    missing = whole - sum(entry.size for entry in entries if entry in done)
    free = shutil.disk_usage(landing.target.parent).free
    if not link and missing > free:
        raise RegistryError(
            f"{source} does not fit on the disk: {missing:,} bytes to copy, {free:,} free"
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
    """The files that earlier attempts copied; skips an incomplete last line."""
    try:
        lines = landing.journal.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if line.endswith("\n"):
            # A line that another version wrote cannot be read: copy that file again.
            with suppress(ValueError, AttributeError, KeyError, TypeError):
                told = json.loads(line)
                md5 = told.pop("md5")
                yield _SourceFile(**told), md5


def _stands(landing: Landing, entry: _SourceFile, md5: str) -> bool:
    """Whether a file is there as it was copied; what was not synced, a power cut takes away."""
    place = landing.folder / entry.path
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(entry.mode):
        return True
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        return False
    with place.open("rb") as stream:
        return not md5 or _hash(stream) == md5


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove files of an earlier attempt that the source no longer has, or has changed."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(where) / name
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()


def _bring(source: Path, entry: _SourceFile, landing: Landing, *, link: bool) -> str:
    """Copy or link one entry; returns its md5, or "" if it was not read."""
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
        raise RegistryError(describe_failed_copy(original, error, link=link)) from error
    return md5


def describe_failed_copy(original: Path, error: OSError, *, link: bool) -> str:
    """The message for a file that cannot be copied or linked, with the next step."""
    step = DISK_STEPS.get(error.errno or 0)
    if step is not None:
        return f"{original} cannot be copied, as {step}; it continues where it stopped"
    if link:
        return f"{original} cannot be linked ({error.strerror}): copy it, without --link"
    return (
        f"{original} cannot be copied ({error.strerror}): fix this and run it again to continue "
        "where it stopped"
    )


def _copy(original: Path, place: Path) -> str:
    with original.open("rb") as source, place.open("xb") as target:
        md5 = _hash(source, target)
    with place.open("rb") as copy:
        if _hash(copy) != md5:
            raise RegistryError(f"the copy of {original} differs from the original: check the disk")
    return md5


def _hash(stream: IO[bytes], target: IO[bytes] | None = None) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest()
