"""Groups of pictures that are the same or alike, so that somebody can choose the one that stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_assets.images.likeness import find_alike
from registry_assets.images.measurements import read_measurements
from registry_assets.model import EMPTY_MD5, Likeness

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
        if md5 not in ("", EMPTY_MD5):
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
    # Only what is compared is kept: whole rows of 200,000 pictures are half a gigabyte.
    places: list[Place] = []
    hashes: list[str] = []
    thumbnails: list[str] = []
    sets: list[int] = []
    known: set[str] = set()
    # All frames of a video form one set; every other picture is a set of its own.
    numbers: dict[Place, int] = {}
    for collection, table in tables.items():
        for row in read_measurements(table):
            if row.is_readable and row.md5 not in known:
                known.add(row.md5)
                places.append((collection, row.path))
                hashes.append(row.perceptual_hash)
                thumbnails.append(row.thumbnail)
                number = len(numbers)
                sets.append(
                    numbers.setdefault((collection, row.source), number) if row.source else -1
                )
    singles = iter(range(len(numbers), len(numbers) + len(sets)))
    sets = [number if number >= 0 else next(singles) for number in sets]
    pairs = find_alike(hashes, sets, distance, thumbnails=thumbnails)
    groups = []
    for component in _connect(len(places), ((one, other) for one, other, _ in pairs)):
        reference = int(hashes[component[0]], 16)
        members = [(places[n], (int(hashes[n], 16) ^ reference).bit_count()) for n in component]
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
