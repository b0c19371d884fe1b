"""Finding duplicate and similar pictures, in two collections or within one.

Duplicates are found in the listings of the recorded versions, similar pictures in the tables that
`measure_images` wrote. Nothing is hashed or decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from registry_assets import images
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.fingerprint import FileIdentity
from registry_assets.images.contents import is_set_aside_note
from registry_assets.images.likeness import Signatures, find_alike_among
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.model import EMPTY_MD5, Version, is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.check_results import FINGERPRINT, CheckResult, Finding


@dataclass(frozen=True, order=True)
class Duplicate:
    """A file of a collection that exists a second time.

    Attributes:
        collection: The collection that was asked about; otherwise, the later one by name.
        path: The path in that collection.
        other: The other collection; the same one for a duplicate within it.
        other_path: The path in the other collection; the most similar or first of several.
        distance: Hamming distance of the perceptual hashes; None for identical content.
    """

    collection: str
    path: str
    other: str
    other_path: str
    distance: int | None = None


@dataclass
class Duplicates:
    """The result of a search for duplicates.

    Attributes:
        found: The duplicates, sorted by collection and path.
        unread: Collections that could not be searched because the cache lacks their listing.
        unmeasured: Collections that could not be searched for similar pictures, because they have
            no table of measurements, or one of an earlier version.
    """

    found: list[Duplicate] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)

    def counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """The numbers of identical and of similar files of each pair of collections."""
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
    """Find duplicate and similar pictures of raw collections.

    Args:
        lineage: The graph.
        listings: Reads the listings.
        names: The collections to compare with all others; all pairs when None.
        distance: Maximum Hamming distance of perceptual hashes; None for identical content only.
        versions: Versions of collections that were recorded after the graph was read.
        tables: Tables of measurements that were recorded after the graph was read.
        within: Search within collections, too. Frames of one video are not compared.
    """
    recorded = {**raw_versions(lineage), **(versions or {})}
    result = Duplicates()
    listed = _same_content(recorded, listings, names, result, within)
    if distance is not None:
        measured = {**dict(find_tables(lineage, listings)), **(tables or {})}
        pictures = {name: read_comparable(measured[name]) for name in sorted(measured)}
        known = {(d.collection, d.path) for d in listed}
        result.found += _alike(pictures, names, distance, known)
        if within:
            for name in pictures if names is None else pictures.keys() & {*names}:
                result.found += _alike_within(name, pictures[name], distance, known)
        old = {name for name, compared in pictures.items() if not compared.is_complete}
        result.unmeasured = sorted((recorded.keys() - measured.keys()) | old)
    result.found.sort(key=lambda d: (d.collection, d.path, d.other, d.distance is not None))
    return result


def raw_versions(lineage: Lineage) -> dict[str, str]:
    """The recorded version of every raw collection."""
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
    """Add files with identical content; needs only one other listing in memory at a time."""

    # Notes about files set aside for the same reason are identical, but not pictures. Checked for
    # duplicates only, because it reads the cache.
    @cache
    def is_note(md5: str) -> bool:
        place = listings.place_of(md5)
        return place is not None and is_set_aside_note(place)

    asked = sorted(versions if names is None else names)
    # Of a pair, the later collection by name is reported, unless one was asked about.
    others = asked[:-1] if names is None else [o for o in sorted(versions) if {o} != {*names}]
    repeating = _find_repeating(versions, listings, asked, others, within)
    asked, others = [n for n in asked if n in repeating], [n for n in others if n in repeating]
    wanted: dict[str, dict[str, str]] = {}
    for name in asked:
        files = _files(versions, listings, name, result)
        firsts: dict[str, str] = {}
        for path, md5 in files if others or within else ():
            first = firsts.setdefault(md5, path)
            if within and first != path and not is_note(md5):
                result.found.append(Duplicate(name, path, name, first))
        for md5, path in firsts.items() if others else ():
            wanted.setdefault(md5, {})[name] = path
    found: dict[tuple[str, str, str], Duplicate] = {}
    for other in others:
        for other_path, md5 in _files(versions, listings, other, result):
            for name, path in wanted.get(md5, {}).items():
                if name == other or (names is None and name < other) or is_note(md5):
                    continue
                key = (name, md5, other)
                found.setdefault(key, Duplicate(name, path, other, other_path))
    result.unread = sorted(set(result.unread))
    result.found += found.values()
    return result.found


def _find_repeating(
    versions: Mapping[str, str],
    listings: Listings,
    asked: Collection[str],
    others: Collection[str],
    within: bool,
) -> set[str]:
    """The collections that share a file with one that is asked about, which few do.

    By half of each md5, so they may be too many. Collections without a listing are among them.
    """
    found = set()
    halves: dict[str, NDArray[np.uint64]] = {}
    for name in {*asked, *others}:
        if is_folder(versions.get(name, "")):
            md5s = listings.read_md5s(versions[name])
            if md5s is None:
                found.add(name)
            else:
                halves[name] = np.frombuffer(md5s, dtype=np.uint64)[::2]
    empty = np.frombuffer(bytes.fromhex(EMPTY_MD5), dtype=np.uint64)[0]
    unique = {name: np.unique(numbers) for name, numbers in halves.items()}
    counted = [halves[n] if within and n in asked else unique[n] for n in unique]
    if not counted:
        return found
    numbers, counts = np.unique(np.concatenate(counted), return_counts=True)
    repeated = numbers[(counts > 1) & (numbers != empty)]
    of_asked = [unique[name] for name in asked if name in unique]
    repeated = np.intersect1d(repeated, np.concatenate(of_asked)) if of_asked else repeated[:0]
    if repeated.size:
        found |= {name for name, inside in unique.items() if np.isin(inside, repeated).any()}
    return found


def _files(
    versions: Mapping[str, str], listings: Listings, name: str, result: Duplicates
) -> list[tuple[str, str]]:
    version = versions.get(name, "")
    listed = listings.read(version) if is_folder(version) else {}
    if listed is None:
        result.unread.append(name)
        return []
    return sorted((path, md5) for path, md5 in listed.items() if md5 != EMPTY_MD5)


def find_tables(
    lineage: Lineage, listings: Listings, folder: str = ""
) -> Iterator[tuple[str, Path]]:
    """Find one table of measurements for each measured collection.

    Args:
        lineage: The graph.
        listings: Reads the listings.
        folder: The folder of the data set to search; all when empty.
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


@dataclass(frozen=True)
class Comparable:
    """The pictures of a table of measurements that can be compared, about 100 bytes for each.

    Attributes:
        table: The table.
        signatures: What they are compared by.
        sources: For each picture, the position of the first one of its video, or its own.
        is_complete: Whether all have thumbnails, which tables of early versions lack.
    """

    table: Path
    signatures: Signatures
    sources: NDArray[np.int64]
    is_complete: bool
    _md5s: bytes

    def md5(self, position: int) -> bytes:
        """The md5 of a picture."""
        return self._md5s[16 * position : 16 * position + 16]

    @cached_property
    def paths(self) -> Sequence[str]:
        """Their paths in the collection, read when they are asked for.

        Raises:
            ValueError: When the table was replaced meanwhile.
        """
        paths = [row.path for row in images.read_measurements(self.table) if row.is_readable]
        if len(paths) != len(self.sources):
            raise ValueError(f"{self.table} was written meanwhile")
        return paths


def read_comparable(table: Path) -> Comparable:
    """Read what pictures of a table are compared by.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it is no such table.
    """
    return _read_comparable(table, FileIdentity.of(table.stat()))


# While many collections are measured, each is compared with those before it.
@lru_cache(maxsize=2000)
def _read_comparable(table: Path, _identity: FileIdentity) -> Comparable:
    hashes: list[str] = []
    thumbnails: list[str] = []
    md5s: list[str] = []
    sources: list[int] = []
    first: dict[str, int] = {}
    for row in images.read_measurements(table):
        if row.is_readable:
            position = len(sources)
            sources.append(first.setdefault(row.source, position) if row.source else position)
            hashes.append(row.perceptual_hash)
            thumbnails.append(row.thumbnail)
            md5s.append(row.md5 or EMPTY_MD5)
    return Comparable(
        table,
        Signatures.of(hashes, thumbnails),
        np.array(sources, np.int64),
        all(thumbnails),
        bytes.fromhex("".join(md5s)),
    )


def _alike(
    pictures: Mapping[str, Comparable],
    names: Collection[str] | None,
    distance: int,
    known: Collection[tuple[str, str]],
) -> Iterable[Duplicate]:
    """Find similar pictures, the most similar per other collection, except known duplicates."""
    if len(pictures) < 2:
        return ()
    order = [*pictures]
    counts = [len(compared.sources) for compared in pictures.values()]
    starts = np.cumsum([0, *counts])
    sets = np.repeat(np.arange(len(order)), counts)
    asked = None if names is None else [order.index(name) for name in names if name in pictures]

    def locate(number: int) -> tuple[str, int]:
        return order[sets[number]], number - int(starts[sets[number]])

    nearest: dict[tuple[str, str, str], Duplicate] = {}
    for one, other, differing in find_alike_among(
        Signatures.join([compared.signatures for compared in pictures.values()]),
        sets,
        distance,
        asked=asked,
    ):
        located = {number: locate(number) for number in (one, other)}
        if len({pictures[name].md5(row) for name, row in located.values()}) == 1:
            continue
        places = {n: (name, pictures[name].paths[row]) for n, (name, row) in located.items()}
        # Report the later collection, unless one of them was asked about.
        sides = [(other, one)] if names is None else [(other, one), (one, other)]
        for mine, theirs in sides:
            name, path = places[mine]
            if (names is not None and name not in names) or (name, path) in known:
                continue
            found = Duplicate(name, path, *places[theirs], differing)
            key = (name, path, found.other)
            best = nearest.setdefault(key, found)
            if differing < (best.distance or 0):
                nearest[key] = found
    return nearest.values()


def _alike_within(
    name: str,
    compared: Comparable,
    distance: int,
    known: Collection[tuple[str, str]],
) -> Iterator[Duplicate]:
    """For each picture of a collection, find the most similar one before it, if any."""
    # All frames of a video form one set; every other picture is a set of its own.
    for one, other, differing in find_alike_among(
        compared.signatures, compared.sources, distance, nearest_before=True
    ):
        paths = compared.paths
        if (name, paths[other]) not in known:
            yield Duplicate(name, paths[other], name, paths[one], differing)


def holds_table(listings: Listings, version: Version) -> bool:
    """Whether a version consists of a table of measurements and nothing else."""
    return version.nfiles == 1 and MEASUREMENTS_TABLE in (listings.read(version.md5) or {})


def describe(duplicates: Duplicates, name: str) -> list[str]:
    """Describe how many files a collection shares with others."""
    said = []
    for (collection, other), (same, alike) in duplicates.counts().items():
        if collection == name:
            counted = [f"{same} identical"] if same else []
            counted += [f"{alike} similar"] if alike else []
            place = "within it" if other == name else f"shared with {other}"
            said.append(f"{' and '.join(counted)} files {place}")
    return said


def fingerprint_collections(lineage: Lineage) -> str:
    """A hash of the versions of all raw collections."""
    facts = sorted(raw_versions(lineage).items())
    return hashlib.md5(json.dumps(facts).encode(), usedforsecurity=False).hexdigest()[:8]


def check_duplicates(lineage: Lineage) -> CheckResult:
    """Check whether raw collections share files."""
    found = find_duplicates(lineage, DvcRepo(lineage.registry.root).listings())
    folder = lineage.registry.raw_folder
    findings = tuple(
        Finding(
            f"{folder}/{name}",
            "duplicates",
            f"{same} files are also in {folder}/{other}: `registry duplicates {name}` lists them",
        )
        for (name, other), (same, _) in found.counts().items()
    )
    collections = len(raw_versions(lineage))
    sharing = len({finding.path for finding in findings})
    return CheckResult(
        f"{collections - sharing} of {collections} collections share no file with an earlier one.",
        {
            "collections": collections,
            "files": len(found.found),
            FINGERPRINT: fingerprint_collections(lineage),
        },
        findings,
    )
