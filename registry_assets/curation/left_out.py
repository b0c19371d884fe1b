"""How many pictures of a data set are kept and left out, by reason and collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from registry_assets.curation.deciding import materialize_command
from registry_assets.curation.pictures import Pictures, read_pictures
from registry_assets.curation.placement import Placement, read_placement
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.errors import RegistryError, describe_unread
from registry_assets.images.judging import OUTCOMES, UNREADABLE
from registry_assets.images.reasons import kind_of
from registry_assets.images.tables import escape_text
from registry_assets.model import Dataset
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.snapshots import Snapshots
from registry_assets.units import count_of

_MOST_DETAILS = 10
"""The number of different reasons of one kind that text and pages list, the most frequent ones."""

_MOST_NAMED = 3
"""The number of collections that a command for the terminal names."""

_WIDEST = 110
"""In characters: with a column for each collection, a table gets no wider."""


@dataclass(frozen=True)
class CollectionCounts:
    """The numbers of files of a collection.

    Attributes:
        collection: The collection; empty for all of them together.
        kept: Pictures that are kept.
        left_out: Files that are left out, including videos, of which the frames are judged.
        classes: Kept pictures by class, such as `day/sharp`; empty without classes.
        reasons: Files that are left out, by kind of reason, such as `corrupt`.
        details: Of each kind with more to say than its name: the number by reason in full.
        decisions: Decisions that apply, by kind: `allowed`, `denied`, `duplicate`.
        pending: Files for which outputs do not agree with the verdicts yet; null if not compared.
    """

    collection: str
    kept: int
    left_out: int
    classes: dict[str, int]
    reasons: dict[str, int]
    details: dict[str, dict[str, int]]
    decisions: dict[str, int]
    pending: int | None


@dataclass(frozen=True)
class DatasetCounts:
    """How many pictures of a data set are kept and left out.

    Attributes:
        dataset: The path of the data set.
        has_measures: Whether it has tables of measurements, without which there are no verdicts.
        total: All collections together.
        collections: Each collection, in the order of the data set.
        unmeasured: Collections whose table of measurements is not on this machine.
        unread: Outputs that were not compared because the cache lacks their listing.
    """

    dataset: str
    has_measures: bool
    total: CollectionCounts
    collections: tuple[CollectionCounts, ...]
    unmeasured: tuple[str, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table of reasons.

    Attributes:
        kind: What the row counts; a class is part of what is kept, a detail part of the reason
            above.
        name: The class, the reason, …
        counts: The number in each collection.
        total: The number in all of them.
    """

    kind: Literal["total", "class", "reason", "detail", "note"]
    name: str
    counts: tuple[int, ...]
    total: int


def read_counts(lineage: Lineage, dataset: Dataset) -> DatasetCounts:
    """Count the pictures of a data set, and compare them with the outputs.

    Raises:
        MetafileError: when a decisions file cannot be read.
    """
    listings = DvcRepo(lineage.registry.root).listings()
    pictures = read_pictures(lineage, dataset.path, listings)
    return count_pictures(pictures, read_placement(lineage, listings, pictures))


def count_pictures(pictures: Pictures, placement: Placement | None = None) -> DatasetCounts:
    """Count the pictures by reason, class and decision.

    Args:
        pictures: The pictures.
        placement: Where the stages have put them; pending is not counted without it.
    """
    pending = None if placement is None else np.flatnonzero(placement.is_pending(pictures))
    columns = pictures.columns
    counted = []
    for collection in columns.collections if pictures.has_measures else ():
        rows = columns.rows_of(collection)
        counted.append(_count(pictures, rows, collection, pending))
    total = _count(pictures, slice(0, len(columns) if pictures.has_measures else 0), "", pending)
    return DatasetCounts(
        pictures.source,
        pictures.has_measures,
        total,
        tuple(counted),
        pictures.unmeasured,
        placement.unread if placement is not None else (),
    )


def _count(
    pictures: Pictures, rows: slice, collection: str, pending: NDArray[np.intp] | None
) -> CollectionCounts:
    outcomes = pictures.outcomes[rows]
    numbers = np.bincount(outcomes, minlength=len(OUTCOMES))
    by_outcome = {OUTCOMES[n]: int(numbers[n]) for n in np.flatnonzero(numbers)}
    details = Counter({outcome.reason: n for outcome, n in by_outcome.items() if outcome.reason})
    del details[OUTCOMES[UNREADABLE].reason]
    codes = pictures.columns.reason.codes[rows][outcomes == UNREADABLE]
    for code, number in zip(*np.unique(codes, return_counts=True), strict=True):
        details[pictures.columns.reason.values[code]] += int(number)
    reasons = Counter[str]()
    for reason, number in details.items():
        reasons[kind_of(reason)] += number
    kept = sum(number for outcome, number in by_outcome.items() if outcome.is_kept)
    within = range(*rows.indices(len(pictures.columns)))
    return CollectionCounts(
        collection,
        kept,
        len(outcomes) - kept,
        {str(found): n for found, n in by_outcome.items() if found.image_class is not None},
        dict(_most_first(reasons)),
        {
            kind: {
                reason: number for reason, number in _most_first(details) if kind_of(reason) == kind
            }
            for kind, _ in _most_first(reasons)
            if any(kind_of(reason) == kind and reason != kind for reason in details)
        },
        {
            name: int(np.count_nonzero(mask[rows]))
            for name, mask in pictures.decided._asdict().items()
        },
        None
        if pending is None
        else int(np.count_nonzero((pending >= within.start) & (pending < within.stop))),
    )


def _most_first(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def build_rows(counts: DatasetCounts) -> list[Row]:
    """The table of reasons: what is kept by class, what is left out by reason, and what is open."""
    total, parts = counts.total, counts.collections
    rows = [Row("total", "kept", tuple(part.kept for part in parts), total.kept)]
    rows += (
        _row("class", name, (part.classes for part in parts), number)
        for name, number in total.classes.items()
    )
    rows.append(Row("total", "left out", tuple(part.left_out for part in parts), total.left_out))
    for kind, number in total.reasons.items():
        rows.append(_row("reason", kind, (part.reasons for part in parts), number))
        found = total.details.get(kind, {})
        rows += (
            _row("detail", name, (part.details.get(kind, {}) for part in parts), of_it)
            for name, of_it in [*found.items()][:_MOST_DETAILS]
        )
        if len(found) > _MOST_DETAILS:
            rest = [*found][_MOST_DETAILS:]
            rest_counts = tuple(
                sum(part.details.get(kind, {}).get(name, 0) for name in rest) for part in parts
            )
            name = f"{kind}: {count_of(len(rest), 'other reason')}"
            rows.append(Row("detail", name, rest_counts, sum(found[name] for name in rest)))
    rows += (
        _row(
            "note",
            f"decided: {name}",
            ({f"decided: {name}": part.decisions[name]} for part in parts),
            n,
        )
        for name, n in total.decisions.items()
        if n
    )
    if total.pending:
        rows.append(
            Row("note", "pending", tuple(part.pending or 0 for part in parts), total.pending)
        )
    return rows


def _row(
    kind: Literal["class", "reason", "detail", "note"],
    name: str,
    parts: Iterable[Mapping[str, int]],
    total: int,
) -> Row:
    return Row(kind, name, tuple(part.get(name, 0) for part in parts), total)


def describe_counts(counts: DatasetCounts) -> Iterator[str]:
    """The table of reasons and what is missing, in lines for a terminal."""
    if not counts.has_measures:
        yield f"{counts.dataset}: no table of measurements, so there are no verdicts"
        return
    yield counts.dataset
    yield from (f"  {line}" for line in format_table(counts))
    yield from (f"  {line}" for line in describe_open(counts))


def describe_open(counts: DatasetCounts) -> Iterator[str]:
    """What is pending or not measured, with the next step."""
    if counts.total.pending:
        names = [part.collection for part in counts.collections if part.pending]
        # Of many, one command that anybody can read rather than one that names them all.
        command = materialize_command(names if len(names) <= _MOST_NAMED else [None])
        yield f"pending: {count_of(counts.total.pending, 'file')}: run `{command}`"
    if counts.unmeasured:
        yield (
            f"not measured: {', '.join(counts.unmeasured)}: `registry materialize` makes or "
            "fetches its table"
        )
    if counts.unread:
        yield f"not compared: {describe_unread(counts.unread)}"


@dataclass(frozen=True)
class Table:
    """The rows as a table for people.

    Attributes:
        header: The names of the columns, without the first one.
        lines: The kind, the name and the numbers of each line.
        details: Rows that have no place in the table.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[int, ...]], ...]
    details: tuple[Row, ...] = ()


def build_table(counts: DatasetCounts, *, by_collection: bool = False) -> Table:
    """Build the table of reasons.

    Args:
        counts: The counts.
        by_collection: Whether collections are lines instead of columns, for many of them.
    """
    rows, names = build_rows(counts), [part.collection for part in counts.collections]
    if not by_collection:
        total = ("total",) if len(names) > 1 else ()
        return Table(
            (*names, *total),
            tuple(
                (row.kind, row.name, (*row.counts, *((row.total,) if total else ())))
                for row in rows
            ),
        )
    columns = [row for row in rows if row.kind != "detail"]
    return Table(
        tuple(row.name for row in columns),
        (
            *(
                ("collection", name, tuple(row.counts[n] for row in columns))
                for n, name in enumerate(names)
            ),
            ("total", "total", tuple(row.total for row in columns)),
        ),
        tuple(row for row in rows if row.kind == "detail"),
    )


def format_table(counts: DatasetCounts) -> list[str]:
    """The table as aligned text, by collection if it would get too wide otherwise."""
    wide = _align(build_table(counts))
    table = build_table(counts, by_collection=True)
    tall = _align(table)
    if max(map(len, wide)) <= max(_WIDEST, *map(len, tall)):
        return wide
    return [*tall, *(f"{row.total:>8,}  {escape_text(row.name)}" for row in table.details)]


_INDENTS = {"class": "  ", "reason": "  ", "detail": "    "}


def _align(table: Table) -> list[str]:
    lines = [
        (f"{_INDENTS.get(kind, '')}{escape_text(name)}", [f"{n:,}" if n else "·" for n in numbers])
        for kind, name, numbers in table.lines
    ]
    first = max(len(label) for label, _ in lines)
    widths = [
        max(len(name), *(len(cells[n]) for _, cells in lines))
        for n, name in enumerate(table.header)
    ]
    return [
        "  ".join(
            [label.ljust(first), *(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))]
        ).rstrip()
        for label, cells in [("", table.header), *lines]
    ]


def describe_totals(lineage: Lineage, base: str, datasets: Sequence[str]) -> list[str]:
    """What data sets keep and leave out, a line for each, and how that differs from a commit.

    Args:
        lineage: The graph.
        base: The commit.
        datasets: The names or paths of data sets; those without measures are passed over.
    """
    listings = DvcRepo(lineage.registry.root).listings()
    lines = []
    with ExitStack() as stack:
        snapshots = Snapshots(stack)
        for name in datasets:
            pictures = _try_to_read(lambda: lineage, name, listings)
            if pictures is None:
                continue
            now = count_pictures(pictures).total
            before = _try_to_read(
                partial(snapshots.read_here, lineage.registry.root, base),
                pictures.source,
                listings,
            )
            is_complete = before is not None and not before.unmeasured
            then = count_pictures(before).total if before is not None and is_complete else None
            lines.append(f"{pictures.source}: {_describe_total(now, then)}")
    return lines


def _try_to_read(
    read_lineage: Callable[[], Lineage], name: str, listings: Listings
) -> Pictures | None:
    """The pictures of a data set; None without measures, or if something cannot be read."""
    try:
        pictures = read_pictures(read_lineage(), name, listings)
    except RegistryError:
        return None
    return pictures if pictures.has_measures else None


def _describe_total(now: CollectionCounts, then: CollectionCounts | None) -> str:
    def changed(number: int, before: int | None) -> str:
        difference = 0 if before is None else number - before
        return f" ({difference:+,})" if difference else ""

    reasons = [
        f"{now.reasons.get(kind, 0):,} {kind}"
        f"{changed(now.reasons.get(kind, 0), None if then is None else then.reasons.get(kind, 0))}"
        for kind in dict.fromkeys((*now.reasons, *(then.reasons if then else ())))
    ]
    return (
        f"{now.kept:,} kept{changed(now.kept, None if then is None else then.kept)}, "
        f"{now.left_out:,} left out{changed(now.left_out, None if then is None else then.left_out)}"
        f"{': ' if reasons else ''}{', '.join(reasons)}"
    )
