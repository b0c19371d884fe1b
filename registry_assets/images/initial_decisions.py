"""Decisions that a collection starts with: those about its contents elsewhere, and duplicates."""

from __future__ import annotations

import math
import re
from collections import defaultdict
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
    for other in other_files(path):
        # Most files say nothing of these contents, and parsing takes long.
        if _names_any(other, wanted):
            for decision in read_decisions(other).values():
                if decision.md5 in wanted and not decision.only_here:
                    yield decision


def other_files(path: Path) -> list[Path]:
    """Return the files of decisions beside one."""
    return [other for other in sorted(path.parent.glob("[!.]*.yaml")) if other != path]


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
    anew: bool = False,
    clock: Callable[[], str] = today,
) -> LeftOut:
    """Leave images of a collection out of a data set that it has a second time.

    Of the same content the copy in another collection stays, or else the first one by path. What
    somebody decided stays: an image that is allowed is never left out. A picture that is left out
    itself is no reason to leave another one out: so one of each stays, whichever collection was
    looked at first, and the same again changes nothing.

    Args:
        path: The collection's file of decisions, called after it.
        tables: The tables of measurements of the data set's collections that have one, this one's
            with them.
        listed: The collections of the data set. A picture of one without a table still counts where
            it was found before.
        against: The collections to compare with.
        distance: In how many of 64 bits pictures may differ; None for the same content only.
        brightness: What the data set keeps: pictures that look alike can be of another brightness,
            and one that is too dark must not take the place of one that is not. The same content
            is of the same brightness.
        anew: Whether to look only at what was left out before, and stays out if it has to.
        clock: Gives the date.

    Raises:
        MetafileError: If a file of decisions is broken.
    """
    name = path.stem
    copies: dict[str, list[Measurement]] = defaultdict(list)
    for row in read_measurements(tables[name]):
        if row.is_readable:
            copies[row.md5].append(row)
    with editing(path):
        decided = read_decisions(path)
        standing = _Standing(path.parent, tables, brightness)
        dropped = [
            decision
            for decision in decided.values()
            if decision.duplicate_of
            and not (standing.has(decision, listed) and _is_needed(decision, copies))
        ]
        open_ones = {d.md5 for d in dropped}
        if not anew:
            open_ones |= copies.keys() - decided.keys()
        candidates = [rows for md5, rows in copies.items() if md5 in open_ones]
        others = [other for other in against if other != name and other in tables]
        if distance is None:
            # Parsing a table takes ten times as long as looking for contents in its text.
            wanted = {rows[0].md5 for rows in candidates}
            others = [other for other in others if _names_any(tables[other], wanted)]
        pairs = _find_pairs(name, candidates, others, standing, distance)
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


class _Standing:
    """The images of each collection that can stand for others, each table read once."""

    def __init__(
        self, folder: Path, tables: Mapping[str, Path], brightness: BrightnessRange | None
    ) -> None:
        self._folder, self._tables = folder, tables
        self._brightness = brightness or _ANY
        self._read: dict[str, tuple[list[Measurement], Mapping[str, Decision]]] = {}

    def _of(self, collection: str) -> tuple[list[Measurement], Mapping[str, Decision]]:
        """The readable images of a collection, and what was decided about them."""
        if collection not in self._read:
            rows = [row for row in read_measurements(self._tables[collection]) if row.is_readable]
            self._read[collection] = rows, read_decisions(self._folder / f"{collection}.yaml")
        return self._read[collection]

    def images(self, collection: str) -> Iterator[Measurement]:
        """Those that nobody left out."""
        rows, decided = self._of(collection)
        return (row for row in rows if not removal_reason(row, _ANY, decided.get(row.md5)))

    def kept(self, collection: str) -> Iterator[Measurement]:
        """Those that are kept, by thresholds or by what somebody said."""
        rows, decided = self._of(collection)
        return (r for r in rows if not removal_reason(r, self._brightness, decided.get(r.md5)))

    def has(self, decision: Decision, listed: Collection[str]) -> bool:
        """Whether the picture that is kept instead of another is still there.

        Or the one that is kept instead of that: while collections come in side by side, one is left
        out in favour of another that then is left out in favour of a third.
        """
        followed: set[str] = set()
        wanted: Decision | None = decision
        while wanted is not None and wanted.duplicate_of not in followed:
            followed.add(wanted.duplicate_of)
            collection, _, path = wanted.duplicate_of.partition("/")
            if collection not in self._tables:
                return collection in listed
            rows, decided = self._of(collection)
            row = next((row for row in rows if row.path == path), None)
            if row is None:
                return False
            wanted = decided.get(row.md5)
            if wanted is None or not wanted.is_about(path) or not wanted.duplicate_of:
                brightness = _ANY if row.md5 == decision.md5 else self._brightness
                return not removal_reason(row, brightness, wanted)
        return False


_ANY = BrightnessRange(-math.inf, math.inf)


def _is_needed(decision: Decision, copies: Mapping[str, Sequence[Measurement]]) -> bool:
    """Whether a decision about copies in one collection still leaves any out."""
    return not decision.kept_path or len(copies.get(decision.md5, ())) > 1


def _find_pairs(
    name: str,
    candidates: Sequence[Sequence[Measurement]],
    others: Sequence[str],
    standing: _Standing,
    distance: int | None,
) -> Iterator[tuple[Measurement, str, str]]:
    """Yield images with the picture that is kept instead, and why: the same, or the nearest.

    Args:
        name: The collection.
        candidates: Its images, those of the same content together, by path.
        others: The collections to compare with.
        standing: Their images.
        distance: See `leave_out_duplicates`.
    """
    same: dict[str, str] = {}
    for other in others:
        for row in standing.images(other):
            same.setdefault(row.md5, f"{other}/{row.path}")
    left = []
    for rows in candidates:
        row, place = rows[0], same.get(rows[0].md5)
        if place is None and len(rows) > 1:
            row, place = rows[1], f"{name}/{rows[0].path}"
        if place is not None:
            yield row, place, f"the same picture as {place}"
        elif row.perceptual_hash:
            left.append(row)
    if distance is None or not left:
        return
    # Not before it is needed: it loads NumPy.
    from registry_assets.images.likeness import find_alike

    there = [(o, row) for o in others for row in standing.kept(o) if row.perceptual_hash]
    rows_of_both = (*left, *(row for _, row in there))
    hashes = [row.perceptual_hash for row in rows_of_both]
    thumbnails = [row.thumbnail for row in rows_of_both]
    sets = [0] * len(left) + [1] * len(there)
    nearest: dict[int, tuple[int, int]] = {}
    for one, other_one, differing in find_alike(
        hashes, sets, distance, thumbnails=thumbnails, asked=[0]
    ):
        nearest[one] = min(nearest.get(one, (differing, other_one)), (differing, other_one))
    for one, (differing, other_one) in sorted(nearest.items()):
        other, row = there[other_one - len(left)]
        place = f"{other}/{row.path}"
        yield left[one], place, f"looks like {place} ({differing} of 64 bits differ)"
