"""The tables of measurements of many collections as columns, for questions about all images.

A row takes about 400 bytes as a `Measurement` and about 200 as columns, and comparing a column
with a number takes a thousandth of the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from sys import intern
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry_assets.images.measurements import read_cell_columns
from registry_assets.images.tables import unescape_text

Numbers = NDArray[np.float64]
Codes = NDArray[np.int32]

_ROWS_AT_ONCE = 8192
_MD5_CHARACTERS = 32
_MD5 = f"S{_MD5_CHARACTERS}"
_UNKNOWN_CHARACTER = "\ufffd"
_TIME = "S35"
"""Enough for an ISO 8601 time with microseconds and offset."""


@dataclass(frozen=True)
class Categories:
    """A text column with few different values.

    Attributes:
        values: The different texts.
        codes: For each row, the index in `values`.
    """

    values: tuple[str, ...]
    codes: Codes

    def __getitem__(self, row: int) -> str:
        return self.values[int(self.codes[row])]

    def counts(self, rows: NDArray[np.bool_]) -> Mapping[str, int]:
        """Count the rows of a mask by value, omitting values without any."""
        counts = np.bincount(self.codes[rows], minlength=len(self.values))
        return {value: int(n) for value, n in zip(self.values, counts, strict=True) if n}

    def where(self, wanted: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Return a mask of the rows whose value is wanted."""
        chosen = np.fromiter(map(wanted, self.values), bool, len(self.values))
        return chosen[self.codes] if len(self.values) else np.zeros(len(self.codes), bool)


@dataclass(frozen=True)
class MeasurementColumns:
    """The rows of all tables, in the order of the collections; see `Measurement` for the columns.

    Unknown numbers are NaN; unknown texts are empty.

    Attributes:
        collections: The collections.
        collection: For each row, the index of its collection.
        paths: The path in the collection.
    """

    collections: tuple[str, ...]
    collection: Codes
    paths: Sequence[str]
    md5: NDArray[np.bytes_]
    reason: Categories
    format: Categories
    source: Categories
    note: Categories
    camera: Categories
    lens: Categories
    taken: NDArray[np.bytes_]
    width: Numbers
    height: Numbers
    size: Numbers
    frame: Numbers
    mean_brightness: Numbers
    mean_horizontal_variance: Numbers
    latitude: Numbers
    longitude: Numbers
    altitude: Numbers
    has_gps: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def is_readable(self) -> NDArray[np.bool_]:
        """Whether each file is an intact image."""
        return self.reason.where(lambda reason: not reason)

    @cached_property
    def _by_md5(self) -> NDArray[np.intp]:
        return np.argsort(self.md5, kind="stable")

    def select(self, rows: slice) -> MeasurementColumns:
        """Return some of the rows."""
        parts: dict[str, Any] = {
            name: Categories(part.values, part.codes[rows])
            if isinstance(part, Categories)
            else part[rows]
            for name, part in vars(self).items()
            if name in _OF_ROWS
        }
        return MeasurementColumns(self.collections, **parts)

    def rows_with(self, md5: str) -> list[int]:
        """Return the rows with a content."""
        wanted = np.bytes_(md5.encode("ascii", "replace"))
        low = np.searchsorted(self.md5, wanted, "left", sorter=self._by_md5)
        high = np.searchsorted(self.md5, wanted, "right", sorter=self._by_md5)
        return sorted(map(int, self._by_md5[low:high])) if md5 else []

    def row_of(self, collection: str, path: str) -> int | None:
        """Return the row of a file; None if there is none.

        Bytes of the path that are not UTF-8 may be U+FFFD, as browsers send them.
        """
        if collection not in self.collections:
            return None
        rows = self.rows_of(collection)
        found = (n for n in range(rows.start, rows.stop) if self.paths[n] == path)
        row = next(found, None)
        if row is None and _UNKNOWN_CHARACTER in path:
            known = (n for n in range(rows.start, rows.stop) if _shown(self.paths[n]) == path)
            row = next(known, None)
        return row

    def collection_of(self, row: int) -> str:
        """Return the collection of a row."""
        return self.collections[int(self.collection[row])]

    def rows_of(self, collection: str) -> slice:
        """Return the rows of a collection."""
        number = self.collections.index(collection)
        low, high = np.searchsorted(self.collection, [number, number + 1])
        return slice(int(low), int(high))


_OF_ROWS = frozenset(field.name for field in fields(MeasurementColumns)) - {"collections"}


def read_columns(tables: Mapping[str, str | os.PathLike[str]]) -> MeasurementColumns:
    """Read the tables of collections.

    Args:
        tables: The path of the table of each collection.

    Raises:
        OSError: If one cannot be read.
        ValueError: If one is not such a table.
    """
    builder = _Builder(tuple(tables))
    for number, table in enumerate(tables.values()):
        try:
            for cells in read_cell_columns(table):
                builder.add(number, cells)
        except ValueError as error:
            raise ValueError(f"{os.fspath(table)} is damaged: {error}") from error
    return builder.build()


def columns_of_files(
    files: Mapping[str, Iterable[tuple[str, str]]],
) -> MeasurementColumns:
    """Return the columns of files that were not measured.

    Args:
        files: The path and md5 of each file, by collection.
    """
    builder = _Builder(tuple(files))
    for number, listed in enumerate(files.values()):
        for some in _in_parts(listed):
            builder.add_files(number, some)
    return builder.build()


def _in_parts(files: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    iterator = iter(files)
    return iter(lambda: list(islice(iterator, _ROWS_AT_ONCE)), [])


_TEXTS = ("reason", "format", "source", "note", "camera", "lens")
_NUMBERS = (
    *("width", "height", "size", "frame", "mean_brightness", "mean_horizontal_variance"),
    *("latitude", "longitude", "altitude"),
)


class _Builder:
    def __init__(self, collections: tuple[str, ...]) -> None:
        self._collections = collections
        self._paths: list[str] = []
        self._known: dict[str, dict[str, int]] = {name: {} for name in _TEXTS}
        columns = ("collection", "md5", "taken", "has_gps", *_TEXTS, *_NUMBERS)
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in columns}

    def add(self, collection: int, cells: Mapping[str, Sequence[str]]) -> None:
        """Add rows of a table, by column."""
        self._add(collection, list(map(unescape_text, cells["path"])), cells)

    def add_files(self, collection: int, files: Sequence[tuple[str, str]]) -> None:
        """Add files without measures."""
        paths = [path for path, _ in files]
        self._add(collection, paths, {"md5": [md5 for _, md5 in files]})

    def _add(
        self, collection: int, paths: Sequence[str], cells: Mapping[str, Sequence[str]]
    ) -> None:
        count = len(paths)
        empty = [""] * count
        self._paths += paths
        parts = self._parts
        parts["collection"].append(np.full(count, collection, np.int32))
        parts["md5"].append(_md5s(cells.get("md5", empty)))
        taken = cells.get("taken", empty)
        parts["taken"].append(np.array(taken, _TIME) if any(taken) else np.zeros(count, _TIME))
        parts["has_gps"].append(np.fromiter(map("true".__eq__, cells.get("has_gps", empty)), bool))
        for name in _TEXTS:
            parts[name].append(self._codes(name, cells.get(name, empty)))
        for name in _NUMBERS:
            parts[name].append(_numbers(cells.get(name, empty)))

    def _codes(self, name: str, texts: Sequence[str]) -> Codes:
        known = self._known[name]
        different = set(texts)
        for text in sorted(different - known.keys()):
            known[text] = len(known)
        if len(different) == 1:
            return np.full(len(texts), known[different.pop()], np.int32)
        return np.fromiter(map(known.__getitem__, texts), np.int32, len(texts))

    def build(self) -> MeasurementColumns:
        joined: dict[str, Any] = {
            name: np.concatenate(parts) if parts else _EMPTY.get(name, np.zeros(0))
            for name, parts in self._parts.items()
        }
        for name in _TEXTS:
            values = tuple(intern(unescape_text(text)) for text in self._known[name])
            joined[name] = Categories(values, joined[name])
        return MeasurementColumns(self._collections, paths=self._paths, **joined)


def _shown(path: str) -> str:
    """A path as browsers send it: instead of lone surrogates it has U+FFFD."""
    if path.isascii():
        return path
    return "".join(_UNKNOWN_CHARACTER if "\ud800" <= c <= "\udfff" else c for c in path)


def _md5s(texts: Sequence[str]) -> NDArray[np.bytes_]:
    joined = "".join(texts)
    if joined.isascii() and set(map(len, texts)) == {_MD5_CHARACTERS}:
        # A third of the time that it takes to look at each.
        return np.frombuffer(joined.encode("ascii"), _MD5)
    return np.array(texts, _MD5)


def _numbers(texts: Sequence[str]) -> Numbers:
    if len(texts) > 1 and texts.count(texts[0]) == len(texts):
        # As in many tables the width of all pictures.
        return np.repeat(_numbers(texts[:1]), len(texts))
    has_unknown = "" in texts
    known = np.fromiter(map(float, filter(None, texts) if has_unknown else texts), np.float64)
    if not np.isfinite(known).all():
        raise ValueError("a measure is not a finite number")
    if not has_unknown:
        return known
    numbers = np.full(len(texts), np.nan)
    numbers[[bool(text) for text in texts]] = known
    return numbers


_EMPTY: Mapping[str, NDArray[Any]] = {
    "collection": np.zeros(0, np.int32),
    "md5": np.zeros(0, _MD5),
    "taken": np.zeros(0, _TIME),
    "has_gps": np.zeros(0, bool),
    **{name: np.zeros(0, np.int32) for name in _TEXTS},
}
