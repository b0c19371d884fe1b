"""The decisions about single images in all data sets."""

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
    """A decision, and where it holds.

    Attributes:
        dataset: The path of the data set.
        collection: Of the data set.
        file: Where it is written, from the root.
    """

    dataset: str
    collection: str
    file: str
    decision: Decision

    @property
    def image(self) -> str:
        """The image, as its collection and its path there, or its md5 where that is not known."""
        return f"{self.collection}/{self.decision.path or self.decision.md5}"

    def __str__(self) -> str:
        """In words, as a sentence about an image."""
        decision = self.decision
        done = "allowed in" if decision.verdict == "allow" else "left out of"
        when = f" on {decision.date}" if decision.date else ""
        where = f"{self.dataset} (collection {self.collection})"
        return f"{done} {where} by {decision.by}{when}, because: {decision.why}"


class DecidedJson(TypedDict):
    """What was decided about one content, in a collection of a data set.

    Attributes:
        dataset: The path of the data set.
        collection: The collection of the data set.
        decision: ``allow``: it is kept, whatever the thresholds say. ``deny``: it is left out.
        md5: Of the image.
        by: Who decided.
        why: In words.
        date: When, as in 2026-11-26.
        path: Where in the collection it stood then.
        only_here: Whether it holds in this collection only; otherwise in every collection of the
            data set that comes to have the content.
        duplicate_of: The picture that is kept instead, `COLLECTION/PATH`, of one that was left out
            because the data set has it a second time; empty otherwise.
        kept_path: Where that picture is in this collection, empty when another one has it.
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
    """The form of each item of `registry decisions --json`."""
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
    """Finds what was decided, data set by data set and collection by collection.

    Args:
        registry: The registry.
        datasets: Whose decisions; those of all data sets when None.
        md5: About which content; about all when None.

    Raises:
        MetafileError: when a file of decisions cannot be read.
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
    """The files of decisions that a data set has, from the root."""
    if dataset.decisions is None:
        return []
    places = (registry.root / dataset.decisions).glob("[!.]*.yaml")
    return sorted(f"{dataset.decisions}/{place.name}" for place in places)


def decisions_file_of(registry: Registry, group: AssetGroup, partition: str | None) -> str | None:
    """The file of decisions that a stage reads for a collection, None when it reads none."""
    dataset = registry.dataset_of(group.metafile)
    if dataset is None or partition is None or group.stage is None:
        return None
    read = {dependency.path for dependency in group.stage.dependencies}
    return dataset.decisions_file(partition) if dataset.decisions_file(ITEM) in read else None


def new_files_of(dataset: Dataset, collection: str) -> Mapping[str, str]:
    """The files that belong to a collection that a data set takes in, and what they hold."""
    file = dataset.decisions_file(collection)
    return {} if file is None else {file: EMPTY}
