"""Removing a forgotten picture from where it is left: remotes, cache, and contact sheets.

Each step is done again when it is asked for again, and the record says which are done, so that one
that was interrupted, or a remote that went away, costs another call and nothing else.
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
from registry_assets.retention.occurrences import Occurrences
from registry_assets.retention.planning import now, write_record

CACHE = "cache"
"""What the record calls this machine's cache."""


def purge(
    dvc: DvcRepo,
    occurrences: Occurrences,
    entry: Forgotten,
    remotes: Sequence[str],
    report: Callable[[str], None],
) -> Iterator[str]:
    """Removes the objects of a picture, and of what was made of it, that no current version has.

    Args:
        dvc: The repository.
        occurrences: The picture.
        entry: The record of it.
        remotes: From which remotes, by name.
        report: Takes a line for each place.

    Yields:
        What could not be done, a line each; the rest is done all the same.
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
        count = dvc.remove_from_cache(occurrences.contents, find_needed, report=report)
    except RegistryError as error:
        yield str(error)
    else:
        note(CACHE)
        report(f"removed {count} object{'s' if count != 1 else ''} from the cache")
    # After the objects, so that none with the picture is made again.
    try:
        count = clear_kept_sheets(dvc.root)
    except OSError as error:
        yield f"contact sheets that may show it are left: {error}; remove them by hand"
    else:
        if count:
            report(f"removed {count} contact sheet{'s' if count != 1 else ''} kept for the UI")
