"""Which data sets import a new collection, and which assets follow a new version of one.

Set per data set by `take_in` in ``[tool.registry_assets]``; `registry import` ignores the setting.
"""

from __future__ import annotations

from collections.abc import Iterator

from registry_assets.errors import NotTrackedError
from registry_assets.model import Dataset, Registry, metafile_of
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.translator import COLLECTIONS, Key


def dataset_with_inputs(registry: Registry, group: AssetGroup) -> Dataset | None:
    """The data set of an asset group; None if it has none that imports collections."""
    if group.kind == "raw":
        return None
    dataset = registry.dataset_of(group.metafile)
    return dataset if dataset is not None and dataset.inputs is not None else None


def is_taken_in(registry: Registry, dataset: Dataset, collection: str) -> bool:
    """Whether a data set has imported a collection."""
    return (registry.root / metafile_of(f"{dataset.inputs}/{collection}")).exists()


def keys_that_follow(lineage: Lineage, collection: str, *, is_new: bool) -> Iterator[Key]:
    """The assets that a run for a collection materializes by default.

    Args:
        lineage: The graph.
        collection: The collection.
        is_new: Whether data sets that lack it import it, if its name matches their patterns.
    """
    for group in lineage.groups:
        if group.partitions == COLLECTIONS and _follows(
            lineage.registry, group, collection, is_new
        ):
            yield from (output.key for output in group.outputs)


def _follows(registry: Registry, group: AssetGroup, collection: str, is_new: bool) -> bool:
    dataset = dataset_with_inputs(registry, group)
    if dataset is None:
        return True
    if dataset.take_in.is_manual:
        return False
    # A collection that was imported earlier is updated even if the patterns changed since.
    is_wanted = is_new and dataset.take_in.wants(collection)
    return is_wanted or is_taken_in(registry, dataset, collection)


def stages_of(lineage: Lineage, dataset: Dataset, collection: str) -> list[str]:
    """The addresses of a data set's stages for a collection."""
    return [
        group.addresses[collection]
        for group in lineage.groups
        if group.kind == "stage"
        and group.partitions == COLLECTIONS
        and collection in group.addresses
        and lineage.registry.dataset_of(group.metafile) == dataset
    ]


def not_taken_in(collection: str, stage: str, dataset: str) -> NotTrackedError:
    """The error for a collection that the pipeline of a data set does not list."""
    return NotTrackedError(
        f"{stage} does not list {collection}: run `registry import {collection} --into {dataset}`"
    )
