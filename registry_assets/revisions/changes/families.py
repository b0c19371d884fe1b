"""Where a path stands: which family and data set it belongs to, and what part it plays there.

As graphs tell it; a path that is declared no more goes where the others of its folder are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

from registry_assets.model import ITEM, Dataset
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.translator import Key

Role = Literal["raw", "input", "between", "end"]


@dataclass(frozen=True)
class FamilyPlace:
    """Where an output stands.

    Attributes:
        family: The path of its family, which is its own where it is an output of its own.
        member: What tells it from the others of the family: the collection, for most families.
        dataset: The name of the data set that it lies in; None for raw collections, and for what
            lies in no data set.
        role: ``raw``: as it was shot. ``input``: taken in by the data set. ``end``: nothing is made
            of it; what a data set sorts images into is its classes. ``between``: all the rest.
        order: Higher than that of everything it is made of.
    """

    family: str
    member: str
    dataset: str | None
    role: Role
    order: int


def family_path(lineage: Lineage, key: Key) -> str:
    """The path of an asset, without what tells the members of a family apart.

    Where that is some of a part, ``*`` stands for it.
    """
    parts = (part for part in lineage.output_of[key].path.split("/") if part != ITEM)
    return "/".join(parts).replace(ITEM, "*")


class Families:
    """Places outputs by what graphs say of them, the first that knows one.

    Args:
        lineages: The graphs; a further one is only asked for when those before know nothing.
    """

    def __init__(self, lineages: Iterable[Lineage]) -> None:
        self._unread: Iterator[Lineage] = iter(lineages)
        self._read: list[_Graph] = []
        self._known: dict[str, FamilyPlace] = {}

    def place(self, path: str) -> FamilyPlace:
        """Where an output stands; on its own where no graph knows it."""
        if path not in self._known:
            found = (place for graph in self._graphs() if (place := graph.place(path)))
            alone = FamilyPlace(path, PurePosixPath(path).name, None, "end", 0)
            self._known[path] = next(found, alone)
        return self._known[path]

    def dataset_of(self, file: str) -> str | None:
        """The name of the data set that a file lies in; None where no graph knows one."""
        found = (graph.lineage.registry.dataset_of(file) for graph in self._graphs())
        return next((dataset.name for dataset in found if dataset and dataset.path), None)

    def datasets(self) -> Iterator[Dataset]:
        """The data sets of the graphs; those of the first graph first."""
        for graph in self._graphs():
            yield from graph.lineage.registry.datasets

    def holds_data(self, path: str) -> bool:
        """Whether a path is data, not code, as far as the graphs tell that were needed so far."""
        return any(graph.lineage.registry.holds_data(path) for graph in self._read)

    def _graphs(self) -> Iterator[_Graph]:
        yield from self._read
        for lineage in self._unread:
            graph = _Graph(lineage)
            self._read.append(graph)
            yield graph


class _Graph:
    """One graph, asked for places."""

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage

    def place(self, path: str) -> FamilyPlace | None:
        node = self.lineage.nodes.get(path)
        member = PurePosixPath(path).name
        if node is not None and node.key in self.lineage.output_of:
            assert node.key is not None, f"{path} has an asset"
            family = family_path(self.lineage, node.key)
            member = node.partition or member
        else:
            family = str(PurePosixPath(path).parent)
            if family not in self._orders and family not in self.lineage.registry.family_folders:
                return None
        dataset = self._dataset_of(family)
        return FamilyPlace(
            family,
            member,
            None if dataset is None or family == self.lineage.registry.raw_folder else dataset.name,
            self._role_of(family, dataset),
            self._orders.get(family, -1),
        )

    def _dataset_of(self, family: str) -> Dataset | None:
        found = self.lineage.registry.dataset_of(f"{family}/")
        return found if found is not None and found.path else None

    def _role_of(self, family: str, dataset: Dataset | None) -> Role:
        if family == self.lineage.registry.raw_folder:
            return "raw"
        if dataset is not None and family == dataset.inputs:
            return "input"
        return "between" if family in self._read_on else "end"

    @cached_property
    def _orders(self) -> Mapping[str, int]:
        groups = self.lineage.groups_in_order()
        keys = (output.key for group in groups for output in group.outputs)
        return {family_path(self.lineage, key): order for order, key in enumerate(keys)}

    @cached_property
    def _read_on(self) -> frozenset[str]:
        """The families that something is made of."""
        return frozenset(
            family_path(self.lineage, output.key)
            for group in self.lineage.groups
            for output in group.outputs
            if any(self.lineage.downstream_of.get(path) for path in output.paths.values())
        )
