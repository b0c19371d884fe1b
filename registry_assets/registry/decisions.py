"""Decisions about single images, in all data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict

from registry_assets.images.decision_text import read_text
from registry_assets.images.decisions import EMPTY, Decision, Verdict, parse_decisions
from registry_assets.model import ITEM, Dataset, Registry
from registry_assets.registry.lineage.graph import AssetGroup


@dataclass(frozen=True)
class Decided:
    """A decision, and where it applies.

    Attributes:
        dataset: The path of the data set.
        collection: The collection in the data set.
        file: The file that records the decision, from the root.
    """

    dataset: str
    collection: str
    file: str
    decision: Decision

    @property
    def image(self) -> str:
        """The image as `COLLECTION/PATH`, or `COLLECTION/MD5` if its path is unknown."""
        return f"{self.collection}/{self.decision.path or self.decision.md5}"

    def __str__(self) -> str:
        """The predicate of a sentence about the image."""
        decision = self.decision
        done = "allowed in" if decision.verdict == "allow" else "left out of"
        when = f" on {decision.date}" if decision.date else ""
        where = f"{self.dataset} (collection {self.collection})"
        return f"{done} {where} by {decision.by}{when}, because: {decision.why}"


class DecidedJson(TypedDict):
    """A decision about an image, identified by its content, in a collection of a data set.

    Attributes:
        dataset: The path of the data set.
        collection: The collection in the data set.
        decision: ``allow``: keep it, whatever the thresholds say. ``deny``: leave it out.
        md5: The md5 of the image.
        by: Who decided.
        why: The reason given.
        date: The date of the decision, as in 2026-11-26.
        path: The path in the collection at that time.
        only_here: Whether the decision applies to this collection only; otherwise it applies to
            every collection of the data set that holds the same image.
        duplicate_of: For a duplicate that was left out: the picture kept instead, as
            `COLLECTION/PATH`; otherwise empty.
        kept_path: The path of that picture if it is in this collection; otherwise empty.
    """

    dataset: str
    collection: str
    decision: Verdict
    md5: str
    by: str
    why: str
    date: str
    path: str
    only_here: bool
    duplicate_of: str
    kept_path: str


def decided_as_json(decided: Decided) -> DecidedJson:
    """The JSON of one item of `registry decisions --json`."""
    decision = decided.decision
    return {
        "dataset": decided.dataset,
        "collection": decided.collection,
        "decision": decision.verdict,
        "md5": decision.md5,
        "by": decision.by,
        "why": decision.why,
        "date": decision.date,
        "path": decision.path,
        "only_here": decision.only_here,
        "duplicate_of": decision.duplicate_of,
        "kept_path": decision.kept_path,
    }


def find_decided(
    registry: Registry,
    datasets: Iterable[Dataset] | None = None,
    *,
    md5: str | None = None,
) -> Iterator[Decided]:
    """Find decisions, by data set and collection.

    Args:
        registry: The registry.
        datasets: The data sets to search; all when None.
        md5: The image to search for; all when None.

    Raises:
        MetafileError: when a decisions file cannot be read.
    """
    for dataset in registry.datasets if datasets is None else datasets:
        for file in decisions_files(registry, dataset):
            text = read_text(registry.root / file)
            if md5 is not None and md5 not in text:
                continue
            collection = PurePosixPath(file).stem
            for decision in parse_decisions(text, file).values():
                if md5 in (None, decision.md5):
                    yield Decided(dataset.path, collection, file, decision)


def decisions_files(registry: Registry, dataset: Dataset) -> list[str]:
    """The decisions files of a data set, from the root."""
    if dataset.decisions is None:
        return []
    places = (registry.root / dataset.decisions).glob("[!.]*.yaml")
    return sorted(f"{dataset.decisions}/{place.name}" for place in places)


def decisions_file_of(registry: Registry, group: AssetGroup, partition: str | None) -> str | None:
    """The decisions file that a stage reads for a collection; None when it reads none."""
    dataset = registry.dataset_of(group.metafile)
    if dataset is None or partition is None or group.stage is None:
        return None
    read = {dependency.path for dependency in group.stage.dependencies}
    return dataset.decisions_file(partition) if dataset.decisions_file(ITEM) in read else None


def new_files_of(dataset: Dataset, collection: str) -> Mapping[str, str]:
    """The files to create when a data set imports a collection, with their content."""
    file = dataset.decisions_file(collection)
    return {} if file is None else {file: EMPTY}
