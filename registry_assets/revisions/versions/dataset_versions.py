"""The versions of data sets, which are tags of Git: what each holds, and what changed in it."""

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
    """What a version holds of a family.

    Attributes:
        family: Its path.
        is_input: Whether it is what the data set takes in; its classes otherwise.
        members: How many members it has: collections, for most families.
        images: The images in them; None where a listing is not to be had.
        others: All other files in them.
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
        contents: What it holds, inputs first.
        since: How it differs from the one before, of the first one from nothing.
    """

    tag: Tag
    contents: tuple[Held, ...]
    since: Diff


def tag_prefix(registry: Registry, dataset: Dataset) -> str:
    """What the tags of a data set begin with: its name, or its path where others have that name."""
    alike = [other for other in registry.datasets if other.name == dataset.name]
    return dataset.name if len(alike) == 1 else dataset.path


def read_tags_of(git: GitRepo, prefix: str) -> list[Tag]:
    """The tags of a data set in the order of its versions."""
    tags = (tag for tag in read_tags_in(git, prefix) if tag.name.rpartition("/")[0] == prefix)
    return sorted(tags, key=lambda tag: (tag.date, number_of(tag.name) or 0, tag.name))


def number_of(tag: str) -> int | None:
    """The number of a version; None where it is called otherwise."""
    found = _NUMBERED.fullmatch(tag.rpartition("/")[2])
    return int(found[1]) if found else None


def next_name(prefix: str, tags: Iterable[str]) -> str:
    """The tag of the version that follows others."""
    numbers = [number_of(tag) or 0 for tag in tags if tag.rpartition("/")[0] == prefix]
    return f"{prefix}/v{max(numbers, default=0) + 1}"


def read_versions(lineage: Lineage, dataset: Dataset, report: Report) -> list[DatasetVersion]:
    """The versions of a data set, with what they hold and what changed from one to the next.

    Reads what differs between them, and fetches listings that the cache lacks.

    Args:
        lineage: The graph of the work tree.
        dataset: The data set.
        report: Takes lines of progress.
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
    """How two versions of a data set differ."""

    def is_asked(place: FamilyPlace) -> bool:
        return place.dataset == dataset.name

    return comparing.compare(one, other, is_asked, dataset.path)


def add_changes(held: Mapping[str, Held], diff: Diff) -> dict[str, Held]:
    """What is held after something changed."""
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
    """What is held, inputs before classes."""
    return tuple(sorted(held.values(), key=lambda item: (not item.is_input, item.family)))
