"""What became of the files of a registry between two versions of it: for whoever counts or lists.

Files are told by their content. One that has another path in the same family is renamed; one that
is in another class of the same data set has moved; and of one that came or went, the stage is named
that kept it or left it out.
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
    """A file of one version or the other.

    Attributes:
        kind: What became of it.
        path: Where it is, from the root; of one that was removed, where it was.
        before: Where it was, of one that was renamed or moved.
        stage: The stage that made or kept one that was added, though nobody put it in, or that
            left out or makes no more one that was removed, though nobody took it away.
        had_it: Whether what that stage read had it all the time.
    """

    kind: Kind
    path: str
    before: str | None = None
    stage: str | None = None
    had_it: bool = False

    @property
    def is_image(self) -> bool:
        """Whether it is a picture, by its name."""
        return has_image_suffix(self.path)


@dataclass
class Counts:
    """Files that were added, removed, changed and renamed.

    What moved from class to class counts as removed from the one and added to the other.

    Attributes:
        added: Files that are new.
        removed: Files that are gone.
        changed: Files of another content.
        renamed: Files of another name in the same place.
        unknown: How many versions have no listing on this machine, so that nothing is counted.
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
    """What changed about an output, or a family of outputs.

    Attributes:
        name: The path, without what tells the members of a family apart.
        added: Members that are new: collections, for most families.
        updated: Members that have another version.
        removed: Members that are gone.
        images: The images in them.
        others: All other files in them.
    """

    name: str
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    images: Counts = field(default_factory=Counts)
    others: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class ImageFlow:
    """Images that went the same way.

    Attributes:
        way: ``moved`` from one class to another; ``kept`` or ``left out`` by a stage that read them
            all the time; ``made`` or ``made no more`` by one.
        source: The class they were in; None where they were in none.
        target: The class they are in.
        stage: The stage, where one decided.
    """

    way: Flow
    source: str | None
    target: str | None
    stage: str | None
    images: int


@dataclass(frozen=True)
class DataChanges:
    """What became of files.

    Attributes:
        families: What changed, by path of the family, but for what is neither end nor beginning.
        places: Where each of them stands.
        flows: Images that went the same way, by data set.
        files: Every file.
        unread: Outputs of which a listing is not on this machine, so that no file is told of them.
    """

    families: Mapping[str, FamilyChange]
    places: Mapping[str, FamilyPlace]
    flows: Mapping[str | None, Sequence[ImageFlow]]
    files: tuple[ImageChange, ...]
    unread: tuple[str, ...]

    @property
    def raw(self) -> FamilyChange | None:
        """The collections as they were shot; None where none changed."""
        return next((f for n, f in self.families.items() if self.places[n].role == "raw"), None)

    @property
    def datasets(self) -> Mapping[str, Sequence[FamilyChange]]:
        """By data set, its inputs and its ends."""
        found: defaultdict[str, list[FamilyChange]] = defaultdict(list)
        for name, family in self.families.items():
            dataset = self.places[name].dataset
            if dataset is not None:
                found[dataset].append(family)
        return found
