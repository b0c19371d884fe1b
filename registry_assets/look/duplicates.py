"""Groups of duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

from starlette.routing import BaseRoute

from registry_assets.curation.duplicate_groups import DuplicateGroup, Place, group_alike, group_same
from registry_assets.curation.pictures import find_measured
from registry_assets.look.answers import ask
from registry_assets.look.gallery import Gallery, Row
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import BadRequestError, whole
from registry_assets.model import Likeness

_MOST_PICTURES = 10_000
"""How many are listed, in whole groups."""

_MOST_DISTANCE = 64


class MemberJson(Row):
    """A picture of a group.

    Attributes:
        distance: In how many of 64 bits its perceptual hash differs from that of the first one.
    """

    distance: int


class GroupJson(TypedDict):
    """Pictures that are duplicates of each other.

    Attributes:
        kind: ``same``: with the same content. ``alike``: similar.
        across: Whether they are from more than one collection.
        pictures: In the order of the collections.
    """

    kind: Likeness
    across: bool
    pictures: Sequence[MemberJson]


class DuplicatesJson(TypedDict):
    """The duplicates of a source.

    Attributes:
        total: The number of groups, of which the first ones are listed.
        unmeasured: The collections whose pictures are not compared, as they have no measures.
    """

    total: int
    groups: Sequence[GroupJson]
    unmeasured: Sequence[str]


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The route of duplicates."""
    return [ask(registry, "/api/duplicates", list_duplicates)]


def list_duplicates(opened: OpenRegistry, query: Mapping[str, str]) -> DuplicatesJson:
    """Answer ``api/duplicates``.

    Raises:
        BadRequestError: when a parameter is not valid.
    """
    reading = opened.read()
    gallery = reading.galleries.open(query.get("source", ""))
    distance = whole(query, "distance", reading.registry.settings.duplicate_distance)
    if not 0 <= distance <= _MOST_DISTANCE:
        raise BadRequestError(f"distance has to be 0 to {_MOST_DISTANCE}: choose another")
    pictures = gallery.pictures
    groups = group_same(_contents_of(gallery))
    if pictures.has_measures and pictures.dataset is not None:
        tables = dict(find_measured(reading.lineage, reading.listings, pictures.dataset))
        groups += group_alike(tables, distance)
    listed = list(_first_of(groups))
    rows = _number_rows(gallery, listed)
    return {
        "total": len(groups),
        "groups": [
            {
                "kind": group.kind,
                "across": group.is_across,
                "pictures": [
                    {**gallery.row(rows[place]), "distance": differing}
                    for place, differing in group.members
                    if place in rows
                ],
            }
            for group in listed
        ],
        "unmeasured": pictures.unmeasured,
    }


def _first_of(groups: Iterable[DuplicateGroup]) -> Iterator[DuplicateGroup]:
    pictures = 0
    for group in groups:
        if pictures >= _MOST_PICTURES:
            return
        pictures += len(group.members)
        yield group


def _contents_of(gallery: Gallery) -> Iterator[tuple[Place, str]]:
    columns = gallery.pictures.columns
    for row, path in enumerate(columns.paths):
        yield (columns.collection_of(row), path), columns.md5[row].decode("ascii", "replace")


def _number_rows(gallery: Gallery, groups: Sequence[DuplicateGroup]) -> Mapping[Place, int]:
    """The row of each picture of some groups."""
    columns = gallery.pictures.columns
    wanted = {place for group in groups for place, _ in group.members}
    places = ((columns.collection_of(row), path) for row, path in enumerate(columns.paths))
    return {place: row for row, place in enumerate(places) if place in wanted}
