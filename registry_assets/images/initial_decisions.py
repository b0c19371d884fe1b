"""Initial decisions of a collection: those from other collections, and duplicates."""

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
)
from registry_assets.images.decisions import EMPTY, Decision, read_decisions, today
from registry_assets.images.measurements import Measurement, read_measurements
from registry_assets.images.verdicts import BrightnessRange, removal_reason
from registry_assets.writing import write_whole

BY_REGISTRY = "registry"
"""The author of decisions about duplicates."""

_MD5 = re.compile(r"\b[0-9a-f]{32}\b")


def open_decisions(path: Path, measurements: Iterable[Measurement]) -> list[Decision]:
    """Create the file of a collection, with decisions about its images from other collections.

    Unless `only_here` is set, a decision applies to the same image in every collection of the data
    set, also in later ones.

    Args:
        path: The file; those of other collections are in the same folder.
        measurements: The collection's images.

    Returns:
        The decisions that were copied from other collections.

    Raises:
        MetafileError: If one of the files is invalid.
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
            write_whole(path, with_decisions(read_text(path), taken, str(path)))
        elif not path.exists():
            write_whole(path, EMPTY)
    return taken


def _decided_elsewhere(path: Path, wanted: Set[str]) -> Iterator[Decision]:
    for other in other_files(path):
        # Most files have none of these md5s, and parsing is slow.
        if _names_any(other, wanted):
            for decision in read_decisions(other).values():
                if decision.md5 in wanted and not decision.only_here:
                    yield decision


def other_files(path: Path) -> list[Path]:
    """Return the files of decisions of other collections."""
    return [other for other in sorted(path.parent.glob("[!.]*.yaml")) if other != path]


def _names_any(path: Path, wanted: Set[str]) -> bool:
    """Whether the text of a file has one of some md5s."""
    return not wanted.isdisjoint(_MD5.findall(read_text(path)))


@dataclass(frozen=True)
class LeftOut:
    """The changed decisions about duplicates in a collection.

    Attributes:
        added: Duplicates that are left out from now on.
        dropped: Decisions that were removed, as the picture kept instead is gone.
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
    """Leave out images of a collection that are duplicates within the data set.

    Of identical images, a copy in another collection is kept, or else the first one by path.
    People's decisions stay: an allowed image is never left out. An image that is left out itself is
    no reason to leave out another, so exactly one copy is kept, in whatever order collections are
    processed, and running this again changes nothing.

    Args:
        path: The collection's file of decisions; its stem is the collection.
        tables: The tables of measurements by collection, including this one.
        listed: All collections of the data set. Earlier duplicates of a picture in a collection
            without a table stay left out.
        against: The collections to compare with.
        distance: The maximum number of differing bits, of 64; None for identical images only.
        brightness: The range that the data set keeps: a similar picture outside it must not be kept
            instead of one inside.
        anew: Whether to check only images that were left out before.
        clock: Returns the date.

    Raises:
        MetafileError: If a file of decisions is invalid.
    """
    name = path.stem
    copies: dict[str, list[Measurement]] = defaultdict(list)
    for row in read_measurements(tables[name]):
        if row.is_readable:
            copies[row.md5].append(row)
    with editing(path):
        decided = read_decisions(path)
        kept_images = _KeptImages(path.parent, tables, brightness)
        dropped = [
            decision
            for decision in decided.values()
            if decision.duplicate_of
            and not (kept_images.has(decision, listed) and _is_needed(decision, copies))
        ]
        open_ones = {d.md5 for d in dropped}
        if not anew:
            open_ones |= copies.keys() - decided.keys()
        candidates = [rows for md5, rows in copies.items() if md5 in open_ones]
        others = [other for other in against if other != name and other in tables]
        if distance is None:
            # Parsing a table takes ten times as long as searching md5s in its text.
            wanted = {rows[0].md5 for rows in candidates}
            others = [other for other in others if _names_any(tables[other], wanted)]
        pairs = _find_pairs(name, candidates, others, kept_images, distance)
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
            write_whole(path, text)
    return LeftOut(tuple(added), tuple(dropped))


class _KeptImages:
    """The images of each collection that can be kept instead of others; tables are read once."""

    def __init__(
        self, folder: Path, tables: Mapping[str, Path], brightness: BrightnessRange | None
    ) -> None:
        self._folder, self._tables = folder, tables
        self._brightness = brightness or _ANY
        self._read: dict[str, tuple[list[Measurement], Mapping[str, Decision]]] = {}

    def _of(self, collection: str) -> tuple[list[Measurement], Mapping[str, Decision]]:
        """The readable images of a collection, and the decisions about them."""
        if collection not in self._read:
            rows = [row for row in read_measurements(self._tables[collection]) if row.is_readable]
            self._read[collection] = rows, read_decisions(self._folder / f"{collection}.yaml")
        return self._read[collection]

    def images(self, collection: str) -> Iterator[Measurement]:
        """The images that no decision leaves out."""
        rows, decided = self._of(collection)
        return (row for row in rows if not removal_reason(row, _ANY, decided.get(row.md5)))

    def kept(self, collection: str) -> Iterator[Measurement]:
        """The images that are kept, by thresholds and decisions."""
        rows, decided = self._of(collection)
        return (r for r in rows if not removal_reason(r, self._brightness, decided.get(r.md5)))

    def has(self, decision: Decision, listed: Collection[str]) -> bool:
        """Whether the picture that is kept instead of a duplicate is still there.

        Follows chains: if collections are processed in parallel, that picture may itself be left
        out in favour of another.
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
    """Whether a decision still leaves out a copy in the collection."""
    return not decision.kept_path or len(copies.get(decision.md5, ())) > 1


def _find_pairs(
    name: str,
    candidates: Sequence[Sequence[Measurement]],
    others: Sequence[str],
    kept_images: _KeptImages,
    distance: int | None,
) -> Iterator[tuple[Measurement, str, str]]:
    """Yield duplicates with the picture that is kept instead, and the reason.

    Args:
        name: The collection.
        candidates: Its images, grouped by content and sorted by path.
        others: The collections to compare with.
        kept_images: Their images.
        distance: See `leave_out_duplicates`.
    """
    same: dict[str, str] = {}
    for other in others:
        for row in kept_images.images(other):
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
    # Imported only if needed, as it loads NumPy.
    from registry_assets.images.likeness import find_alike

    there = [(o, row) for o in others for row in kept_images.kept(o) if row.perceptual_hash]
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
