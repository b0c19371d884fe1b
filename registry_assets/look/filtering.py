"""Filters over the pictures of a source, and the counts that the page shows beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from registry_assets.curation.pictures import Pictures
from registry_assets.curation.placement import Placement
from registry_assets.images.judging import OUTCOMES
from registry_assets.images.measurement_columns import Categories, Numbers
from registry_assets.images.reasons import kind_of
from registry_assets.look.queries import BadRequestError

Mask = NDArray[np.bool_]

RANGES: Mapping[str, str] = {
    "brightness": "mean_brightness",
    "contrast": "mean_horizontal_variance",
}
"""The measures to filter by, and the column of each."""

KEPT = "kept"
"""What stands for a reason where there is none."""

LEFT_OUT = "left out"
"""The reason in a data set without measures."""

_BINS = 64
_MOST_DAYS, _MOST_MONTHS = 92, 120
_DAY, _MONTH, _YEAR = 10, 7, 4
"""The length of a day, a month and a year in an ISO 8601 time."""


class ValueCount(TypedDict):
    """A value of a facet, and how many pictures have it."""

    value: str
    count: int


class Histogram(TypedDict):
    """How many pictures lie in each bin.

    Attributes:
        low: The lower limit of the first bin; of times, the first day, month or year.
        high: The upper limit of the last bin; of times, the last day, month or year.
        edges: The limits of the bins, one more than counts; of times, the days, months or years.
        counts: The number of pictures in each bin.
    """

    low: float | str
    high: float | str
    edges: Sequence[float | str]
    counts: Sequence[int]


@dataclass(frozen=True)
class Filters:
    """What to show.

    Attributes:
        values: By facet, the values of which one has to match.
        ranges: By measure, the lowest and highest value, both included.
        taken: The first and last day, both included; empty for no limit.
        text: Text that path, COLLECTION/PATH or md5 has to contain, in any case.
    """

    values: Mapping[str, frozenset[str]]
    ranges: Mapping[str, tuple[float, float]]
    taken: tuple[str, str] = ("", "")
    text: str = ""


def parse_filters(text: str) -> Filters:
    """Parse the filters of a request.

    Raises:
        BadRequestError: when they are not valid.
    """
    try:
        given = json.loads(text or "{}")
        values = {name: frozenset(map(str, given[name])) for name in FACETS if given.get(name)}
        ranges = {name: _range(given[name]) for name in RANGES if given.get(name)}
        first, last = given.get("taken") or ("", "")
        unknown = given.keys() - {*FACETS, *RANGES, "taken", "text"}
    except (
        *(ValueError, TypeError, AttributeError, KeyError),
        *(OverflowError, RecursionError),
    ) as error:
        raise BadRequestError(f"the filters cannot be read ({error}): reload the page") from error
    if unknown:
        raise BadRequestError(f"there is no filter {', '.join(sorted(unknown))}: reload the page")
    return Filters(values, ranges, (str(first), str(last)), str(given.get("text") or "").casefold())


def _range(limits: Sequence[Any]) -> tuple[float, float]:
    low, high = limits
    return (
        float("-inf") if low is None else float(low),
        float("inf") if high is None else float(high),
    )


FACETS = ("collection", "class", "stage", "reason", "decision", "camera", "place", "pending")
"""The columns with few different values, in the order of the page."""


class Facets:
    """The columns of a source that can be filtered by.

    Args:
        pictures: The source.
        placement: Where the stages have put the pictures.
    """

    def __init__(self, pictures: Pictures, placement: Placement) -> None:
        self.pictures = pictures
        self._placement = placement

    @cached_property
    def columns(self) -> Mapping[str, Categories]:
        """Each facet as a column."""
        pictures, columns = self.pictures, self.pictures.columns
        yes_no = ("no", "yes")
        decision = np.zeros(len(columns), np.int32)
        for number, mask in enumerate(pictures.decided, 1):
            decision[mask] = number
        return {
            "collection": Categories(columns.collections, columns.collection),
            "class": self._classes(),
            "stage": self._placement.left_by
            or self._of_outcome([pictures.stages.leaving_out(o) for o in OUTCOMES]),
            "reason": self._reasons(),
            "decision": Categories(("none", "allow", "deny", "duplicate"), decision),
            "camera": columns.camera,
            "place": Categories(yes_no, (~np.isnan(columns.latitude)).astype(np.int32)),
            "pending": Categories(yes_no, self._placement.is_pending(pictures).astype(np.int32)),
        }

    def _classes(self) -> Categories:
        """The class by verdict; without measures, the output that holds the picture."""
        if self.pictures.has_measures:
            return self._of_outcome(["/".join(o.image_class or ()) for o in OUTCOMES])
        return Categories(("", *self._placement.outputs), self._placement.output + np.int32(1))

    def _of_outcome(self, texts: Sequence[str]) -> Categories:
        values = tuple(dict.fromkeys(texts))
        codes = np.array([values.index(text) for text in texts], np.int32)
        return Categories(values, codes[self.pictures.outcomes])

    def _reasons(self) -> Categories:
        """``kept``, or the kind of reason, as `registry report` counts them."""
        left_by = self._placement.left_by
        if left_by is not None:
            return Categories((KEPT, LEFT_OUT), (left_by.codes > 0).astype(np.int32))
        table = self.pictures.columns.reason
        shortened = [kind_of(reason) or KEPT for reason in table.values]
        of_verdicts = [outcome.reason or KEPT for outcome in OUTCOMES]
        values = tuple(dict.fromkeys((KEPT, *of_verdicts, *shortened)))
        of_table = np.array([values.index(reason) for reason in shortened], np.int32)
        of_outcome = np.array([values.index(reason) for reason in of_verdicts], np.int32)
        codes = of_outcome[self.pictures.outcomes]
        unreadable = ~self.pictures.columns.is_readable
        codes[unreadable] = of_table[table.codes[unreadable]]
        return Categories(values, codes)

    def select(self, filters: Filters) -> Mask:
        """The rows that pass all filters."""
        return _all(dict(self._masks(filters)), len(self.pictures.columns))

    def count(self, filters: Filters) -> dict[str, list[ValueCount]]:
        """Count the pictures by value; each facet without its own filter."""
        masks = dict(self._masks(filters))
        every = _all(masks, len(self.pictures.columns))
        found = {}
        for name, column in self.columns.items():
            counts = column.counts(self._without(name, masks, every))
            # What is chosen stays visible, so that it can be taken back.
            chosen = dict.fromkeys(sorted(filters.values.get(name, ())), 0)
            found[name] = [
                ValueCount(value=value, count=count)
                for value, count in (chosen | dict(counts)).items()
            ]
        return found

    def histograms(self, filters: Filters) -> dict[str, Histogram]:
        """Count the pictures by brightness, contrast and day; each without its own filter."""
        masks = dict(self._masks(filters))
        every = _all(masks, len(self.pictures.columns))
        columns = self.pictures.columns
        found = {
            name: _histogram(getattr(columns, column), self._without(name, masks, every))
            for name, column in RANGES.items()
        }
        found["taken"] = _calendar(columns.taken[self._without("taken", masks, every)])
        return found

    def _without(self, name: str, masks: Mapping[str, Mask], every: Mask) -> Mask:
        if name not in masks:
            return every
        others = {other: mask for other, mask in masks.items() if other != name}
        return _all(others, len(every))

    def _masks(self, filters: Filters) -> Iterator[tuple[str, Mask]]:
        columns = self.pictures.columns
        for name, wanted in filters.values.items():
            yield name, self.columns[name].where(wanted.__contains__)
        for name, (low, high) in filters.ranges.items():
            values = getattr(columns, RANGES[name])
            yield name, (values >= low) & (values <= high)
        if any(filters.taken):
            first, last = (day.encode("ascii", "replace") for day in filters.taken)
            days = columns.taken.astype(f"S{_DAY}")
            is_known = days != b""
            yield "taken", is_known & (days >= first) & ((days <= last) | (not last))
        if filters.text:
            text = filters.text
            is_md5 = np.char.startswith(columns.md5, text.encode("ascii", "replace"))
            named = (text in name.casefold() for name in self._names("/" in text))
            yield "text", is_md5 | np.fromiter(named, bool, len(columns))

    def _names(self, has_collection: bool) -> Iterable[str]:
        """The path of each picture, or COLLECTION/PATH, as commands print it."""
        columns = self.pictures.columns
        if not has_collection:
            return columns.paths
        collections = (columns.collections[number] for number in columns.collection)
        return map("/".join, zip(collections, columns.paths, strict=True))


def _all(masks: Mapping[str, Mask], rows: int) -> Mask:
    found = np.ones(rows, bool)
    for mask in masks.values():
        found &= mask
    return found


def _histogram(values: Numbers, shown: Mask) -> Histogram:
    """Count values in bins of equal width, from 0 to the largest value of all rows."""
    high = float(np.nanmax(values, initial=0))
    if not high > 0:
        return {"low": 0, "high": 0, "edges": [], "counts": []}
    chosen = values[shown]
    counts, edges = np.histogram(chosen[~np.isnan(chosen)], bins=_BINS, range=(0, high))
    return {"low": 0, "high": high, "edges": edges.tolist(), "counts": counts.tolist()}


def _calendar(times: NDArray[np.bytes_]) -> Histogram:
    """Count times by day; by month or year where there are many days."""
    known = times[times != b""]
    counts = np.zeros(0, np.intp)
    periods = known
    for length, most in ((_DAY, _MOST_DAYS), (_MONTH, _MOST_MONTHS), (_YEAR, len(known))):
        periods, counts = np.unique(known.astype(f"S{length}"), return_counts=True)
        if len(periods) <= most:
            break
    names = [period.decode("ascii", "replace") for period in periods]
    low, high = (names[0], names[-1]) if names else ("", "")
    return {"low": low, "high": high, "edges": names, "counts": counts.tolist()}
