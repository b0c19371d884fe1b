"""Comparing two versions of the registry: which files changed, and why.

Metafiles are compared first; listings are read only for outputs that differ.
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
    """The differences between two versions of the registry.

    Attributes:
        before: The first version.
        after: The second version.
        data: The changed files.
        reasons: Changed parameters, code and commands, by data set.
        changes: The changed outputs.
        decisions: Changed decisions about single images, by data set.
        gap: Why the listings of `data.unread` could not be fetched.
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
    before: str | None,
    after: str | None = None,
    *,
    dataset: str | None = None,
    collection: str | None = None,
    report: Report,
) -> Diff:
    """Compare two versions of the registry; fetches listings that the cache lacks.

    Args:
        lineage: The graph of the work tree.
        before: A commit, branch or tag; with `dataset`, also a version of it such as ``v3``. None
            for the metafiles in the work tree.
        after: The same.
        dataset: Compare only this data set, given by name or path.
        collection: Compare only this collection.
        report: Called with progress messages.

    Raises:
        NotFoundError: when there is no such commit, or neither version has such a data set.
        RegistryError: when neither version has such a collection.
        MetafileError: when a metafile cannot be read.
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
    """Compares versions of one registry, two at a time.

    Args:
        lineage: The graph of the work tree.
        report: Called with progress messages.

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
        """Within this context, find the places of outputs that the work tree no longer has.

        Args:
            revisions: The versions to look them up in; each is read only when needed.
        """
        root = self._lineage.registry.root
        with ExitStack() as stack:
            snapshots = Snapshots(stack)
            commits = dict.fromkeys(revision.commit for revision in revisions)
            others = (snapshots.read_here(root, commit) for commit in commits if commit)
            self._families = Families(chain([self._lineage], others))
            yield

    def find_dataset(self, asked: str | None) -> str | None:
        """The data set with a name or path, even if only an older version has it.

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
        """Compare two versions.

        Args:
            one: The first version.
            other: The second version.
            is_asked: Selects the places to compare.
            folder: Compare only metafiles in this folder.
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
        """Fetch listings that the cache lacks; returns why some could not be fetched."""
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
    """Raise if no version has a collection; otherwise it is the same in both."""
    if not any(node.partition == name for node in lineage.nodes.values()):
        raise RegistryError(
            f"neither version has a collection {name}: `registry lineage --json` lists all"
        )
