"""Archives that become collections: unpacked, put into their place, and moved to the side."""

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
    """What an archive may become in a registry."""
    return UnpackingLimits(
        most_ratio=settings.archive_most_ratio,
        most_files=settings.archive_most_files,
        free_bytes=int(settings.archive_free_gigabytes * 1e9),
    )


def find_archive(place: Path) -> Path | None:
    """The archive beside a collection's place that is named like it, in small or large letters.

    Raises:
        RejectedError: when the only one is of a kind that cannot be read here.
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
    """While a collection is registered that may have come as an archive, beside its place.

    Unpacks the archive where neither the collection nor its ``.dvc`` file is there, and moves it
    to the side when the collection was registered.

    Args:
        place: Where the collection is, or is to be.
        limits: What the archive may become.
        report: Takes progress.

    Raises:
        RejectedError: with the reason; the archive stays, and the reason is remembered.
    """
    landing = Landing(place.parent, place.name)
    metafile = place.with_name(metafile_of(place.name))
    note = landing.read_note()
    if os.path.lexists(place) or metafile.exists():
        # Unpacked before this was interrupted, if an archive has to do with it.
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
    """Unpacks an archive and puts the content into its place; a refusal is remembered.

    Returns:
        How many files were left out, as file managers leave them, by the pattern that they fit.

    Raises:
        RejectedError: with the reason.
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
