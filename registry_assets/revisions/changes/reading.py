"""Reading changed files: compares listings, matches contents, and finds the responsible stages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from registry_assets.dvc_repo import Listings
from registry_assets.model import Version, is_folder
from registry_assets.revisions.changes.committing import MetafileChanges, OutputChange
from registry_assets.revisions.changes.families import Families, FamilyPlace
from registry_assets.revisions.changes.image_changes import (
    Counts,
    DataChanges,
    FamilyChange,
    Flow,
    ImageChange,
    ImageFlow,
    Kind,
)


def read_data_changes(
    changes: MetafileChanges,
    families: Families,
    listings: Listings,
    outputs: Iterable[OutputChange] | None = None,
) -> DataChanges:
    """Find the changed files; reads only listings that differ.

    Args:
        changes: The changes of the metafiles.
        families: Looks up the places of outputs.
        listings: Reads the listings.
        outputs: The outputs to compare; all changed ones when None.
    """
    contents = [
        _Contents.read(change, families.place(change.path), listings)
        for change in (changes.outputs if outputs is None else outputs)
    ]
    scopes: defaultdict[tuple[str | None, str], list[_Contents]] = defaultdict(list)
    for item in contents:
        if item.place.role != "between":
            scopes[item.place.dataset, item.place.role].append(item)
    stages = _Stages(contents, changes, listings)
    found: dict[str, FamilyChange] = {}
    files: list[ImageChange] = []
    flows: defaultdict[str | None, list[ImageFlow]] = defaultdict(list)
    for (dataset, role), some in scopes.items():
        counted: dict[str, FamilyChange] = {}
        ways: Counter[tuple[Flow, str | None, str | None, str | None]] = Counter()
        for item in some:
            family = counted.setdefault(item.place.family, FamilyChange(item.place.family))
            _list_member(family, item)
        for change, source, target in _compare(some, stages if role == "end" else None):
            files.append(change)
            _count(change, counted, source, target)
            way = _way_of(change)
            if way is not None and change.is_image:
                ways[way, source, target, change.stage] += 1
        found.update(counted)
        flows[dataset] += [ImageFlow(*way, count) for way, count in _sorted_ways(ways)]
    return DataChanges(
        found,
        {item.place.family: item.place for item in contents},
        {dataset: some for dataset, some in flows.items() if some},
        tuple(files),
        tuple(item.change.path for item in contents if not item.is_known),
    )


def _sorted_ways(
    ways: Counter[tuple[Flow, str | None, str | None, str | None]],
) -> list[tuple[tuple[Flow, str | None, str | None, str | None], int]]:
    """The flows by kind, the largest first."""
    order = ("moved", "kept", "left out", "made", "made no more")
    return sorted(ways.items(), key=lambda item: (order.index(item[0][0]), -item[1], str(item[0])))


@dataclass(frozen=True)
class _Contents:
    """The md5 of each file of an output, before and after; None where the listing is missing."""

    change: OutputChange
    place: FamilyPlace
    before: Mapping[str, str] | None
    after: Mapping[str, str] | None

    @classmethod
    def read(cls, change: OutputChange, place: FamilyPlace, listings: Listings) -> _Contents:
        before, after = (_files_of(v, listings) for v in (change.before, change.after))
        return cls(change, place, before, after)

    @property
    def is_known(self) -> bool:
        return self.before is not None and self.after is not None

    def path_of(self, name: str) -> str:
        return f"{self.change.path}/{name}" if name else self.change.path


def _files_of(version: Version | None, listings: Listings) -> Mapping[str, str] | None:
    if version is None:
        return {}
    if not is_folder(version.md5):
        return {"": version.md5}
    return listings.read(version.md5)


def _list_member(family: FamilyChange, item: _Contents) -> None:
    change = item.change
    kinds = (family.added, family.removed, family.updated)
    kind = 0 if change.before is None else 1 if change.after is None else 2
    kinds[kind].append(item.place.member)
    family.images.unknown += not item.is_known


def _compare(
    contents: Sequence[_Contents], stages: _Stages | None
) -> Iterator[tuple[ImageChange, str | None, str | None]]:
    """Compare the files of outputs between which files may move.

    Yields:
        A changed file, the family it was in, and the family it is in.
    """
    gone: defaultdict[str, list[tuple[_Contents, str]]] = defaultdict(list)
    come: list[tuple[_Contents, str, str]] = []
    for item in contents:
        before, after = item.before, item.after
        if before is None or after is None:
            continue
        for name, md5 in before.items():
            if name not in after:
                gone[md5].append((item, name))
        for name, md5 in after.items():
            if name not in before:
                come.append((item, name, md5))
            elif before[name] != md5:
                family = item.place.family
                yield ImageChange("changed", item.path_of(name)), family, family
    for item, name, md5 in come:
        path, family = item.path_of(name), item.place.family
        former = _take_likest(gone.get(md5), item, name)
        if former is None:
            stage, had_it = stages.that_gained(item, md5) if stages else (None, False)
            yield ImageChange("added", path, None, stage, had_it), None, family
            continue
        there, other = former
        kind: Kind = "renamed" if there.place.family == family else "moved"
        yield ImageChange(kind, path, there.path_of(other)), there.place.family, family
    for md5, left in gone.items():
        for item, name in left:
            stage, had_it = stages.that_lost(item, md5) if stages else (None, False)
            path = item.path_of(name)
            yield ImageChange("removed", path, None, stage, had_it), item.place.family, None


def _take_likest(
    candidates: list[tuple[_Contents, str]] | None, item: _Contents, name: str
) -> tuple[_Contents, str] | None:
    """Remove and return the former place of a file that is most similar to its present one."""
    if not candidates:
        return None

    def likeness(candidate: tuple[_Contents, str]) -> tuple[bool, bool, bool]:
        there, other = candidate
        return (
            there.place.member == item.place.member,
            other == name,
            there.place.family == item.place.family,
        )

    best = max(candidates, key=likeness)
    candidates.remove(best)
    return best


def _way_of(change: ImageChange) -> Flow | None:
    if change.kind == "moved":
        return "moved"
    if change.stage is None:
        return None
    if change.kind == "added":
        return "kept" if change.had_it else "made"
    return "left out" if change.had_it else "made no more"


def _count(
    change: ImageChange,
    families: Mapping[str, FamilyChange],
    source: str | None,
    target: str | None,
) -> None:
    def counts(family: str | None) -> Counts:
        assert family is not None, f"{change} is in a family"
        found = families[family]
        return found.images if change.is_image else found.others

    if change.kind in ("added", "moved"):
        counts(target).added += 1
    if change.kind in ("removed", "moved"):
        counts(source).removed += 1
    if change.kind == "changed":
        counts(target).changed += 1
    if change.kind == "renamed":
        counts(target).renamed += 1


class _Stages:
    """Finds the stage that made, kept or left out a file of a collection."""

    def __init__(
        self, contents: Iterable[_Contents], changes: MetafileChanges, listings: Listings
    ) -> None:
        self._changes = changes
        self._listings = listings
        self._of_member: defaultdict[tuple[str | None, str], list[_Contents]] = defaultdict(list)
        for item in sorted(contents, key=lambda item: item.place.order):
            if item.place.role != "raw":
                self._of_member[item.place.dataset, item.place.member].append(item)
        self._differences: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._held: dict[tuple[str, bool], frozenset[str]] = {}

    def that_gained(self, item: _Contents, md5: str) -> tuple[str | None, bool]:
        """The first stage that has a content now, and whether its input had it before."""
        return self._find(item, md5, 1)

    def that_lost(self, item: _Contents, md5: str) -> tuple[str | None, bool]:
        """The first stage that no longer has a content, and whether its input still has it."""
        return self._find(item, md5, 0)

    def _find(self, item: _Contents, md5: str, side: Literal[0, 1]) -> tuple[str | None, bool]:
        place = item.place
        for other in self._of_member[place.dataset, place.member]:
            if md5 in self._difference(other)[side]:
                stage = _stage_of(other.change)
                decided = self._changes.entries[other.change.address]
                # No stage is responsible if the collection itself changed, or if the stage was
                # added or removed.
                if other.place.role == "input" or stage is None or None in decided:
                    return None, False
                return stage, md5 in self._upstream(other.change.address, is_before=side == 1)
        return None, False

    def _difference(self, item: _Contents) -> tuple[frozenset[str], frozenset[str]]:
        path = item.change.path
        if path not in self._differences:
            before = frozenset((item.before or {}).values()) if item.is_known else frozenset()
            after = frozenset((item.after or {}).values()) if item.is_known else frozenset()
            self._differences[path] = (before - after, after - before)
        return self._differences[path]

    def _upstream(self, address: str, *, is_before: bool) -> Collection[str]:
        """The md5s of all files in the folders that a stage read."""
        key = (address, is_before)
        if key not in self._held:
            entry = self._changes.entries[address][0 if is_before else 1]
            versions = entry.read_dependencies().values() if entry else ()
            folders = (read.md5 for read in versions if is_folder(read.md5))
            listed = (self._listings.read(version) or {} for version in folders)
            self._held[key] = frozenset(md5 for files in listed for md5 in files.values())
        return self._held[key]


def _stage_of(change: OutputChange) -> str | None:
    _, _, name = change.address.partition(":")
    return name.partition("@")[0] or None
