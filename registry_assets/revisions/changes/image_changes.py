"""Changed files between two versions of the registry, as values.

Files are identified by content. A file with another path in the same family is renamed; a file in
another class of the same data set has moved; for one that was added or removed, the stage that
kept it or left it out is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from registry_assets.images import has_image_suffix
from registry_assets.revisions.changes.families import FamilyPlace

Kind = Literal["added", "removed", "changed", "renamed", "moved"]
Flow = Literal["moved", "kept", "left out", "made", "made no more"]


@dataclass(frozen=True)
class ImageChange:
    """A changed file.

    Attributes:
        kind: How it changed.
        path: Its path from the root; for a removed file, its former path.
        before: The former path of a renamed or moved file.
        stage: The stage that caused the change, if it was not caused by the collection itself:
            that makes or keeps an added file, or no longer makes or keeps a removed one.
        had_it: Whether the input of that stage contained the file both before and after.
    """

    kind: Kind
    path: str
    before: str | None = None
    stage: str | None = None
    had_it: bool = False

    @property
    def is_image(self) -> bool:
        """Whether it is an image, by its name."""
        return has_image_suffix(self.path)


@dataclass
class Counts:
    """Numbers of added, removed, changed and renamed files.

    A file that moved between classes counts as removed from one and added to the other.

    Attributes:
        added: New files.
        removed: Deleted files.
        changed: Files with other content.
        renamed: Files with another path in the same family.
        unknown: Number of versions that could not be counted, because their listing is not in the
            cache.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    renamed: int = 0
    unknown: int = 0

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.changed, self.renamed))


@dataclass
class FamilyChange:
    """Changes of an output, or of a family of outputs.

    Attributes:
        name: The path, without the name of the family member.
        added: New members; in most families, collections.
        updated: Members with another version.
        removed: Deleted members.
        images: Changed images.
        others: Other changed files.
    """

    name: str
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    images: Counts = field(default_factory=Counts)
    others: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class ImageFlow:
    """Images that changed in the same way.

    Attributes:
        way: ``moved``: from one class to another. ``kept``, ``left out``: by a stage whose input
            contained them before and after. ``made``, ``made no more``: by a stage.
        source: The class they were in; None if they were in none.
        target: The class they are in; None if they are in none.
        stage: The stage that caused the change, if any.
        images: Number of images.
    """

    way: Flow
    source: str | None
    target: str | None
    stage: str | None
    images: int


@dataclass(frozen=True)
class DataChanges:
    """Changed files between two versions of the registry.

    Attributes:
        families: The changes by path of the family, except for intermediate outputs.
        places: The place of each family in the graph.
        flows: Images that changed in the same way, by data set.
        files: Every changed file.
        unread: Outputs without file changes, because a listing is not in the cache.
    """

    families: Mapping[str, FamilyChange]
    places: Mapping[str, FamilyPlace]
    flows: Mapping[str | None, Sequence[ImageFlow]]
    files: tuple[ImageChange, ...]
    unread: tuple[str, ...]

    @property
    def raw(self) -> FamilyChange | None:
        """Changes of the raw collections; None if there are none."""
        return next((f for n, f in self.families.items() if self.places[n].role == "raw"), None)

    @property
    def datasets(self) -> Mapping[str, Sequence[FamilyChange]]:
        """Changes of inputs and ends, by data set."""
        found: defaultdict[str, list[FamilyChange]] = defaultdict(list)
        for name, family in self.families.items():
            dataset = self.places[name].dataset
            if dataset is not None:
                found[dataset].append(family)
        return found
