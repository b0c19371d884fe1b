"""Turning archives into collections: unpacks them, and sets the archives aside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry_assets.errors import RejectedError
from registry_assets.fingerprint import fingerprint_file
from registry_assets.intake.setting_aside import free_place_aside
from registry_assets.intake.unpacking import (
    UnpackingLimits,
    unpack,
)
from registry_assets.leftovers import describe_left_out
from registry_assets.model import Settings, metafile_of
from registry_assets.registry.status.archive_names import (
    archive_stem,
    unreadable_stem,
    why_unreadable,
)
from registry_assets.registry.status.staging import Landing, Note


def limits_of(settings: Settings) -> UnpackingLimits:
    """The unpacking limits in the settings."""
    return UnpackingLimits(
        most_ratio=settings.archive_most_ratio,
        most_files=settings.archive_most_files,
        free_bytes=int(settings.archive_free_gigabytes * 1e9),
    )


def find_archive(place: Path) -> Path | None:
    """The archive in the raw folder that would become a collection.

    Args:
        place: The path of the collection.

    Raises:
        RejectedError: when the only such archive is of an unsupported kind.
    """
    names = set(os.listdir(place.parent)) if place.parent.is_dir() else set()
    files = [place.with_name(name) for name in sorted(names) if metafile_of(name) not in names]
    for file in files:
        if archive_stem(file.name) == place.name and file.is_file():
            return file
    for file in files:
        reason = why_unreadable(file.name)
        if reason is not None and unreadable_stem(file.name) == place.name and file.is_file():
            raise RejectedError(file.name, reason)
    return None


@contextmanager
def unpacked(place: Path, limits: UnpackingLimits, report: Callable[[str], None]) -> Iterator[None]:
    """A context for registering a collection that may be an archive in the raw folder.

    Unpacks the archive on entry, if neither the collection nor its ``.dvc`` file exists; sets the
    archive aside on exit, if the collection was registered.

    Args:
        place: The path of the collection.
        limits: The limits for unpacking.
        report: Called with progress messages.

    Raises:
        RejectedError: when the archive is rejected; it stays, and the reason is remembered.
    """
    landing = Landing(place.parent, place.name)
    metafile = place.with_name(metafile_of(place.name))
    note = landing.read_note()
    if os.path.lexists(place) or metafile.exists():
        # There may be an archive that was unpacked by an interrupted attempt.
        is_beside = note is not None and "/" not in note.source
        archive = place.with_name(note.source) if note is not None and is_beside else None
    else:
        archive = find_archive(place)
    if archive is None or not archive.is_file():
        yield
        return
    with landing.held():
        stamp = fingerprint_file(archive)
        if not os.path.lexists(place) and not metafile.exists():
            report(f"unpacking {archive.name}")
            left_out = unpack_into(archive, landing, limits)
            if left_out:
                report(describe_left_out(left_out))
        yield
        note = landing.read_note()
        if metafile.exists() and note == Note(archive.name, stamp):
            aside = free_place_aside(place.parent, archive.name)
            archive.rename(aside)
            landing.forget()
            report(f"moved {archive.name} to {aside.relative_to(place.parent.parent)}")
        elif note is None:
            landing.forget()


def unpack_into(archive: Path, landing: Landing, limits: UnpackingLimits) -> Mapping[str, int]:
    """Unpack an archive into the raw folder; remembers the reason if it is rejected.

    Returns:
        The number of leftovers of file managers that were not unpacked, by pattern.

    Raises:
        RejectedError: when the archive is rejected.
    """
    is_beside = archive.parent == landing.target.parent
    source = archive.name if is_beside else str(archive.absolute())
    note = Note(source, fingerprint_file(archive))
    landing.clear()
    left_out: list[str] = []
    try:
        content = unpack(archive, landing.folder, limits, left_out.append)
    except RejectedError as error:
        if is_beside:
            landing.write_note(replace(note, refusal=error.reason))
        raise
    landing.land(content, note)
    return Counter(left_out)
