"""The pictures of a data set or a folder with what is known of each, and the verdicts on them.

The verdicts are those of `images.judging` for the current `params.yaml` and decisions, so they are
what the stages would make now. What the stages have made is in `placement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from registry_assets.curation.duplicates import find_tables, holds_table
from registry_assets.curation.initial_decisions import PARAMETERS, collections_of
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.errors import NotFoundError, RegistryError
from registry_assets.images.contents import has_image_suffix
from registry_assets.images.decisions import Decision, read_decisions
from registry_assets.images.entries import is_video
from registry_assets.images.judging import OUTCOMES, UNREADABLE, Decided, Outcome, Outcomes, judge
from registry_assets.images.measurement_columns import (
    MeasurementColumns,
    columns_of_files,
    read_columns,
)
from registry_assets.images.measurements import is_table
from registry_assets.images.verdicts import BRIGHT, DARK, DAY, FOG, read_limits, verdict_of
from registry_assets.model import Dataset, is_folder
from registry_assets.registry.lineage.graph import AssetOutput, Lineage
from registry_assets.registry.translator import Key

_KEPT_IN_MEMORY = 2
"""How many tables, or sets of tables, that were read last are kept: a server reads them again after
each decision."""


@dataclass(frozen=True)
class Stages:
    """The stages of a data set that judge files; None for those that it does not have.

    Attributes:
        measuring: The stage that makes the tables of measurements.
        intact: The first stage that reads them, which keeps what is readable.
        thresholds: The stage with the thresholds of brightness, which also reads decisions.
        classes: The stage with the thresholds of day and fog, which sorts what is kept.
    """

    measuring: str | None = None
    intact: str | None = None
    thresholds: str | None = None
    classes: str | None = None

    def leaving_out(self, outcome: Outcome) -> str:
        """The stage that leaves out files with an outcome; empty if they are kept."""
        if outcome.is_kept:
            return ""
        if outcome == OUTCOMES[UNREADABLE]:
            return self.intact or self.thresholds or ""
        return self.thresholds or ""


@dataclass(frozen=True)
class Pictures:
    """The files of a data set, or of one folder.

    Attributes:
        source: The path of the data set or folder.
        dataset: The data set; None for a folder.
        columns: What is known of each file, a row per file.
        limits: The thresholds in `params.yaml`; empty without measures.
        decisions: The decision about each row that has one.
        stages: The stages of the data set.
        unmeasured: Collections whose table of measurements is not on this machine.
        has_measures: Whether the rows come from tables of measurements.
        unread: Outputs whose listing is not in the cache, so that their files are not known.
    """

    source: str
    dataset: Dataset | None
    columns: MeasurementColumns
    limits: Mapping[str, float]
    decisions: Mapping[int, Decision]
    stages: Stages
    unmeasured: tuple[str, ...] = ()
    has_measures: bool = True
    unread: tuple[str, ...] = ()

    @cached_property
    def decided(self) -> Decided:
        """The decisions as masks over the rows."""
        masks = {kind: np.zeros(len(self.columns), bool) for kind in Decided._fields}
        for row, decision in self.decisions.items():
            masks[verdict_of(decision) or "allowed"][row] = True
        return Decided(**masks)

    @cached_property
    def outcomes(self) -> Outcomes:
        """The outcome of each row with the current thresholds, an index in `OUTCOMES`."""
        return self.judge(self.limits)

    def judge(self, limits: Mapping[str, float]) -> Outcomes:
        """The outcome of each row with other thresholds.

        Raises:
            ValueError: when they contradict each other.
        """
        return judge(self.columns, limits, self.decided)

    def reason(self, row: int) -> str:
        """Why a row is left out, as in the table; empty if it is kept."""
        return self.columns.reason[row] or OUTCOMES[self.outcomes[row]].reason


def read_pictures(lineage: Lineage, source: str, listings: Listings | None = None) -> Pictures:
    """Read the pictures of a data set, by its name or path, or of a folder that DVC records.

    Args:
        lineage: The graph.
        source: The data set or folder.
        listings: Reads the listings.

    Raises:
        NotFoundError: when there is neither.
        RegistryError: when a decisions file cannot be read, or a table is damaged.
    """
    listings = listings or DvcRepo(lineage.registry.root).listings()
    node = lineage.nodes.get(source)
    if node is not None and node.version is not None:
        return _read_folder(lineage, listings, source)
    registry = lineage.registry
    if node is None and all(source not in (d.name, d.path or ".") for d in registry.datasets):
        names = ", ".join(dataset.name or "." for dataset in registry.datasets)
        raise NotFoundError(
            f"{source} is neither a data set nor a folder that DVC records: "
            f"{f'choose one of {names}, or ' if names else 'choose '}an output of "
            "`registry lineage`"
        )
    if node is not None and source not in {dataset.path for dataset in registry.datasets}:
        raise NotFoundError(f"{source} was not made yet: run `registry materialize`")
    dataset = registry.dataset(source)
    tables = dict(find_measured(lineage, listings, dataset))
    return (
        _read_measured(lineage, listings, dataset, tables)
        if tables
        else _read_unmeasured(lineage, listings, dataset)
    )


def find_measured(
    lineage: Lineage, listings: Listings, dataset: Dataset
) -> Iterator[tuple[str, Path]]:
    """Yield the tables of measurements of a data set, in the order of its collections."""
    found = dict(find_tables(lineage, listings, dataset.path))
    listed = [name for name in _names(lineage, dataset) if name in found]
    for name in dict.fromkeys((*listed, *found)):
        if is_table(found[name]):
            yield name, found[name]


def _names(lineage: Lineage, dataset: Dataset) -> Sequence[str]:
    return collections_of(lineage, dataset) if dataset.inputs is not None else ()


def _read_measured(
    lineage: Lineage, listings: Listings, dataset: Dataset, tables: Mapping[str, Path]
) -> Pictures:
    root = lineage.registry.root
    stamps = (_Stamp.of(name, table) for name, table in tables.items())
    try:
        columns = _with_md5s(lineage, listings, dataset, _read_columns(tuple(stamps)))
    except ValueError as error:
        raise RegistryError(f"{error}; make it again: `registry materialize --force`") from error
    decisions: dict[int, Decision] = {}
    for collection in columns.collections:
        file = dataset.decisions_file(collection)
        if file is not None:
            decisions |= _find_decided(columns, collection, read_decisions(root / file))
    return Pictures(
        dataset.path,
        dataset,
        columns,
        read_limits(root / dataset.path / PARAMETERS),
        decisions,
        find_stages(lineage, listings, dataset),
        tuple(name for name in _names(lineage, dataset) if name not in tables),
    )


class _Stamp(NamedTuple):
    """A version of a table, as far as the file system tells."""

    collection: str
    path: Path
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, collection: str, path: Path) -> _Stamp:
        status = path.stat()
        return cls(collection, path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(_KEPT_IN_MEMORY)
def _read_columns(stamps: tuple[_Stamp, ...]) -> MeasurementColumns:
    return read_columns({stamp.collection: stamp.path for stamp in stamps})


def _with_md5s(
    lineage: Lineage, listings: Listings, dataset: Dataset, columns: MeasurementColumns
) -> MeasurementColumns:
    """Add the md5s of files that no stage reads, such as videos, from the inputs' listings."""
    md5 = columns.md5.copy()
    lacking = np.flatnonzero(md5 == b"")
    for number in np.unique(columns.collection[lacking]):
        node = lineage.nodes.get(f"{dataset.inputs}/{columns.collections[number]}")
        version = node.version if node is not None else None
        files = (version and listings.read(version.md5)) or {}
        for row in lacking[columns.collection[lacking] == number]:
            md5[row] = files.get(columns.paths[row], "").encode()
    return replace(columns, md5=md5)


def read_one_table(
    dataset: Dataset,
    collection: str,
    table: Path,
    limits: Mapping[str, float],
    decisions: Mapping[str, Decision],
) -> Pictures:
    """Read the pictures of one collection, for the verdicts of one stage of its data set.

    Args:
        dataset: The data set.
        collection: The collection.
        table: Its table of measurements.
        limits: The thresholds of the stage.
        decisions: The decisions that the stage reads, by md5.

    Raises:
        OSError: when the table cannot be read.
        ValueError: when it is not such a table.
    """
    # The stages that read a table are told one after the other.
    columns = _read_columns((_Stamp.of(collection, table),))
    decided = _find_decided(columns, collection, decisions)
    return Pictures(dataset.path, dataset, columns, limits, decided, Stages())


def _find_decided(
    columns: MeasurementColumns, collection: str, decisions: Mapping[str, Decision]
) -> dict[int, Decision]:
    """The decisions about rows of a collection."""
    return {
        row: decision
        for decision in decisions.values()
        for row in columns.rows_with(decision.md5)
        if columns.collection_of(row) == collection and decision.is_about(columns.paths[row])
    }


def find_stages(lineage: Lineage, listings: Listings, dataset: Dataset) -> Stages:
    """Find the stages of a data set that judge files."""
    measuring = intact = thresholds = classes = None
    tables: set[Key] = set()
    for group in lineage.groups_in_order():
        if group.stage is None or lineage.registry.dataset_of(group.metafile) != dataset:
            continue
        keys = {parameter.key for parameter in group.stage.parameters}
        if not keys.isdisjoint((DAY.parameter, FOG.parameter)):
            classes = classes or group.stage.name
        if measuring is None and any(_makes_tables(lineage, listings, o) for o in group.outputs):
            measuring, tables = group.stage.name, {output.key for output in group.outputs}
        elif not keys.isdisjoint((DARK.parameter, BRIGHT.parameter)):
            thresholds = thresholds or group.stage.name
        elif any(upstream.key in tables for upstream in group.upstream):
            intact = intact or (group.stage.name if thresholds is None else None)
    return Stages(measuring, intact, thresholds, classes)


def _makes_tables(lineage: Lineage, listings: Listings, output: AssetOutput) -> bool:
    versions = (lineage.nodes[path].version for path in output.paths.values())
    return any(version is not None and holds_table(listings, version) for version in versions)


def _read_folder(lineage: Lineage, listings: Listings, path: str) -> Pictures:
    name = PurePosixPath(path).name
    columns = columns_of_files({name: find_pictures(lineage, listings, path)})
    unread = _find_unread(lineage, listings, [path])
    return Pictures(path, None, columns, {}, {}, Stages(), has_measures=False, unread=unread)


def _read_unmeasured(lineage: Lineage, listings: Listings, dataset: Dataset) -> Pictures:
    """The inputs of a data set, and what its last stages made besides."""
    made = [path for path in lineage.nodes if _is_made_by(lineage, dataset, path)]
    inputs = dict.fromkeys(up for path in made for up in lineage.upstream_of.get(path, ()))
    inputs.update(
        (item.output.path, None)
        for item in lineage.registry.inputs
        if lineage.registry.dataset_of(item.metafile) == dataset
    )
    found: dict[str, dict[str, str]] = {}
    known: set[str] = set()
    paths = [*(path for path in inputs if path not in made), *find_last(lineage, dataset)]
    for path in paths:
        name = lineage.nodes[path].partition or PurePosixPath(path).name
        files = found.setdefault(name, {})
        for file, md5 in find_pictures(lineage, listings, path):
            # What is passed on unchanged is in the inputs already.
            if file not in files and md5 not in known:
                files[file] = md5
        known.update(files.values())
    columns = columns_of_files({name: files.items() for name, files in found.items()})
    unread = _find_unread(lineage, listings, paths)
    return Pictures(
        dataset.path, dataset, columns, {}, {}, Stages(), has_measures=False, unread=unread
    )


def _find_unread(lineage: Lineage, listings: Listings, paths: Iterable[str]) -> tuple[str, ...]:
    """The outputs whose listing is not in the cache."""
    versions = ((path, lineage.nodes[path].version) for path in paths)
    return tuple(
        path
        for path, version in versions
        if version is not None and is_folder(version.md5) and not listings.place_of(version.md5)
    )


def _is_made_by(lineage: Lineage, dataset: Dataset, path: str) -> bool:
    node = lineage.nodes[path]
    return node.kind == "stage" and lineage.registry.dataset_of(path) == dataset


def find_last(lineage: Lineage, dataset: Dataset) -> list[str]:
    """The outputs of a data set that none of its stages reads."""
    return [
        path
        for path in sorted(lineage.nodes)
        if _is_made_by(lineage, dataset, path)
        and not any(
            _is_made_by(lineage, dataset, down) for down in lineage.downstream_of.get(path, ())
        )
    ]


def find_pictures(lineage: Lineage, listings: Listings, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and md5 of the pictures and videos of a recorded output, told by their suffix."""
    version = lineage.nodes[path].version
    if version is None:
        return
    files = listings.read(version.md5) if is_folder(version.md5) else {path: version.md5}
    for file, md5 in sorted((files or {}).items()):
        if has_image_suffix(file) or is_video(file):
            yield (file if is_folder(version.md5) else PurePosixPath(file).name), md5
