"""Finding the objects of the cache that are originals: they could not be recomputed.

An object is recomputable if a stage made it and the stage's dependencies are available. Files that
a stage only passes on, such as pictures that it links, were not made by it. Unknown objects count
as originals: a photograph that was removed from a collection before it was ever committed is in no
metafile, and only its object is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from registry_assets.model import Registry, is_folder
from registry_assets.revisions.changes.version_history import Recorded


class Contents(Protocol):
    """Reads the contents of versions, as `Listings` does."""

    def contents(self, version: str) -> frozenset[str] | None:
        """The md5s of the files of a version; None if unknown."""


@dataclass(frozen=True)
class _Making:
    """The objects that one run of a stage made, and those that it read."""

    made: frozenset[str]
    needs: frozenset[str]


def find_originals(
    registry: Registry,
    listings: Contents,
    runs: Iterable[Recorded],
    objects: Collection[str],
    staying: Collection[str],
) -> frozenset[str]:
    """Find the objects that could not be recomputed.

    Args:
        registry: The registry.
        listings: Reads the contents of versions.
        runs: All known runs of stages.
        objects: The objects to check.
        staying: The objects that stay in the cache anyway.
    """
    asked = frozenset(objects)
    known = asked.union(staying)
    makings = list(_find_makings(registry, listings, runs, asked, known))
    could_be_made = asked & frozenset().union(*(making.made for making in makings))
    # Repeat, because an object may be recomputable from recomputable objects.
    there = known - could_be_made
    while fresh := {md5 for m in makings if m.needs <= there for md5 in m.made & asked} - there:
        there |= fresh
    return asked - (could_be_made & there)


def _find_makings(
    registry: Registry,
    listings: Contents,
    runs: Iterable[Recorded],
    asked: Collection[str],
    known: Collection[str],
) -> Iterator[_Making]:
    for entry in runs:
        outputs = {version.md5 for version in entry.outputs.values()}
        if not entry.read or outputs.isdisjoint(asked):
            # The output of a stage without dependencies may come from anywhere, such as a download.
            continue
        made = _expand(outputs, listings)
        data = {
            version.md5
            for path, version in entry.read.items()
            if is_folder(version.md5) or version.md5 in known or not _is_code(registry, path)
        }
        read = _expand(data, listings)
        if made is not None and read is not None:
            yield _Making(made - read, read)


def _expand(versions: Collection[str], listings: Contents) -> frozenset[str] | None:
    """Versions with their contents; None if those of any version are unknown."""
    held = [listings.contents(version) for version in versions]
    return None if None in held else frozenset(versions).union(*filter(None, held))


def _is_code(registry: Registry, path: str) -> bool:
    """Whether a dependency is an existing file that is not data.

    Args:
        registry: The registry.
        path: The path, relative to the root or to the folder of a stage.
    """
    folders = {"", *(str(PurePosixPath(stage.file).parent) for stage in registry.stages)}
    places = (str(PurePosixPath(folder) / path) for folder in folders)
    return any((registry.root / p).is_file() and not registry.holds_data(p) for p in places)


@dataclass(frozen=True)
class Original:
    """An object that is kept because it could not be recomputed.

    Attributes:
        md5: The content.
        size: Size in bytes.
        version: An unreferenced version of a folder that contains it, if any.
        file: Its path in that version.
        collection: The collection that has most files in common with that version, if any.
    """

    md5: str
    size: int
    version: str | None = None
    file: str | None = None
    collection: str | None = None


def name_originals(
    sizes: Mapping[str, int],
    versions: Mapping[str, Mapping[str, str]],
    collections: Mapping[str, Collection[str]],
) -> tuple[Original, ...]:
    """Find names for objects in the listings of unreferenced versions.

    Args:
        sizes: The sizes of the objects, by md5.
        versions: The listings of unreferenced versions: the md5s of files by path.
        collections: The present and former contents of collections, by path.
    """
    found: dict[str, Original] = {}
    # The largest version first, so that as many objects as possible are named by the same version.
    for version, files in sorted(versions.items(), key=lambda item: (-len(item[1]), item[0])):
        held = set(files.values())
        shares = {path: len(held.intersection(has)) for path, has in collections.items()}
        best = max(shares, key=lambda path: shares[path], default=None)
        collection = best if best is not None and shares[best] else None
        for file, md5 in files.items():
            if md5 in sizes and md5 not in found:
                found[md5] = Original(md5, sizes[md5], version, file, collection)
    rest = (Original(md5, size) for md5, size in sizes.items() if md5 not in found)
    return (*found.values(), *rest)
