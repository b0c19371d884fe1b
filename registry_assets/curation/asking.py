"""Asking why a file is kept or left out: what each data set that has it says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.curation.explaining import Explanation, describe_explanation, explain
from registry_assets.curation.pictures import Pictures, find_last, read_pictures
from registry_assets.curation.placement import read_placement
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import NotFoundError, describe_unread
from registry_assets.images.tables import escape_text
from registry_assets.model import Dataset
from registry_assets.provenance.finding import identify, not_recorded
from registry_assets.registry.lineage.derivation import FileVersion
from registry_assets.registry.lineage.file_lineage import Step, Tracer
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.units import count_of, few_of


@dataclass(frozen=True)
class Passed:
    """How far a file came in a data set that has not measured it.

    Attributes:
        dataset: The path of the data set.
        collection: The collection; null if the outputs have none.
        outputs: The outputs that hold it, or files made from it, upstream first.
        last_stage: The last stage that passes it on; null if only the inputs have it.
        is_at_end: Whether it is in an output that no other stage of the data set reads.
        next: The command after which the answer says more; null if there is none.
    """

    dataset: str
    collection: str | None
    outputs: tuple[str, ...]
    last_stage: str | None
    is_at_end: bool
    next: str | None


@dataclass(frozen=True)
class Answer:
    """What the data sets of a registry say about a file.

    Attributes:
        file: The file as given.
        md5: The content.
        explained: The verdicts of data sets that have measured it, one for each collection and
            path.
        passed: How far it came in data sets that have not.
        raw: Where the raw collections have it, from the root.
        unread: Outputs that could not be searched because the cache lacks their listing.
    """

    file: str
    md5: str
    explained: tuple[Explanation, ...]
    passed: tuple[Passed, ...]
    raw: tuple[str, ...]
    unread: tuple[str, ...]


def ask_why(lineage: Lineage, file: Path, dataset: str | None = None) -> Answer:
    """Find out why a file is kept or left out.

    Args:
        lineage: The graph, freshly read.
        file: A file as accepted by `identify`, or `COLLECTION/PATH`.
        dataset: Ask only this data set; all that have it when None.

    Raises:
        RefusedError: for a folder, or a file that cannot be read.
        ListingNotAvailableError: when the path is in an output that is neither in the workspace
            nor has its listing in the cache.
        NotFoundError: when no current version contains it, or there is no such data set.
        MetafileError: when a decisions file cannot be read.
    """
    registry = lineage.registry
    listings = DvcRepo(registry.root).listings()
    tracer = Tracer(lineage, listings)
    chosen = registry.datasets if dataset is None else (registry.dataset(dataset),)
    all_pictures = {item: read_pictures(lineage, item.path, listings) for item in chosen}
    md5, place, named = _identify(tracer, registry.root, file, all_pictures)
    holders, unread = tracer.holders(md5) if md5 else ([], [])
    holders = [place] if place is not None and place.md5 == md5 and not holders else holders
    explained, passed = list[Explanation](), list[Passed]()
    for item, pictures in all_pictures.items():
        rows = find_rows(lineage, pictures, md5, [*holders, *([place] if place else [])], named)
        if rows:
            placement = read_placement(lineage, listings, pictures)
            explained += [explain(pictures, row, placement) for row in rows]
            unread = list(dict.fromkeys((*unread, *placement.unread)))
        measured = {pictures.columns.collection_of(row) for row in rows}
        passed += _find_passed(tracer, item, holders, measured if pictures.has_measures else set())
    raw = tuple(held.path for held in holders if lineage.nodes[held.output].kind == "raw")
    if not explained and not passed and not raw:
        raise _not_found(file, md5, listings.find(md5) if md5 else (), unread)
    return Answer(str(file), md5, tuple(explained), tuple(passed), raw, tuple(unread))


def _identify(
    tracer: Tracer, root: Path, file: Path, all_pictures: dict[Dataset, Pictures]
) -> tuple[str, FileVersion | None, tuple[str, str] | None]:
    """The content of a file, where a metafile records it, and the collection and path it names."""
    try:
        return *identify(tracer, root, file), None
    except NotFoundError:
        collection, _, path = file.as_posix().partition("/")
        for pictures in all_pictures.values():
            row = pictures.columns.row_of(collection, path)
            if row is not None:
                return pictures.columns.md5[row].decode(), None, (collection, path)
        raw_folder = tracer.lineage.registry.raw_folder
        if raw_folder is None or not path:
            raise
        try:
            return *identify(tracer, root, Path(raw_folder) / file), (collection, path)
        except NotFoundError:
            pass
        raise


def find_rows(
    lineage: Lineage,
    pictures: Pictures,
    md5: str,
    holders: Sequence[FileVersion],
    named: tuple[str, str] | None = None,
) -> list[int]:
    """Find the rows of a file among the pictures of a data set.

    Args:
        lineage: The graph.
        pictures: The pictures.
        md5: The content; also rows by path if the table has no content for them.
        holders: The places of the file.
        named: The collection and path that the user gave.
    """
    if not pictures.has_measures:
        return []
    columns = pictures.columns
    rows = columns.rows_with(md5)
    if named is not None and named[0] in columns.collections:
        row = columns.row_of(*named)
        # Only this one is asked about, even if there are copies.
        rows = [] if row is None else [row]
    for held in holders if named is None else ():
        # Files that are not opened, such as hidden ones, have no content in the table.
        collection = lineage.nodes[held.output].partition or ""
        row = columns.row_of(collection, held.file)
        if row is not None and not columns.md5[row]:
            rows.append(row)
    return sorted(set(rows))


def _find_passed(
    tracer: Tracer, dataset: Dataset, holders: Sequence[FileVersion], measured: set[str]
) -> Iterator[Passed]:
    """How far a file came in the collections of a data set that have not measured it."""
    lineage = tracer.lineage
    inside = [held for held in holders if lineage.registry.dataset_of(held.output) == dataset]
    if all(lineage.nodes[held.output].partition in measured for held in inside):
        return
    steps, _ = tracer.forward(inside)
    by_collection: dict[str | None, list[Step]] = {}
    for step in steps:
        if lineage.registry.dataset_of(step.place.output) == dataset:
            by_collection.setdefault(step.node.partition, []).append(step)
    last = find_last(lineage, dataset)
    for collection, held in by_collection.items():
        if collection in measured:
            continue
        outputs = tuple(dict.fromkeys(step.place.output for step in held))
        stages = [
            stage.name
            for path in outputs
            if (stage := lineage.registry.stage_of.get(path)) is not None
        ]
        waiting = [
            path
            for path, node in lineage.nodes.items()
            if node.kind == "stage" and node.partition == collection and node.version is None
            if lineage.registry.dataset_of(path) == dataset
        ]
        yield Passed(
            dataset.path,
            collection,
            outputs,
            stages[-1] if stages else None,
            any(path in last for path in outputs),
            f"registry materialize --collection {shlex.quote(collection)}"
            if waiting and collection is not None
            else None,
        )


def _not_found(
    file: Path, md5: str, former: Iterator[str] | Sequence[str], unread: Sequence[str]
) -> NotFoundError:
    if next(iter(former), None) is not None:
        return NotFoundError(
            f"{file} is in no current version: `registry trace {shlex.quote(str(file))}` shows "
            "where it was"
        )
    return not_recorded(file, md5, unread)


def describe_answer(answer: Answer) -> Iterator[str]:
    """Describe an answer, in lines for a terminal."""
    for explained in answer.explained:
        yield from describe_explanation(explained)
    for passed in answer.passed:
        yield from _describe_passed(passed)
    if not answer.explained and not answer.passed:
        for path in answer.raw:
            collection = PurePosixPath(path).parts[1]
            yield f"{escape_text(path)} is in no data set:"
            yield f"  `registry import {shlex.quote(collection)} --into DATASET` takes it in"


def _describe_passed(passed: Passed) -> Iterator[str]:
    where = "" if passed.collection is None else f" (collection {passed.collection})"
    yield f"{passed.dataset or '.'}{where}: without measures"
    if passed.last_stage is None:
        yield f"  in its inputs only: {few_of(passed.outputs)}"
    else:
        end = "to the end" if passed.is_at_end else "no further"
        yield f"  passed on by {passed.last_stage}, {end}"
        yield f"    in {count_of(len(passed.outputs), 'output')}: {few_of(passed.outputs)}"
    if passed.next is not None:
        yield f"  pending: run `{passed.next}`"


def describe_gaps(answer: Answer) -> str | None:
    """What the answer lacks; None if it is complete."""
    return describe_unread(answer.unread) if answer.unread else None
