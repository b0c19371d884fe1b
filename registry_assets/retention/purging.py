"""Removing the remaining copies of a forgotten picture: remotes, cache, contact sheets, thumbnails.

Safe to rerun after an interruption or a failure; the record says which steps are done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.forgotten import Forgotten
from registry_assets.registry.contact_sheets import clear_kept_sheets
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.reading import read_registry
from registry_assets.registry.thumbnails import clear_kept_thumbnails
from registry_assets.retention.occurrences import Occurrences
from registry_assets.retention.planning import now, write_record
from registry_assets.units import count_of

CACHE = "cache"
"""The name of this machine's cache in the record."""


def purge(
    dvc: DvcRepo,
    occurrences: Occurrences,
    entry: Forgotten,
    remotes: Sequence[str],
    report: Callable[[str], None],
) -> Iterator[str]:
    """Remove the objects of a picture and of derived files that no current version needs.

    Args:
        dvc: The repository.
        occurrences: The picture and derived files.
        entry: The record of the picture.
        remotes: The names of the remotes to remove it from.
        report: Called with a message for each place.

    Yields:
        A message for each failure; the other steps are carried out.
    """

    def find_needed() -> Collection[str]:
        lineage = build_lineage(read_registry(dvc.root))
        return Tracer(lineage, dvc.listings()).find_standing(occurrences.contents)

    def note(place: str) -> Forgotten:
        gone = Forgotten(entry.md5, None, entry.when, purged=now(), purged_from=(place,))
        return write_record(dvc, gone)

    for name in remotes:
        contents = sorted(set(occurrences.contents) - set(find_needed()))
        try:
            dvc.remove_from_remote(name, contents, report=report)
        except RegistryError as error:
            yield str(error)
        else:
            note(name)
            report(f"removed from remote {name}")
    try:
        count = len(dvc.remove_from_cache(occurrences.contents, find_needed, report=report))
    except RegistryError as error:
        yield str(error)
    else:
        note(CACHE)
        report(f"removed {count_of(count, 'object')} from the cache")
    # After the objects, so that nothing that shows the picture is created again.
    try:
        count = clear_kept_sheets(dvc.root)
    except OSError as error:
        yield f"contact sheets that may show it could not be removed: {error}; remove them by hand"
    else:
        if count:
            report(f"removed {count_of(count, 'contact sheet')} kept for the UI")
    try:
        count = clear_kept_thumbnails(dvc.root, occurrences.contents)
    except OSError as error:
        yield f"thumbnails that show it could not be removed: {error}; remove them by hand"
    else:
        if count:
            report(f"removed {count_of(count, 'thumbnail')} of it")
