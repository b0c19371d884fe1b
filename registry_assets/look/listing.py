"""The pictures that pass filters, and how many each filter would show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from starlette.routing import BaseRoute

from registry_assets.look.answers import ask
from registry_assets.look.filtering import Histogram, ValueCount, parse_filters
from registry_assets.look.gallery import Row
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import whole


class Window(TypedDict):
    """A part of the pictures that pass the filters.

    Attributes:
        total: The number of pictures of the source.
        count: The number of pictures that pass the filters.
        unmeasured: Collections without a table of measurements on this machine.
        unread: Outputs whose listing is not in the cache, so that their files are not known.
    """

    state: str
    total: int
    count: int
    rows: list[Row]
    unmeasured: Sequence[str]
    unread: Sequence[str]


def list_pictures(registry: OpenRegistry, query: Mapping[str, str]) -> Window:
    """Answer ``api/pictures``.

    Raises:
        BadRequestError: when a parameter is not valid.
    """
    reading = registry.read()
    gallery = reading.galleries.open(query.get("source"))
    rows = gallery.select(
        query.get("filters", ""), query.get("sort", ""), descending=query.get("descending") == "1"
    )
    return {
        "state": reading.state,
        "total": len(gallery.pictures.columns),
        "count": len(rows),
        "rows": gallery.window(rows, whole(query, "offset", 0), whole(query, "limit", 200)),
        "unmeasured": gallery.pictures.unmeasured,
        "unread": gallery.pictures.unread,
    }


class FacetCounts(TypedDict):
    """How many pictures each filter would show."""

    total: int
    count: int
    facets: Mapping[str, list[ValueCount]]
    histograms: Mapping[str, Histogram]


def count_facets(registry: OpenRegistry, query: Mapping[str, str]) -> FacetCounts:
    """Answer ``api/facets``.

    Raises:
        BadRequestError: when a parameter is not valid.
    """
    gallery = registry.read().galleries.open(query.get("source"))
    filters = parse_filters(query.get("filters", ""))
    return {
        "total": len(gallery.pictures.columns),
        "count": int(np.count_nonzero(gallery.facets.select(filters))),
        "facets": gallery.facets.count(filters),
        "histograms": gallery.facets.histograms(filters),
    }


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The routes of the gallery."""
    return [
        ask(registry, "/api/pictures", list_pictures),
        ask(registry, "/api/facets", count_facets),
    ]
