"""Decisions that a collection starts with: those about its contents elsewhere, and duplicates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from registry_assets.images.decision_text import (
    editing,
    read_text,
    with_decisions,
    without_decisions,
    write_text,
)
from registry_assets.images.decisions import EMPTY, Decision, read_decisions, today
from registry_assets.images.measurements import Measurement, read_measurements
from registry_assets.images.verdicts import BrightnessRange, removal_reason

BY_REGISTRY = "registry"
"""Who decides to leave a duplicate out."""

_MD5 = re.compile(r"\b[0-9a-f]{32}\b")


def open_decisions(path: Path, measurements: Iterable[Measurement]) -> list[Decision]:
    """Make the file of a collection where there is none, with what was decided about its contents.

    What people decided about an image holds in every collection of the data set, unless they said
    otherwise: the same content in a collection that came later is decided, too.

    Args:
        path: The file; those of other collections lie beside it.
        measurements: The collection's images.

    Returns:
        The decisions that were taken over from other collections.

    Raises:
        MetafileError: If one of the files is broken.
    """
    images = {row.md5: row.path for row in measurements if row.is_readable}
    with editing(path):
        known = read_decisions(path)
        found: dict[str, Decision] = {}
        for decision in _decided_elsewhere(path, images.keys() - known.keys()):
            before = found.get(decision.md5)
            if before is None or before.date < decision.date:
                found[decision.md5] = replace(decision, path=images[decision.md5])
        taken = list(found.values())
        if taken:
            write_text(path, with_decisions(read_text(path), taken, str(path)))
        elif not path.exists():
            write_text(path, EMPTY)
    return taken


def _decided_elsewhere(path: Path, wanted: Set[str]) -> Iterator[Decision]:
    for other in sorted(path.parent.glob("*.yaml")):
        # Most files say nothing of these contents, and parsing takes long.
        if other != path and _names_any(other, wanted):
            for decision in read_decisions(other).values():
                if decision.md5 in wanted and not decision.only_here:
                    yield decision


def _names_any(path: Path, wanted: Set[str]) -> bool:
    """Whether a file names one of some contents."""
    return not wanted.isdisjoint(_MD5.findall(read_text(path)))


@dataclass(frozen=True)
class LeftOut:
    """What became of the duplicates in one collection.

    Attributes:
        added: Those that are left out from now on.
        dropped: Those that are not any more, as the picture that stood for them is gone.
    """

    added: tuple[Decision, ...] = ()
    dropped: tuple[Decision, ...] = ()


def leave_out_duplicates(
    path: Path,
    tables: Mapping[str, Path],
    listed: Collection[str],
    against: Sequence[str],
    *,
    distance: int | None,
    brightness: BrightnessRange | None = None,
    clock: Callable[[], str] = today,
) -> LeftOut:
    """Leave images of a collection out of a data set that other collections have there.

    What somebody decided stays: an image that is allowed is never left out. A picture that is left
    out itself, for whatever reason, is no reason to leave another one out: so one of each stays,
    whichever collection was looked at first, and the same again changes nothing.

    Args:
        path: The collection's file of decisions, called after it.
        tables: The tables of measurements of the data set's collections that have one, this one's
            with them.
        listed: The collections of the data set. A picture of one without a table still counts where
            it was found before.
        against: The collections to compare with.
        distance: In how many of 64 bits pictures may differ; None for the same content only.
        brightness: What the data set keeps: pictures that look alike can be of another brightness,
            and one that is too dark must not take the place of one that is not.
        clock: Gives the date.

    Raises:
        MetafileError: If a file of decisions is broken.
    """
    name = path.stem
    images = [row for row in read_measurements(tables[name]) if row.is_readable]
    with editing(path):
        decided = read_decisions(path)
        kept = _Kept(path.parent, tables, brightness)
        dropped = [d for d in decided.values() if d.duplicate_of and not _holds(d, kept, listed)]
        open_ones = {d.md5 for d in dropped} | ({row.md5 for row in images} - decided.keys())
        candidates = list({row.md5: row for row in images if row.md5 in open_ones}.values())
        others = [other for other in against if other != name and other in tables]
        if distance is None:
            # Parsing a table takes ten times as long as looking for contents in its text.
            wanted = {row.md5 for row in candidates}
            others = [other for other in others if _names_any(tables[other], wanted)]
        pairs = _find_pairs(candidates, {other: kept.images(other) for other in others}, distance)
        added = [
            Decision(
                md5=row.md5,
                verdict="deny",
                by=BY_REGISTRY,
                why=why,
                date=clock(),
                path=row.path,
                only_here=True,
                duplicate_of=place,
            )
            for row, place, why in pairs
        ]
        before = read_text(path)
        text = without_decisions(before, (d.md5 for d in dropped), str(path)) if dropped else before
        text = with_decisions(text, added, str(path)) if added else text
        if text != before:
            write_text(path, text)
    return LeftOut(tuple(added), tuple(dropped))


class _Kept:
    """The images of each collection that the data set keeps, each table read once."""

    def __init__(
        self, folder: Path, tables: Mapping[str, Path], brightness: BrightnessRange | None
    ) -> None:
        self._folder, self.tables = folder, tables
        self._brightness = brightness or BrightnessRange(-math.inf, math.inf)
        self._read: dict[str, list[Measurement]] = {}

    def images(self, collection: str) -> list[Measurement]:
        if collection not in self._read:
            decided = read_decisions(self._folder / f"{collection}.yaml")
            self._read[collection] = [
                row
                for row in read_measurements(self.tables[collection])
                if removal_reason(row, self._brightness, decided.get(row.md5)) is None
            ]
        return self._read[collection]


def _holds(decision: Decision, kept: _Kept, listed: Collection[str]) -> bool:
    """Whether the picture that is kept instead is still there."""
    collection, _, path = decision.duplicate_of.partition("/")
    if collection not in kept.tables:
        return collection in listed
    return any(row.path == path for row in kept.images(collection))


def _find_pairs(
    candidates: Sequence[Measurement],
    others: Mapping[str, Sequence[Measurement]],
    distance: int | None,
) -> Iterator[tuple[Measurement, str, str]]:
    """Yield images with the picture that is kept instead, and why: the same, or the nearest."""
    same: dict[str, str] = {}
    for name, rows in others.items():
        for row in rows:
            same.setdefault(row.md5, f"{name}/{row.path}")
    left = []
    for row in candidates:
        if row.md5 in same:
            yield row, same[row.md5], f"the same picture as {same[row.md5]}"
        elif row.perceptual_hash:
            left.append(row)
    if distance is None or not left:
        return
    # Not before it is needed: it loads NumPy.
    from registry_assets.images.likeness import find_alike

    there = [(name, row) for name, rows in others.items() for row in rows if row.perceptual_hash]
    hashes = [row.perceptual_hash for row in (*left, *(row for _, row in there))]
    sets = [0] * len(left) + [1] * len(there)
    nearest: dict[int, tuple[int, int]] = {}
    for one, other, differing in find_alike(hashes, sets, distance, asked=[0]):
        nearest[one] = min(nearest.get(one, (differing, other)), (differing, other))
    for one, (differing, other) in sorted(nearest.items()):
        name, row = there[other - len(left)]
        place = f"{name}/{row.path}"
        yield left[one], place, f"looks like {place} ({differing} of 64 bits differ)"
