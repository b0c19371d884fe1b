"""Which objects of the cache are originals: nothing that is left could make them again.

A stage's output is made again by running the stage, as long as what it reads is there. What it only
passes on, as pictures that it links, it has not made. What nothing is known about counts as an
original: a photograph that was taken out of a collection before anybody committed it is in no
metafile any more, and only its object is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from registry_assets.model import Registry, is_folder
from registry_assets.revisions.changes.version_history import Recorded


class Contents(Protocol):
    """What versions hold, as `Listings` knows it."""

    def contents(self, version: str) -> frozenset[str] | None:
        """The md5s of the files of a version; None when that is not known."""


@dataclass(frozen=True)
class _Making:
    """What one run of a stage made, and of what data."""

    made: frozenset[str]
    needs: frozenset[str]


def find_originals(
    registry: Registry,
    listings: Contents,
    runs: Iterable[Recorded],
    objects: Collection[str],
    staying: Collection[str],
) -> frozenset[str]:
    """Finds those of some objects that nothing could make again.

    Args:
        registry: What the metafiles declare now.
        listings: What versions hold.
        runs: What stages have made of what, as far as that is known.
        objects: The objects in question.
        staying: The objects of the cache that stay in any case.
    """
    asked = frozenset(objects)
    known = asked.union(staying)
    makings = list(_find_makings(registry, listings, runs, asked, known))
    could_be_made = asked & frozenset().union(*(making.made for making in makings))
    # What is made of what could itself be made again comes in a later round.
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
            # A stage that reads nothing may have its output from anywhere.
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
    """Versions with what they hold; None when that is not known of one."""
    held = [listings.contents(version) for version in versions]
    return None if None in held else frozenset(versions).union(*filter(None, held))


def _is_code(registry: Registry, path: str) -> bool:
    """Whether a stage reads a file at a path that is not data, and is there.

    Args:
        registry: What the metafiles declare now.
        path: From the root, or from the folder of a stage.
    """
    folders = {"", *(str(PurePosixPath(stage.file).parent) for stage in registry.stages)}
    places = (str(PurePosixPath(folder) / path) for folder in folders)
    return any((registry.root / p).is_file() and not registry.holds_data(p) for p in places)


@dataclass(frozen=True)
class Original:
    """An object that is kept, as nothing could make it again.

    Attributes:
        md5: Its content.
        size: In bytes.
        version: A version of a folder that has it, which nothing names any more; None where there
            is none, as of the listing of one.
        file: Its path there.
        collection: The collection that has most in common with that version; None for none.
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
    """Names objects by the versions of folders that have them.

    Args:
        sizes: Of the objects, by md5.
        versions: The md5s of files by path, of versions that nothing names any more.
        collections: What collections hold, or have held, by path.
    """
    found: dict[str, Original] = {}
    # The largest first: what is called by that has its names beside each other.
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
