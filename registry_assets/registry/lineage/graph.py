"""The graph of outputs, and the assets that represent them.

The graph has two levels: `Lineage.nodes` and `Lineage.edges` are paths, as DVC knows them;
`Lineage.groups` are the assets, in which each family of paths becomes one partitioned asset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

from registry_assets.errors import OutputNotFoundError
from registry_assets.model import (
    ITEM,
    LOCK_FILE,
    Registry,
    Stage,
    Version,
)
from registry_assets.registry.translator import Key, RegistryTranslator

NodeKind = Literal["raw", "import", "stage", "file", "source"]


@dataclass(frozen=True)
class Node:
    """One path of the graph.

    Attributes:
        key: The key of its asset; None for plain files.
        partition: The partition of that asset; None when it is not partitioned.
        address: The stage or ``.dvc`` file that declares it.
    """

    path: str
    kind: NodeKind
    key: Key | None = None
    partition: str | None = None
    address: str | None = None
    version: Version | None = None


@dataclass(frozen=True)
class Upstream:
    """An asset that another asset depends on.

    Attributes:
        partitions: The upstream partitions that each partition depends on. ``same``: the one with
            the same key. ``all``: all. A tuple: those. None: the upstream asset has no partitions.
    """

    key: Key
    partitions: Literal["same", "all"] | tuple[str, ...] | None = None

    def read_by(self, partition: str | None) -> tuple[str | None, ...] | None:
        """The upstream partitions that one partition reads; None for all."""
        if self.partitions == "all":
            return None
        if self.partitions == "same":
            return (partition,)
        return (None,) if self.partitions is None else self.partitions


@dataclass(frozen=True)
class AssetOutput:
    """One asset: an output, or a family of outputs.

    Attributes:
        path: Its path; for a family, with `ITEM` in place of the partition.
        paths: The existing paths by partition; the only key is None if it is not partitioned.
    """

    key: Key
    path: str
    description: str
    kinds: frozenset[str]
    paths: Mapping[str | None, str]


def recorded_in(address: str) -> str:
    """The metafile that records an address: the ``dvc.lock`` of a stage, or the ``.dvc`` file."""
    metafile, is_stage, _ = address.partition(":")
    return str(PurePosixPath(metafile).with_name(LOCK_FILE)) if is_stage else metafile


@dataclass(frozen=True)
class AssetGroup:
    """Assets that are materialized together: the outputs of one stage, or a family of collections.

    Attributes:
        name: The name of the op.
        kind: What materializing does.
        partitions: The name of the partitions definition; None when there are no partitions.
        address: The stage or ``.dvc`` file; for a family, with `ITEM`.
        addresses: The existing stages or ``.dvc`` files, by partition.
        group: The asset group in the UI.
        folder: The family folder, for collections.
        stage: The stage or its template; None for ``.dvc`` files.
    """

    name: str
    kind: Literal["raw", "import", "stage"]
    partitions: str | None
    address: str
    addresses: Mapping[str | None, str]
    outputs: tuple[AssetOutput, ...]
    upstream: tuple[Upstream, ...]
    group: str
    metafile: str
    code_version: str | None = None
    folder: str | None = None
    stage: Stage | None = None

    def address_of(self, partition: str | None) -> str:
        """The stage or ``.dvc`` file of a partition, which need not exist yet."""
        known = self.addresses.get(partition)
        return known or self.address.replace(ITEM, partition or "")

    def recorded_in(self, partition: str | None) -> str:
        """The ``.dvc`` file or ``dvc.lock`` that records a partition."""
        return recorded_in(self.address_of(partition))

    def path_of(self, output: AssetOutput, partition: str | None) -> str:
        """The path of an output in a partition, which need not exist yet."""
        return output.paths.get(partition) or output.path.replace(ITEM, partition or "")


@dataclass(frozen=True)
class Lineage:
    """The graph of one registry.

    Attributes:
        nodes: By path.
        edges: Pairs of paths, from upstream to downstream.
        groups: The assets, grouped by what is materialized together.
        sources: External assets: the key and the address of each.
        code_changes: How command, parameters and code of each stage differed from ``dvc.lock``
            when the graph was built, by the address of the stage.
    """

    registry: Registry
    translator: RegistryTranslator
    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    groups: tuple[AssetGroup, ...]
    sources: Mapping[Key, str] = field(default_factory=dict)
    code_changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def group_of(self) -> Mapping[Key, AssetGroup]:
        """The group of each asset."""
        return {output.key: group for group in self.groups for output in group.outputs}

    @cached_property
    def output_of(self) -> Mapping[Key, AssetOutput]:
        """Each asset by its key."""
        return {output.key: output for group in self.groups for output in group.outputs}

    @cached_property
    def partition_keys(self) -> Mapping[str, tuple[str, ...]]:
        """The existing partition keys, by the name of the partitions definition."""
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for group in self.groups:
            if group.partitions is not None:
                found[group.partitions].update(
                    dict.fromkeys(sorted(p for p in group.addresses if p))
                )
        return {name: tuple(sorted(keys)) for name, keys in found.items()}

    def node(self, path: str) -> Node:
        """The node of an output.

        Raises:
            OutputNotFoundError: when nothing declares it.
        """
        node = self.nodes.get(path)
        if node is None or node.key is None:
            raise OutputNotFoundError(path)
        return node

    @cached_property
    def upstream_of(self) -> Mapping[str, tuple[str, ...]]:
        """The direct dependencies of each path."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            found[target].append(source)
        return {path: tuple(sources) for path, sources in found.items()}

    @cached_property
    def downstream_of(self) -> Mapping[str, tuple[str, ...]]:
        """The direct dependents of each path."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            found[source].append(target)
        return {path: tuple(targets) for path, targets in found.items()}

    def with_all_downstream(
        self, paths: Collection[str], *, only: NodeKind | None = None
    ) -> set[str]:
        """The given paths and everything downstream of them.

        Args:
            paths: The paths to start from.
            only: Follow only nodes of this kind.
        """
        found, waiting = set(paths), list(paths)
        while waiting:
            for target in self.downstream_of.get(waiting.pop(), ()):
                if target not in found and (only is None or self.nodes[target].kind == only):
                    found.add(target)
                    waiting.append(target)
        return found

    def groups_in_order(self) -> Iterator[AssetGroup]:
        """All groups, upstream before downstream; among equals, collections before stages."""
        waiting = sorted(self.groups, key=lambda group: group.kind == "stage")
        while waiting:
            open_keys = {output.key for group in waiting for output in group.outputs}
            # Dependencies within a group do not count.
            ready = [
                group
                for group in waiting
                if not open_keys.intersection(u.key for u in group.upstream)
                - {output.key for output in group.outputs}
            ] or waiting
            are_stages = ready[0].kind == "stage"
            chosen = [group for group in ready if (group.kind == "stage") == are_stages]
            yield from chosen
            waiting = [group for group in waiting if group not in chosen]

    def versions_read(self, path: str) -> Mapping[str, Version]:
        """The versions of the upstream outputs that an output was made from, by path.

        As its metafile records them. For a dependency on a part of an output nothing is recorded,
        so the current version of that output is taken.
        """
        stage = self.registry.stage_of.get(path)
        imported = self.registry.import_of.get(path)
        read = stage.dependencies if stage else (imported.source,) if imported else ()
        recorded = {dependency.path: dependency.version for dependency in read}
        versions = {
            source: recorded.get(source) or self.nodes[source].version
            for source in self.upstream_of.get(path, ())
            if self.nodes[source].address is not None
        }
        return {source: version for source, version in versions.items() if version is not None}

    def input_addresses(self, path: str) -> tuple[str, ...]:
        """The stages and ``.dvc`` files that make the direct dependencies of a path."""
        addresses = (self.nodes[source].address for source in self.upstream_of.get(path, ()))
        return tuple(dict.fromkeys(address for address in addresses if address))
