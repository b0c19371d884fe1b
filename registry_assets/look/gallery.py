"""The pictures of one source as the page shows them: filtered, sorted, a window at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from threading import Lock
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from registry_assets.curation.pictures import Pictures, read_pictures
from registry_assets.curation.placement import Placement, read_placement
from registry_assets.dvc_repo import Listings
from registry_assets.images.decisions import Decision
from registry_assets.look.filtering import Facets, parse_filters
from registry_assets.look.queries import BadRequestError
from registry_assets.registry.lineage.graph import Lineage

_MOST_ROWS = 500
"""The largest window."""

_KEPT_SELECTIONS = 16
"""How many filtered and sorted lists are remembered while somebody scrolls."""

SORTS: Mapping[str, str] = {
    "brightness": "mean_brightness",
    "contrast": "mean_horizontal_variance",
    "taken": "taken",
    "size": "size",
}
"""What pictures can be sorted by, and the column of each; otherwise by collection and path."""


class MadeDecision(TypedDict):
    """A decision about a picture."""

    verdict: str
    by: str
    why: str
    date: str
    only_here: bool
    duplicate_of: str


_Class = TypedDict("_Class", {"class": str})
"""The class of a picture; empty if it has none."""


class Row(_Class):
    """A picture in a list.

    Attributes:
        id: The number of its row, as long as the registry does not change.
        outcome: ``kept``, or why it is left out.
        stage: The stage that leaves it out; empty if it is kept.
        reason: The full reason; empty if it is kept.
        place: Latitude and longitude in degrees; None if unknown.
        here: Whether its content is in the cache.
        pending: Whether the stages have yet to act on the verdict.
    """

    id: int
    collection: str
    path: str
    md5: str
    format: str
    width: int | None
    height: int | None
    size: int | None
    brightness: float | None
    contrast: float | None
    outcome: str
    stage: str
    reason: str
    decision: MadeDecision | None
    taken: str
    camera: str
    lens: str
    place: tuple[float, float] | None
    note: str
    here: bool
    pending: bool


class Gallery:
    """The pictures of one source.

    Args:
        pictures: The source.
        placement: Where the stages have put the pictures.
        listings: Tells what is in the cache.
    """

    def __init__(self, pictures: Pictures, placement: Placement, listings: Listings) -> None:
        self.pictures = pictures
        self.placement = placement
        self.facets = Facets(pictures, placement)
        self._listings = listings
        self._select = lru_cache(_KEPT_SELECTIONS)(self._select_now)

    @cached_property
    def _pending(self) -> NDArray[np.bool_]:
        return self.placement.is_pending(self.pictures)

    def select(self, filters: str, sort: str, *, descending: bool) -> NDArray[np.intp]:
        """The rows that pass filters, in order.

        Raises:
            BadRequestError: when the filters are not valid.
        """
        if sort not in SORTS:
            sort = ""
        return self._select(filters, sort, descending)

    def _select_now(self, filters: str, sort: str, descending: bool) -> NDArray[np.intp]:
        chosen = self.facets.select(parse_filters(filters))
        rows = np.flatnonzero(chosen)
        if sort:
            values = getattr(self.pictures.columns, SORTS[sort])[rows]
            # What is unknown comes last, in either direction.
            unknown = values == b"" if values.dtype.kind == "S" else np.isnan(values)
            order = np.argsort(values, kind="stable")
            order = order[::-1] if descending else order
            order = np.concatenate((order[~unknown[order]], order[unknown[order]]))
            return rows[order]
        return rows[::-1] if descending else rows

    def window(self, rows: NDArray[np.intp], offset: int, limit: int) -> list[Row]:
        """Some rows of a list.

        Raises:
            BadRequestError: when the window is larger than the page asks for.
        """
        if not (offset >= 0 and 0 <= limit <= _MOST_ROWS):
            raise BadRequestError(f"a window has at most {_MOST_ROWS} rows: reload the page")
        return [self.row(int(row)) for row in rows[offset : offset + limit]]

    def row(self, number: int) -> Row:
        """A picture, for a list."""
        pictures, columns = self.pictures, self.pictures.columns
        decision = pictures.decisions.get(number)
        md5 = columns.md5[number].decode("ascii", "replace")
        return {
            "id": number,
            "collection": columns.collection_of(number),
            "path": columns.paths[number],
            "md5": md5,
            "format": columns.format[number],
            "width": _whole(columns.width[number]),
            "height": _whole(columns.height[number]),
            "size": _whole(columns.size[number]),
            "brightness": _known(columns.mean_brightness[number]),
            "contrast": _known(columns.mean_horizontal_variance[number]),
            "outcome": self.facets.columns["reason"][number],
            "class": self.facets.columns["class"][number],
            "stage": self.facets.columns["stage"][number],
            "reason": pictures.reason(number),
            "decision": None if decision is None else _decision(decision),
            "taken": columns.taken[number].decode("ascii", "replace"),
            "camera": columns.camera[number],
            "lens": columns.lens[number],
            "place": _place(columns.latitude[number], columns.longitude[number]),
            "note": columns.note[number],
            "here": bool(md5) and self._listings.place_of(md5) is not None,
            "pending": bool(self._pending[number]),
        }


def _decision(decision: Decision) -> MadeDecision:
    return {
        "verdict": decision.verdict,
        "by": decision.by,
        "why": decision.why,
        "date": decision.date,
        "only_here": decision.only_here,
        "duplicate_of": decision.duplicate_of,
    }


def _known(value: np.float64) -> float | None:
    return None if math.isnan(value) else float(value)


def _whole(value: np.float64) -> int | None:
    return None if math.isnan(value) else int(value)


def _place(latitude: np.float64, longitude: np.float64) -> tuple[float, float] | None:
    if math.isnan(latitude) or math.isnan(longitude):
        return None
    return float(latitude), float(longitude)


class Galleries:
    """The galleries of one reading of the registry, each made when somebody first looks at it.

    Args:
        lineage: The graph.
        listings: Reads the listings, and tells what is in the cache.
    """

    def __init__(self, lineage: Lineage, listings: Listings) -> None:
        self._lineage = lineage
        self._listings = listings
        self._lock = Lock()
        self._open: dict[str, Gallery] = {}

    def open(self, source: str | None) -> Gallery:
        """Return the gallery of a data set, by name or path, or of a folder.

        The path of a data set in the root of the registry is empty.

        Raises:
            BadRequestError: when none is named.
            NotFoundError: when there is no such source.
            MetafileError: when a decisions file cannot be read.
        """
        if source is None:
            raise BadRequestError("no data set or folder is named: add source=PATH")
        # One at a time: others who ask for the same gallery wait for it.
        with self._lock:
            if source not in self._open:
                pictures = read_pictures(self._lineage, source, self._listings)
                placement = read_placement(self._lineage, self._listings, pictures)
                self._open[source] = Gallery(pictures, placement, self._listings)
            return self._open[source]
