"""Pictures that there are twice, in two collections or in one: the same content, or much the same.

Content is compared by the listings of the recorded versions, likeness by what the tables say that
`measure_images` wrote. Nothing is hashed or decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from registry_assets import images
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.images.contents import is_set_aside_note
from registry_assets.images.measurements import MEASUREMENTS_TABLE, Measurement
from registry_assets.model import Version, is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.check_results import FINGERPRINT, CheckResult, Finding

NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
"""The md5 of no bytes, which are nobody's picture."""


@dataclass(frozen=True, order=True)
class Duplicate:
    """A file of one collection that there is a second time.

    Attributes:
        collection: The collection that was asked about; of two, the later by name.
        path: Where in it the file is.
        other: The collection that has it, too; the same one if it has it twice.
        other_path: Where in that one; the nearest, or first, of several.
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
        unmeasured: Collections without a table of measurements, or with one of an earlier version
            that cannot tell likeness, where likeness was asked for.
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
    within: bool = False,
) -> Duplicates:
    """Finds what collections in the raw folder have in common.

    Args:
        lineage: The graph.
        listings: Where the content of versions is looked up.
        names: The collections to compare with all others; every two when None.
        distance: In how many bits perceptual hashes may differ; None for the same content only.
        versions: Versions of collections that were recorded after the graph was read.
        tables: Tables of measurements that were recorded after the graph was read.
        within: Also what a collection has twice. Frames of one video are not compared.
    """
    recorded = {**raw_versions(lineage), **(versions or {})}
    result = Duplicates()
    listed = _same_content(recorded, listings, names, result, within)
    if distance is not None:
        measured = {**dict(find_tables(lineage, listings)), **(tables or {})}
        pictures = {name: [*_comparable(measured[name])] for name in sorted(measured)}
        known = {(d.collection, d.path) for d in listed}
        result.found += _alike(pictures, names, distance, known)
        if within:
            for name in pictures if names is None else pictures.keys() & {*names}:
                result.found += _alike_within(name, pictures[name], distance, known)
        old = {name for name, rows in pictures.items() if any(not row.thumbnail for row in rows)}
        result.unmeasured = sorted((recorded.keys() - measured.keys()) | old)
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
    within: bool,
) -> list[Duplicate]:
    """Adds what has the same content; one listing at a time is in memory, and what is asked for."""

    # Notes of what was set aside for the same reason are nobody's picture. Only of what there is
    # twice is the cache asked.
    @cache
    def is_note(md5: str) -> bool:
        place = listings.place_of(md5)
        return place is not None and is_set_aside_note(place)

    wanted: dict[str, dict[str, str]] = {}
    for name in sorted(versions if names is None else names):
        for path, md5 in _files(versions, listings, name, result):
            first = wanted.setdefault(md5, {}).setdefault(name, path)
            if within and first != path and not is_note(md5):
                result.found.append(Duplicate(name, path, name, first))
    found: dict[tuple[str, str, str], Duplicate] = {}
    for other in sorted(versions):
        if names is not None and {other} == {*names}:
            continue
        for other_path, md5 in _files(versions, listings, other, result):
            for name, path in wanted.get(md5, {}).items():
                if name == other or (names is None and name < other) or is_note(md5):
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


def _comparable(table: Path) -> Iterator[Measurement]:
    return (row for row in images.read_measurements(table) if row.is_readable)


def _alike(
    pictures: Mapping[str, Sequence[Measurement]],
    names: Collection[str] | None,
    distance: int,
    known: Collection[tuple[str, str]],
) -> Iterable[Duplicate]:
    """What looks alike, the nearest of each other collection, but for what is known."""
    if len(pictures) < 2:
        return ()
    order = [*pictures]
    rows = [(name, row) for name in order for row in pictures[name]]
    sets = [number for number, name in enumerate(order) for _ in pictures[name]]
    asked = None if names is None else [order.index(name) for name in names if name in pictures]
    nearest: dict[tuple[str, str, str], Duplicate] = {}
    for one, other, differing in images.find_alike(
        [row.perceptual_hash for _, row in rows],
        sets,
        distance,
        thumbnails=[row.thumbnail for _, row in rows],
        asked=asked,
    ):
        if rows[one][1].md5 == rows[other][1].md5:
            continue
        # The later collection has what the earlier one had, unless one of them was asked about.
        sides = [(other, one)] if names is None else [(other, one), (one, other)]
        for mine, theirs in sides:
            name, path = rows[mine][0], rows[mine][1].path
            if (names is not None and name not in names) or (name, path) in known:
                continue
            found = Duplicate(name, path, rows[theirs][0], rows[theirs][1].path, differing)
            key = (name, path, found.other)
            best = nearest.setdefault(key, found)
            if differing < (best.distance or 0):
                nearest[key] = found
    return nearest.values()


def _alike_within(
    name: str,
    rows: Sequence[Measurement],
    distance: int,
    known: Collection[tuple[str, str]],
) -> Iterator[Duplicate]:
    """What of a collection looks like a picture before it, the nearest."""
    # The frames of a video are one set, any other picture is one of its own.
    sets: dict[str, int] = {}
    for one, other, differing in images.find_alike(
        [row.perceptual_hash for row in rows],
        [sets.setdefault(row.source or row.path, len(sets)) for row in rows],
        distance,
        thumbnails=[row.thumbnail for row in rows],
        nearest_before=True,
    ):
        if (name, rows[other].path) not in known:
            yield Duplicate(name, rows[other].path, name, rows[one].path, differing)


def holds_table(listings: Listings, version: Version) -> bool:
    """Whether a version is a table of measurements, which stands alone in its folder."""
    return version.nfiles == 1 and MEASUREMENTS_TABLE in (listings.read(version.md5) or {})


def describe(duplicates: Duplicates, name: str) -> list[str]:
    """Which collections have how many files of one, in words."""
    said = []
    for (collection, other), (same, alike) in duplicates.counts().items():
        if collection == name:
            counted = [f"{same} files are the same"] if same else []
            counted += [f"{alike} look alike"] if alike else []
            place = "as another one in it" if other == name else f"in {other}"
            said.append(f"{' and '.join(counted)} {place}")
    return said


def fingerprint_collections(lineage: Lineage) -> str:
    """A text that changes with the version of any collection in the raw folder."""
    facts = sorted(raw_versions(lineage).items())
    return hashlib.md5(json.dumps(facts).encode(), usedforsecurity=False).hexdigest()[:8]


def check_duplicates(lineage: Lineage) -> CheckResult:
    """Whether collections in the raw folder share the content of files."""
    found = find_duplicates(lineage, DvcRepo(lineage.registry.root).listings())
    folder = lineage.registry.raw_folder
    findings = tuple(
        Finding(
            f"{folder}/{name}",
            "duplicates",
            f"{same} files are in {folder}/{other}, too: `registry duplicates {name}` lists them",
        )
        for (name, other), (same, _) in found.counts().items()
    )
    collections = len(raw_versions(lineage))
    sharing = len({finding.path for finding in findings})
    return CheckResult(
        f"{collections - sharing} of {collections} collections have no file that one before them "
        "has.",
        {
            "collections": collections,
            "files": len(found.found),
            FINGERPRINT: fingerprint_collections(lineage),
        },
        findings,
    )
