"""Two versions of a registry compared: what became of images, and why.

The metafiles of both are compared first, and listings are read of what differs only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.git_repo import TreeBuilder
from registry_assets.model import is_folder, no_dataset
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.committing import (
    DecisionChange,
    MetafileChanges,
    OutputChange,
    read_changes,
)
from registry_assets.revisions.changes.families import Families, FamilyPlace
from registry_assets.revisions.changes.image_changes import DataChanges
from registry_assets.revisions.changes.reading import read_data_changes
from registry_assets.revisions.changes.revisions import Revision, check_git, read_revision
from registry_assets.revisions.changes.snapshots import Snapshots
from registry_assets.revisions.versions.run_reasons import Reason, find_reasons, place_entries

Report = Callable[[str], None]


@dataclass(frozen=True)
class Diff:
    """How two versions of a registry differ.

    Attributes:
        data: What became of files.
        reasons: What else changed, by data set; those there are are in order.
        changes: What the metafiles say.
        decisions: What people decided otherwise about single images, by data set.
        gap: Why the listings of `data.unread` could not be had.
    """

    before: Revision
    after: Revision
    data: DataChanges
    reasons: Mapping[str | None, Sequence[Reason]]
    changes: tuple[OutputChange, ...]
    decisions: Mapping[str | None, Sequence[DecisionChange]]
    gap: str | None


def compare_revisions(
    lineage: Lineage,
    before: str,
    after: str | None = None,
    *,
    dataset: str | None = None,
    collection: str | None = None,
    report: Report,
) -> Diff:
    """Compares two versions of a registry.

    Listings that the cache lacks are fetched from a remote, where it has them.

    Args:
        lineage: The graph of the work tree.
        before: A commit, branch or tag; of a data set that is named, its version alone will do.
        after: The same; the metafiles in the work tree when None.
        dataset: The only data set to look at, with its name.
        collection: The only collection.
        report: Takes lines of progress.

    Raises:
        NotFoundError: when there is no such commit.
        NotFoundError: when neither version has such a data set.
        RegistryError: when neither has such a collection.
        MetafileError: when a metafile of one cannot be read.
    """
    registry = lineage.registry
    comparing = Comparing(lineage, report)
    prefix = dataset and PurePosixPath(dataset).name
    git = comparing.builder.git
    one, other = (read_revision(registry, git, name, prefix) for name in (before, after))
    with comparing.placing(other, one):
        name = comparing.find_dataset(dataset)
        found = comparing.compare(
            one,
            other,
            lambda place: name in (None, place.dataset) and collection in (None, place.member),
        )
    if collection is not None and not found.changes:
        _check_collection(lineage, collection)
    return found


class Comparing:
    """Compares versions of one registry with each other, two at a time.

    Args:
        lineage: The graph of the work tree.
        report: Takes lines of progress.

    Raises:
        NotFoundError: when there is no Git repository.
    """

    def __init__(self, lineage: Lineage, report: Report) -> None:
        self._lineage = lineage
        self._report = report
        self._dvc = DvcRepo(lineage.registry.root)
        self._listings = self._dvc.listings()
        self._families = Families([lineage])
        check_git(self._dvc.git)
        self.builder = TreeBuilder(self._dvc.git)

    @contextmanager
    def placing(self, *revisions: Revision) -> Iterator[None]:
        """While outputs may be placed that the work tree does not know any more.

        Args:
            revisions: What tells of them; each is only read when it is needed.
        """
        root = self._lineage.registry.root
        with ExitStack() as stack:
            snapshots = Snapshots(stack)
            commits = dict.fromkeys(revision.commit for revision in revisions)
            others = (snapshots.read_here(root, commit) for commit in commits if commit)
            self._families = Families(chain([self._lineage], others))
            yield

    def find_dataset(self, asked: str | None) -> str | None:
        """The data set of a name or path, also of one that only an older version has.

        Raises:
            NotFoundError: when there is none.
        """
        if asked is None:
            return None
        known = []
        for found in self._families.datasets():
            if asked in (found.name, found.path):
                return found.name
            known.append(found.name)
        raise no_dataset(asked, list(dict.fromkeys(known)))

    def compare(
        self,
        one: Revision,
        other: Revision,
        is_asked: Callable[[FamilyPlace], bool] = lambda _place: True,
        folder: str = ".",
    ) -> Diff:
        """Compares two versions.

        Args:
            one: The first.
            other: The second.
            is_asked: Whether to look at what stands at a place.
            folder: The folder whose metafiles count.
        """
        changes = read_changes(self.builder, one.tree, other.tree, folder)
        place = self._families.place
        outputs = tuple(change for change in changes.outputs if is_asked(place(change.path)))
        entries = place_entries(changes, self._families)
        gap = self._complete(outputs)
        return Diff(
            one,
            other,
            read_data_changes(changes, self._families, self._listings, outputs),
            find_reasons(
                changes,
                {address: found for address, found in entries.items() if is_asked(found)},
                self._families,
            ),
            outputs,
            self._place_decisions(changes, is_asked),
            gap,
        )

    def _place_decisions(
        self, changes: MetafileChanges, is_asked: Callable[[FamilyPlace], bool]
    ) -> Mapping[str | None, Sequence[DecisionChange]]:
        found: defaultdict[str | None, list[DecisionChange]] = defaultdict(list)
        for change in changes.decisions:
            dataset = self._families.dataset_of(change.file)
            if is_asked(FamilyPlace(change.file, change.collection, dataset, "between", 0)):
                found[dataset].append(change)
        return found

    def _complete(self, outputs: Sequence[OutputChange]) -> str | None:
        """Fetches listings that the cache lacks; says why some are missing all the same."""
        folders = {
            version.md5: change.path
            for change in outputs
            for version in (change.before, change.after)
            if version is not None and is_folder(version.md5)
        }
        place_of = self._listings.place_of
        lacking = {md5: path for md5, path in folders.items() if place_of(md5) is None}
        if not lacking:
            return None
        self._report(f"fetching {len(lacking)} listings that are not in the cache")
        return self._dvc.fetch_listings(lacking, report=self._report)


def _check_collection(lineage: Lineage, name: str) -> None:
    """Tells a collection that is the same in both from one that nobody has."""
    if not any(node.partition == name for node in lineage.nodes.values()):
        raise RegistryError(
            f"neither version has a collection {name}: `registry lineage --json` lists what there "
            "is"
        )
