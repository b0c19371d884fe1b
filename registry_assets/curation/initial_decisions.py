"""Automatic decisions about a collection, made before the first stage that reads them runs.

Decisions are in files that people edit, so they are not outputs of a stage. The registry writes its
own decisions just before such a stage first runs on a table of measurements: in a run in the UI, in
a bulk run and in `registry materialize`, whether the table was computed, fetched, or restored from
DVC's run cache. `dvc repro` uses the files as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_assets.bounded import check_yaml
from registry_assets.dvc_repo import Before, DvcRepo
from registry_assets.images.decision_text import read_text
from registry_assets.images.initial_decisions import (
    LeftOut,
    leave_out_duplicates,
    open_decisions,
    other_files,
)
from registry_assets.images.measurements import MEASUREMENTS_TABLE, is_table, read_measurements
from registry_assets.model import ITEM, Dataset
from registry_assets.registry.decisions import decisions_file_of
from registry_assets.registry.lineage.graph import AssetGroup, Lineage

PARAMETERS = "params.yaml"

ALIKE_IS_LISTED = (
    '"alike" leaves out identical pictures only: `registry duplicates --distance N` lists similar '
    "ones"
)


def decide_before(
    dvc: DvcRepo,
    lineage: Lineage,
    group: AssetGroup,
    partition: str | None,
    report: Callable[[str], None],
    undecided: set[str] | None = None,
) -> Before | None:
    """A callback that decides about a collection before a stage runs.

    The callback creates the decisions file of a collection that has none. It copies decisions
    about the same images in other collections and, if `leave_out_duplicates` is set, denies images
    that the data set has already. It raises MetafileError when a decisions file cannot be read.

    Args:
        dvc: The repository.
        lineage: The graph.
        group: The stage.
        partition: The collection.
        report: Called with a message for each kind of decision made.
        undecided: The collections, including this one, that are yet to be decided about in the
            same run. Those later in the data set's list are not compared with this one now, but
            will be compared with it later, so that the first collection keeps a shared picture.

    Returns:
        The callback; None if the stage does not read decisions.
    """
    dataset = lineage.registry.dataset_of(group.metafile)
    file = decisions_file_of(lineage.registry, group, partition)
    if file is None or dataset is None or partition is None or group.stage is None:
        return None
    patterns = [d.path for d in group.stage.dependencies if ITEM in d.path]

    def decide(new: Collection[str]) -> None:
        for pattern in patterns:
            if pattern.replace(ITEM, partition) in new:
                tables = _Tables(dvc, lineage, pattern)
                if tables.find(partition) is not None:
                    waiting = undecided or ()
                    for line in _decide(tables, dataset, partition, Path(file), waiting):
                        report(line)
                    if undecided is not None:
                        undecided.discard(partition)

    return decide


@dataclass(frozen=True)
class _Tables:
    """The tables of measurements of a data set.

    Attributes:
        dvc: The repository.
        lineage: The graph.
        pattern: The path of the output with the table, with `ITEM` in place of the collection.
    """

    dvc: DvcRepo
    lineage: Lineage
    pattern: str

    def find(self, collection: str) -> Path | None:
        """The table of a collection in the workspace, or else in the cache; None if missing."""
        output = self.pattern.replace(ITEM, collection)
        place: Path | None = self.lineage.registry.root / output / MEASUREMENTS_TABLE
        node = self.lineage.nodes.get(output)
        if place is not None and not place.is_file() and node is not None and node.version:
            listings = self.dvc.listings()
            md5 = (listings.read(node.version.md5) or {}).get(MEASUREMENTS_TABLE)
            place = listings.place_of(md5) if md5 is not None else None
        # A table of an earlier version has other columns; it is compared once it was recomputed.
        return place if place is not None and is_table(place) else None

    def find_all(self, collections: Collection[str]) -> Mapping[str, Path]:
        """The tables of the collections that have one."""
        found = ((name, self.find(name)) for name in collections)
        return {name: place for name, place in found if place is not None}


def _decide(
    tables: _Tables, dataset: Dataset, collection: str, file: Path, waiting: Collection[str]
) -> Iterator[str]:
    """Decide about a collection with a new table; yields messages about the decisions.

    Args:
        tables: The tables of the data set.
        dataset: The data set.
        collection: The collection.
        file: Its decisions file, from the root.
        waiting: Collections that are yet to be decided about.
    """
    registry = tables.lineage.registry
    path = registry.root / file
    table = tables.find(collection)
    taken = open_decisions(path, read_measurements(table) if table else ())
    if taken:
        yield f"{collection}: {len(taken):,} decisions copied from other collections"
    kind = registry.settings.leave_out_duplicates_of(dataset.path)
    # No picture can have been left out in favour of a collection without decisions yet.
    referring = [] if collection in waiting else _find_references(path)
    if kind is None and not referring:
        return
    listed = tuple(dict.fromkeys((*collections_of(tables.lineage, dataset), collection)))
    measured = tables.find_all(listed)
    if kind is not None:
        earlier = listed[: listed.index(collection)]
        against = [name for name in listed if name in earlier or name not in waiting]
        found = leave_out_duplicates(path, measured, listed, against, distance=None)
        yield from (f"{collection}: {line}" for line in describe_left_out(found))
        if kind == "alike":
            yield f"{collection}: {ALIKE_IS_LISTED}"
        # Later collections are compared with this one when their turn comes.
        unmeasured = len(listed) - len(measured)
        if unmeasured:
            yield f"{collection}: not compared with {unmeasured:,} collections without a table here"
    for other in referring:
        if other.stem in measured:
            found = leave_out_duplicates(other, measured, listed, listed, distance=None, anew=True)
            for line in describe_left_out(found):
                yield f"{other.stem}: {line}, as {collection} changed"


def _find_references(path: Path) -> list[Path]:
    """Decisions files of other collections that leave out pictures in favour of this one's."""
    wanted = re.compile(rf"duplicate_of: *[\"']?{re.escape(path.stem)}/")
    return [other for other in other_files(path) if wanted.search(read_text(other))]


def collections_of(lineage: Lineage, dataset: Dataset) -> Sequence[str]:
    """The collections of a data set, in the order in which they were imported."""
    registry = lineage.registry
    if dataset.collections_file is not None:
        return read_collections(registry.root / dataset.collections_file)
    inside = f"{dataset.inputs}/"
    return [item.name for item in registry.tracked if item.output.path.startswith(inside)]


def read_collections(path: Path) -> Sequence[str]:
    """The collections listed in a ``collections.yaml``."""
    from ruamel.yaml import YAML

    if not path.is_file():
        return ()
    text = read_text(path)
    check_yaml(text, str(path))
    data = YAML(typ="safe").load(text)
    listed = data.get("collections") if isinstance(data, dict) else None
    return tuple(map(str, listed or ()))


def describe_left_out(found: LeftOut) -> list[str]:
    """Describe changes of duplicates; empty if nothing changed."""
    said = [f"{len(found.added):,} duplicates left out"] if found.added else []
    if found.dropped:
        said.append(f"{len(found.dropped):,} images are no longer duplicates")
    return said
