"""Pictures that several collections have: the same content, or much the same picture.

Content is compared by the listings of the recorded versions, likeness by the hashes in the tables
that `measure_images` wrote. Nothing is hashed or decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from registry_assets import images
from registry_assets.dvc_repo import Listings
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.lineage.graph import Lineage
from registry_assets.model import Version, is_folder

NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
"""The md5 of no bytes, which are nobody's picture."""


@dataclass(frozen=True, order=True)
class Duplicate:
    """A file of one collection that another collection has, too.

    Attributes:
        collection: The collection that was asked about; of two, the later by name.
        path: Inside it.
        other: The collection that has it, too.
        other_path: Inside that one; the nearest, or first, of several.
        distance: In how many bits the perceptual hashes differ; None for the same content.
    """

    collection: str
    path: str
    other: str
    other_path: str
    distance: int | None = None


@dataclass
class Duplicates:
    """What was found, and what could not be looked into.

    Attributes:
        found: Sorted by collection and path.
        unread: Collections whose listing the cache lacks.
        unmeasured: Collections without a table of measurements, where likeness was asked for.
    """

    found: list[Duplicate] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)

    def counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """How many files of each pair of collections are the same, and how many alike."""
        same = Counter((d.collection, d.other) for d in self.found if d.distance is None)
        alike = Counter((d.collection, d.other) for d in self.found if d.distance is not None)
        return {pair: (same[pair], alike[pair]) for pair in sorted({*same, *alike})}


def find_duplicates(
    lineage: Lineage,
    listings: Listings,
    names: Collection[str] | None = None,
    *,
    distance: int | None = None,
    versions: Mapping[str, str] | None = None,
    tables: Mapping[str, Path] | None = None,
) -> Duplicates:
    """Finds what collections in the raw folder have in common.

    Args:
        lineage: The graph.
        listings: Where the content of versions is looked up.
        names: The collections to compare with all others; every two when None.
        distance: In how many bits perceptual hashes may differ; None for the same content only.
        versions: Versions of collections that were recorded after the graph was read.
        tables: Tables of measurements that were recorded after the graph was read.
    """
    recorded = {**raw_versions(lineage), **(versions or {})}
    result = Duplicates()
    listed = _same_content(recorded, listings, names, result)
    if distance is not None:
        measured = {**dict(find_tables(lineage, listings)), **(tables or {})}
        result.unmeasured = sorted(recorded.keys() - measured.keys())
        result.found += _alike(measured, names, distance, {(d.collection, d.path) for d in listed})
    result.found.sort(key=lambda d: (d.collection, d.path, d.other, d.distance is not None))
    return result


def raw_versions(lineage: Lineage) -> dict[str, str]:
    """The recorded version of every collection in the raw folder."""
    registry = lineage.registry
    return {
        item.name: item.output.version.md5
        for item in registry.raw
        if item.output.version is not None
        and registry.family_folder_of(item.output.path) == registry.raw_folder
    }


def _same_content(
    versions: Mapping[str, str],
    listings: Listings,
    names: Collection[str] | None,
    result: Duplicates,
) -> list[Duplicate]:
    """Adds what has the same content; one listing at a time is in memory, and what is asked for."""
    wanted: dict[str, dict[str, str]] = {}
    for name in sorted(versions if names is None else names):
        for path, md5 in _files(versions, listings, name, result):
            wanted.setdefault(md5, {}).setdefault(name, path)
    found: dict[tuple[str, str, str], Duplicate] = {}
    for other in sorted(versions):
        if names is not None and {other} == {*names}:
            continue
        for other_path, md5 in _files(versions, listings, other, result):
            for name, path in wanted.get(md5, {}).items():
                if name == other or (names is None and name < other):
                    continue
                key = (name, md5, other)
                found.setdefault(key, Duplicate(name, path, other, other_path))
    result.unread = sorted(set(result.unread))
    result.found += found.values()
    return result.found


def _files(
    versions: Mapping[str, str], listings: Listings, name: str, result: Duplicates
) -> Iterator[tuple[str, str]]:
    version = versions.get(name, "")
    listed = listings.read(version) if is_folder(version) else {}
    if listed is None:
        result.unread.append(name)
        return
    for path in sorted(listed):
        if listed[path] != NOTHING:
            yield path, listed[path]


def find_tables(
    lineage: Lineage, listings: Listings, folder: str = ""
) -> Iterator[tuple[str, Path]]:
    """The table of measurements of each collection that was measured, of one data set each.

    Args:
        lineage: The graph.
        listings: Where the content of versions is looked up.
        folder: Of the data set that counts; of any when empty.
    """
    told = set()
    for path, node in sorted(lineage.nodes.items()):
        if folder and not path.startswith(f"{folder}/"):
            continue
        name, version = node.partition, node.version
        if node.kind != "stage" or name is None or name in told or version is None:
            continue
        if PurePosixPath(path).name != name or not holds_table(listings, version):
            continue
        place: Path | None = lineage.registry.root / path / MEASUREMENTS_TABLE
        if place is None or not place.is_file():
            place = listings.place_of((listings.read(version.md5) or {})[MEASUREMENTS_TABLE])
        if place is not None:
            told.add(name)
            yield name, place


def _alike(
    tables: Mapping[str, Path],
    names: Collection[str] | None,
    distance: int,
    known: Collection[tuple[str, str]],
) -> Iterable[Duplicate]:
    """What looks alike, the nearest of each other collection, but for what is known."""
    if len(tables) < 2:
        return ()
    pictures: list[tuple[str, str, str]] = []
    hashes, sets = [], []
    order = sorted(tables)
    for number, name in enumerate(order):
        for row in images.read_measurements(tables[name]):
            if row.is_readable and row.perceptual_hash:
                pictures.append((name, row.path, row.md5))
                hashes.append(row.perceptual_hash)
                sets.append(number)
    nearest: dict[tuple[str, str, str], Duplicate] = {}
    asked = None if names is None else [order.index(name) for name in names if name in tables]
    for one, other, differing in images.find_alike(hashes, sets, distance, asked=asked):
        if pictures[one][2] == pictures[other][2]:
            continue
        # The later collection has what the earlier one had, unless one of them was asked about.
        sides = [(other, one)] if names is None else [(other, one), (one, other)]
        for mine, theirs in sides:
            name, path, _ = pictures[mine]
            if (names is not None and name not in names) or (name, path) in known:
                continue
            found = Duplicate(name, path, *pictures[theirs][:2], differing)
            key = (name, path, found.other)
            best = nearest.setdefault(key, found)
            if differing < (best.distance or 0):
                nearest[key] = found
    return nearest.values()


def holds_table(listings: Listings, version: Version) -> bool:
    """Whether a version is a table of measurements, which stands alone in its folder."""
    return version.nfiles == 1 and MEASUREMENTS_TABLE in (listings.read(version.md5) or {})


def describe(duplicates: Duplicates, name: str) -> list[str]:
    """Which other collections have how many files of one, in words."""
    said = []
    for (collection, other), (same, alike) in duplicates.counts().items():
        if collection == name:
            counted = [f"{same} files are the same"] if same else []
            counted += [f"{alike} look alike"] if alike else []
            said.append(f"{' and '.join(counted)} in {other}")
    return said
