"""Which outputs a path overlaps."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry_assets.model import Stage, folders_above
from registry_assets.registry.lineage.graph import Node, NodeKind
from registry_assets.registry.lineage.groups import Declared, Group, kind_of
from registry_assets.registry.translator import Key


class PathIndex:
    """Finds the outputs that a dependency overlaps: the same path, a parent of it, or inside it.

    Compares absolute paths, as DVC does, because a path outside the repository may be written
    relative or absolute.
    """

    def __init__(self, groups: Sequence[Group], root: Path) -> None:
        self._root = root
        self._made: dict[str, tuple[Key, str | None, Node]] = {}
        self._runs: dict[str, Node] = {}
        self._found: dict[str, list[tuple[str, Key, str | None]]] = {}
        for group in groups:
            for unit in group.units:
                for key, output in zip(group.keys, unit.outputs, strict=True):
                    kind = group.kind if unit.declared is None else _node_kind(unit.declared)
                    node = Node(
                        output.path, kind, key, unit.partition, unit.address, output.version
                    )
                    if output.is_run:
                        # Its address looks like a path, but cannot overlap with one.
                        self._runs[output.path] = node
                    else:
                        self._made[self._place(output.path)] = (key, unit.partition, node)
        self._sorted = sorted(f"{path}/" for path in self._made)

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Every output, as its path and node."""
        yield from ((node.path, node) for _, _, node in self._made.values())
        yield from self._runs.items()

    def overlapping(self, path: str) -> list[tuple[str, Key, str | None]]:
        """The path, key and partition of each output that a path overlaps."""
        if path not in self._found:
            self._found[path] = self._find(path)
        return self._found[path]

    def _find(self, path: str) -> list[tuple[str, Key, str | None]]:
        place = self._place(path)
        found = []
        for candidate in (place, *folders_above(place)):
            if candidate in self._made:
                found.append(candidate)
        prefix = f"{place}/"
        position = bisect_left(self._sorted, prefix)
        while position < len(self._sorted) and self._sorted[position].startswith(prefix):
            inside = self._sorted[position].rstrip("/")
            if inside not in found:
                found.append(inside)
            position += 1
        return [(node.path, key, item) for key, item, node in map(self._made.__getitem__, found)]

    def _place(self, path: str) -> str:
        if "://" in path:
            return path
        # A `Path` takes ten times as long.
        return os.path.normpath(path if path.startswith("/") else f"{self._root}/{path}")


def _node_kind(declared: Declared) -> NodeKind:
    return "stage" if isinstance(declared, Stage) else kind_of(declared)
