"""What there is to look at, and the state that the page watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from starlette.routing import BaseRoute

from registry_assets.curation.duplicates import find_tables
from registry_assets.curation.initial_decisions import collections_of
from registry_assets.look.answers import ask
from registry_assets.look.open_registry import OpenRegistry, Reading
from registry_assets.model import Dataset, is_folder
from registry_assets.revisions.versions.dataset_versions import read_tags_of, tag_prefix


class DatasetJson(TypedDict):
    """A data set.

    Attributes:
        name: The last part of its path.
        path: The folder; empty for the root of the registry.
        has_measures: Whether a stage of it measures pictures, so that there are verdicts.
        has_decisions: Whether people can decide about single pictures.
        collections: The collections it has taken in.
    """

    name: str
    path: str
    has_measures: bool
    has_decisions: bool
    collections: Sequence[str]


class FolderJson(TypedDict):
    """A folder with files that DVC keeps.

    Attributes:
        path: From the root of the registry.
        kind: ``raw``, ``import`` or ``stage``.
        collection: The collection; null for a folder that belongs to none.
    """

    path: str
    kind: str
    collection: str | None


class OverviewJson(TypedDict):
    """What there is to look at.

    Attributes:
        name: The registry.
        state: Changes whenever what is shown here may have changed.
        author: Who decides, as Git says; null if Git does not know.
        datasets: The data sets.
        folders: All folders with recorded files.
        versions: The tagged versions by path of the data set, the oldest first.
    """

    name: str
    state: str
    author: str | None
    datasets: Sequence[DatasetJson]
    folders: Sequence[FolderJson]
    versions: Mapping[str, Sequence[str]]


class StateJson(TypedDict):
    """The state of the registry.

    Attributes:
        state: Changes whenever what the page shows may have changed.
    """

    state: str


def routes(registry: OpenRegistry) -> Sequence[BaseRoute]:
    """The routes of this part of the API."""
    return [
        ask(registry, "/api/registry", lambda opened, _: read_overview(opened)),
        ask(registry, "/api/state", lambda opened, _: StateJson(state=opened.read().state)),
    ]


def read_overview(opened: OpenRegistry) -> OverviewJson:
    """Read what there is to look at."""
    reading = opened.read()
    registry = reading.registry
    git = opened.dvc.git
    return {
        "name": registry.name,
        "state": reading.state,
        "author": git.find_author() if git.is_present else None,
        "datasets": [_describe(reading, dataset) for dataset in registry.datasets],
        "folders": list(_find_folders(reading)),
        "versions": {
            dataset.path: [tag.name for tag in read_tags_of(git, tag_prefix(registry, dataset))]
            for dataset in registry.datasets
            if git.is_present
        },
    }


def _describe(reading: Reading, dataset: Dataset) -> DatasetJson:
    return {
        "name": dataset.name,
        "path": dataset.path,
        "has_measures": any(
            True for _ in find_tables(reading.lineage, reading.listings, dataset.path)
        ),
        "has_decisions": dataset.decisions is not None,
        "collections": list(collections_of(reading.lineage, dataset)),
    }


def _find_folders(reading: Reading) -> Iterator[FolderJson]:
    for path, node in sorted(reading.lineage.nodes.items()):
        if node.address is not None and node.version is not None and is_folder(node.version.md5):
            yield {"path": path, "kind": node.kind, "collection": node.partition}
