"""What is decided about a collection's images before the stage that heeds it is run.

A decision stands in a file that people edit, so no stage makes it. What the registry itself
decides, it writes when such a stage is about to run over a table of measurements for the first
time: in a run in the UI, in a bulk run and in `registry materialize`, whether the table was
measured, fetched or known to DVC's run cache. `dvc repro` alone takes the files as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    '"alike" leaves out the same pictures only: `registry duplicates --distance N` lists the others'
)


def decide_before(
    dvc: DvcRepo,
    lineage: Lineage,
    group: AssetGroup,
    partition: str | None,
    report: Callable[[str], None],
    undecided: set[str] | None = None,
) -> Before | None:
    """What decides about a collection's images before a stage; None for one that heeds nothing.

    It makes the file of decisions of a collection that has none. Into it goes what people decided
    about the same images in other collections, and where `leave_out_duplicates` says so, which of
    them the data set has a second time.

    Args:
        dvc: The repository.
        lineage: The graph.
        group: The stage.
        partition: The collection.
        report: Takes a line when something was decided.
        undecided: The collections for which this is still to come, where that is known, this one
            among them: they look at it, so those later in the list of the data set need not be
            looked at. So of several that come in together the first one's picture stays.

    Returns:
        What may raise a MetafileError, when a file of decisions cannot be read.
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
        pattern: The output that has the table of the collection `ITEM`.
    """

    dvc: DvcRepo
    lineage: Lineage
    pattern: str

    def find(self, collection: str) -> Path | None:
        """The table of a collection, in the workspace or else in the cache; None without."""
        output = self.pattern.replace(ITEM, collection)
        place: Path | None = self.lineage.registry.root / output / MEASUREMENTS_TABLE
        node = self.lineage.nodes.get(output)
        if place is not None and not place.is_file() and node is not None and node.version:
            listings = self.dvc.listings()
            md5 = (listings.read(node.version.md5) or {}).get(MEASUREMENTS_TABLE)
            place = listings.place_of(md5) if md5 is not None else None
        # One with other columns is of an earlier version: when it is made anew, it is looked at.
        return place if place is not None and is_table(place) else None

    def find_all(self, collections: Collection[str]) -> Mapping[str, Path]:
        """The tables of those collections that have one."""
        found = ((name, self.find(name)) for name in collections)
        return {name: place for name, place in found if place is not None}


def _decide(
    tables: _Tables, dataset: Dataset, collection: str, file: Path, waiting: Collection[str]
) -> Iterator[str]:
    """Decides about a collection with a new table; yields what was decided, in words.

    Args:
        tables: The tables of the data set.
        dataset: The data set.
        collection: The collection.
        file: Its file of decisions, from the root.
        waiting: Collections for which this is still to come.
    """
    registry = tables.lineage.registry
    path = registry.root / file
    table = tables.find(collection)
    taken = open_decisions(path, read_measurements(table) if table else ())
    if taken:
        yield f"{collection}: {len(taken):,} decisions taken over from other collections"
    kind = registry.settings.leave_out_duplicates_of(dataset.path)
    # Nothing can have been left out in favour of a collection that was never decided about.
    leaning = [] if collection in waiting else _files_that_lean_on(path)
    if kind is None and not leaning:
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
        # Those that come later look at this one.
        unmeasured = len(listed) - len(measured)
        if unmeasured:
            yield f"{collection}: not compared with {unmeasured:,} collections without a table here"
    for other in leaning:
        if other.stem in measured:
            found = leave_out_duplicates(other, measured, listed, listed, distance=None, anew=True)
            for line in describe_left_out(found):
                yield f"{other.stem}: {line}, as {collection} changed"


def _files_that_lean_on(path: Path) -> list[Path]:
    """The files of other collections in which pictures are left out in favour of one's."""
    wanted = re.compile(rf"duplicate_of: *[\"']?{re.escape(path.stem)}/")
    return [other for other in other_files(path) if wanted.search(read_text(other))]


def collections_of(lineage: Lineage, dataset: Dataset) -> Sequence[str]:
    """The collections of a data set, in the order in which it has taken them in."""
    registry = lineage.registry
    if dataset.collections_file is not None:
        return read_collections(registry.root / dataset.collections_file)
    inside = f"{dataset.inputs}/"
    return [item.name for item in registry.tracked if item.output.path.startswith(inside)]


def read_collections(path: Path) -> Sequence[str]:
    """The collections in the list of a data set."""
    from ruamel.yaml import YAML

    if not path.is_file():
        return ()
    data = YAML(typ="safe").load(path)
    listed = data.get("collections") if isinstance(data, dict) else None
    return tuple(map(str, listed or ()))


def describe_left_out(found: LeftOut) -> list[str]:
    """What became of duplicates, in words; nothing where nothing changed."""
    said = [f"{len(found.added):,} duplicates left out"] if found.added else []
    if found.dropped:
        said.append(f"{len(found.dropped):,} images are no duplicates any more")
    return said
