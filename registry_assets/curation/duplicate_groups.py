"""Groups of pictures that are the same or alike, so that somebody can choose the one that stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_assets.curation.duplicates import NOTHING
from registry_assets.images.likeness import find_alike
from registry_assets.images.measurements import Measurement, read_measurements
from registry_assets.model import Likeness

Place = tuple[str, str]
"""A collection and a path in it."""


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that are duplicates of each other.

    Attributes:
        kind: ``same``: they have the same content. ``alike``: each is similar to another one of
            the group, and no two of those that are compared have the same content.
        members: Each picture with the number of bits, of 64, in which its perceptual hash differs
            from that of the first one. It may be larger than what was asked for, where pictures
            are connected by others.
    """

    kind: Likeness
    members: Sequence[tuple[Place, int]]

    @property
    def is_across(self) -> bool:
        """Whether they are from more than one collection."""
        return len({collection for (collection, _), _ in self.members}) > 1


def group_same(md5s: Iterable[tuple[Place, str]]) -> list[DuplicateGroup]:
    """Group files that have the same content, in the order of the first ones.

    Args:
        md5s: The content of each file; empty if it is unknown.
    """
    places: defaultdict[str, list[Place]] = defaultdict(list)
    for place, md5 in md5s:
        if md5 not in ("", NOTHING):
            places[md5].append(place)
    groups = (group for group in places.values() if len(group) > 1)
    return [DuplicateGroup("same", [(place, 0) for place in group]) for group in groups]


def group_alike(tables: Mapping[str, Path], distance: int) -> list[DuplicateGroup]:
    """Group pictures that are alike, in the order of the first ones.

    Of several with the same content, the first one stands for all. Frames of one video are not
    compared with each other.

    Args:
        tables: The table of measurements of each collection.
        distance: The maximum number of differing bits, of 64, of two pictures.
    """
    first: dict[str, tuple[str, Measurement]] = {}
    for collection, table in tables.items():
        for row in read_measurements(table):
            if row.is_readable:
                first.setdefault(row.md5, (collection, row))
    rows = list(first.values())
    # All frames of a video form one set; every other picture is a set of its own.
    sets: dict[Place, int] = {}
    pairs = find_alike(
        [row.perceptual_hash for _, row in rows],
        [sets.setdefault((name, row.source or row.path), len(sets)) for name, row in rows],
        distance,
        thumbnails=[row.thumbnail for _, row in rows],
    )
    groups = []
    for component in _connect(len(rows), ((one, other) for one, other, _ in pairs)):
        reference = int(rows[component[0]][1].perceptual_hash, 16)
        members = [
            ((name, row.path), (int(row.perceptual_hash, 16) ^ reference).bit_count())
            for name, row in (rows[number] for number in component)
        ]
        groups.append(DuplicateGroup("alike", members))
    return groups


def _connect(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of a graph with more than one member, each in order."""
    parents = list(range(count))

    def find(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        parents[high] = low
    components: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(count):
        components[find(number)].append(number)
    return [component for component in components.values() if len(component) > 1]
