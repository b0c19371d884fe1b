"""The family, data set and role of a path, by the graph.

A path that is no longer declared is assigned to the family of its folder.
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
    """The place of an output in the graph.

    Attributes:
        family: The path of its family; its own path if it belongs to none.
        member: Its name in the family; in most families, the collection.
        dataset: The name of its data set; None for raw collections and outside of data sets.
        role: ``raw``: a raw collection. ``input``: an import into a data set. ``end``: an output
            without dependents, such as a class of a data set. ``between``: any other.
        order: Position in topological order: higher than that of all its dependencies.
    """

    family: str
    member: str
    dataset: str | None
    role: Role
    order: int


def family_path(lineage: Lineage, key: Key) -> str:
    """The path of an asset without the name of the family member.

    A path component that is the member's name is dropped; within a component it becomes ``*``.
    """
    parts = (part for part in lineage.output_of[key].path.split("/") if part != ITEM)
    return "/".join(parts).replace(ITEM, "*")


class Families:
    """Looks up the places of outputs, in the first graph that has them.

    Args:
        lineages: The graphs; the next one is only read when an output is in none of those before.
    """

    def __init__(self, lineages: Iterable[Lineage]) -> None:
        self._unread: Iterator[Lineage] = iter(lineages)
        self._read: list[_Graph] = []
        self._known: dict[str, FamilyPlace] = {}

    def place(self, path: str) -> FamilyPlace:
        """The place of an output; if no graph has it, it is a family of its own."""
        if path not in self._known:
            found = (place for graph in self._graphs() if (place := graph.place(path)))
            alone = FamilyPlace(path, PurePosixPath(path).name, None, "end", 0)
            self._known[path] = next(found, alone)
        return self._known[path]

    def dataset_of(self, file: str) -> str | None:
        """The name of the data set that contains a file; None if there is none."""
        found = (graph.lineage.registry.dataset_of(file) for graph in self._graphs())
        return next((dataset.name for dataset in found if dataset and dataset.path), None)

    def datasets(self) -> Iterator[Dataset]:
        """The data sets of all graphs, those of the first graph first."""
        for graph in self._graphs():
            yield from graph.lineage.registry.datasets

    def holds_data(self, path: str) -> bool:
        """Whether a path is data, not code, according to the graphs read so far."""
        return any(graph.lineage.registry.holds_data(path) for graph in self._read)

    def _graphs(self) -> Iterator[_Graph]:
        yield from self._read
        for lineage in self._unread:
            graph = _Graph(lineage)
            self._read.append(graph)
            yield graph


class _Graph:
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
        return "between" if family in self._with_dependents else "end"

    @cached_property
    def _orders(self) -> Mapping[str, int]:
        groups = self.lineage.groups_in_order()
        keys = (output.key for group in groups for output in group.outputs)
        return {family_path(self.lineage, key): order for order, key in enumerate(keys)}

    @cached_property
    def _with_dependents(self) -> frozenset[str]:
        """The families with dependents."""
        return frozenset(
            family_path(self.lineage, output.key)
            for group in self.lineage.groups
            for output in group.outputs
            if any(self.lineage.downstream_of.get(path) for path in output.paths.values())
        )
