"""Versions of data sets, which are Git tags, with their contents and changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from registry_assets.git_repo import GitRepo, Tag
from registry_assets.git_repo.tags import read_tags_in
from registry_assets.model import Dataset, Registry
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.families import FamilyPlace
from registry_assets.revisions.changes.image_changes import FamilyChange
from registry_assets.revisions.changes.revisions import Revision, read_nothing
from registry_assets.revisions.versions.diffing import Comparing, Diff

Report = Callable[[str], None]

_NUMBERED = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class Held:
    """The contents of a version in one family.

    Attributes:
        family: The path of the family.
        is_input: Whether it is an input of the data set; otherwise it is a class.
        members: Number of members; in most families, collections.
        images: Number of images; None if a listing is missing.
        others: Number of other files; None if a listing is missing.
    """

    family: str
    is_input: bool
    members: int = 0
    images: int | None = 0
    others: int | None = 0


@dataclass(frozen=True)
class DatasetVersion:
    """A version of a data set.

    Attributes:
        tag: The Git tag.
        contents: The contents by family, inputs first.
        since: The changes since the previous version; for the first one, since the empty tree.
    """

    tag: Tag
    contents: tuple[Held, ...]
    since: Diff


def tag_prefix(registry: Registry, dataset: Dataset) -> str:
    """The tag prefix of a data set: its name, or its path if the name is not unique."""
    alike = [other for other in registry.datasets if other.name == dataset.name]
    return dataset.name if len(alike) == 1 else dataset.path


def read_tags_of(git: GitRepo, prefix: str) -> list[Tag]:
    """The tags of a data set in the order of its versions."""
    tags = (tag for tag in read_tags_in(git, prefix) if tag.name.rpartition("/")[0] == prefix)
    return sorted(tags, key=lambda tag: (tag.date, number_of(tag.name) or 0, tag.name))


def number_of(tag: str) -> int | None:
    """The number of a version named ``v1``, ``v2``, …; None for other names."""
    found = _NUMBERED.fullmatch(tag.rpartition("/")[2])
    return int(found[1]) if found else None


def next_name(prefix: str, tags: Iterable[str]) -> str:
    """The tag of the next version."""
    numbers = [number_of(tag) or 0 for tag in tags if tag.rpartition("/")[0] == prefix]
    return f"{prefix}/v{max(numbers, default=0) + 1}"


def read_versions(lineage: Lineage, dataset: Dataset, report: Report) -> list[DatasetVersion]:
    """Read the versions of a data set; fetches listings that the cache lacks.

    Args:
        lineage: The graph of the work tree.
        dataset: The data set.
        report: Called with progress messages.
    """
    comparing = Comparing(lineage, report)
    tags = read_tags_of(comparing.builder.git, tag_prefix(lineage.registry, dataset))
    return list(_follow(comparing, dataset, tags))


def _follow(
    comparing: Comparing, dataset: Dataset, tags: Sequence[Tag]
) -> Iterator[DatasetVersion]:
    revisions = [Revision(tag.name, tag.commit, tag.commit) for tag in tags]
    before = read_nothing(comparing.builder)
    held: Mapping[str, Held] = {}
    with comparing.placing(*reversed(revisions)):
        for tag, revision in zip(tags, revisions, strict=True):
            since = compare_dataset(comparing, dataset, before, revision)
            held = add_changes(held, since)
            yield DatasetVersion(tag, in_order(held), since)
            before = revision


def compare_dataset(comparing: Comparing, dataset: Dataset, one: Revision, other: Revision) -> Diff:
    """Compare two versions of a data set."""

    def is_asked(place: FamilyPlace) -> bool:
        return place.dataset == dataset.name

    return comparing.compare(one, other, is_asked, dataset.path)


def add_changes(held: Mapping[str, Held], diff: Diff) -> dict[str, Held]:
    """Apply changes to contents."""
    after = dict(held)
    for name, family in diff.data.families.items():
        before = after.pop(name, Held(name, diff.data.places[name].role == "input"))
        now = _add_family(before, family)
        if now.members > 0:
            after[name] = now
    return after


def _add_family(held: Held, change: FamilyChange) -> Held:
    is_known = held.images is not None and not change.images.unknown
    return replace(
        held,
        members=held.members + len(change.added) - len(change.removed),
        images=(held.images or 0) + change.images.added - change.images.removed
        if is_known
        else None,
        others=(held.others or 0) + change.others.added - change.others.removed
        if is_known
        else None,
    )


def in_order(held: Mapping[str, Held]) -> tuple[Held, ...]:
    """The contents, inputs before classes."""
    return tuple(sorted(held.values(), key=lambda item: (not item.is_input, item.family)))
