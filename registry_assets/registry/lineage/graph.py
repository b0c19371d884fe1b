"""The graph of outputs, and the assets that stand for them.

Two levels, from the same edges: `Lineage.nodes` and `Lineage.edges` are the paths that DVC knows,
and `Lineage.groups` gathers them into assets, families as partitions.
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
        key: The asset that stands for it; None for plain files.
        partition: Which partition of that asset, None when it has none.
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
    """What an asset depends on.

    Attributes:
        partitions: ``same``: each partition on the one of its own name. ``all``: on all of them.
            Names: on those. None: the upstream asset has none.
    """

    key: Key
    partitions: Literal["same", "all"] | tuple[str, ...] | None = None

    def read_by(self, partition: str | None) -> tuple[str | None, ...] | None:
        """The partitions that one partition reads; None for all that there are."""
        if self.partitions == "all":
            return None
        if self.partitions == "same":
            return (partition,)
        return (None,) if self.partitions is None else self.partitions


@dataclass(frozen=True)
class AssetOutput:
    """One asset: an output, or a family of outputs.

    Attributes:
        path: Its path; for a family, with `ITEM` where the partition's name goes.
        paths: The paths there are now, by partition (None where it has none).
    """

    key: Key
    path: str
    description: str
    kinds: frozenset[str]
    paths: Mapping[str | None, str]


def recorded_in(address: str) -> str:
    """The metafile that records a stage, which is its ``dvc.lock``, or a ``.dvc`` file itself."""
    metafile, is_stage, _ = address.partition(":")
    return str(PurePosixPath(metafile).with_name(LOCK_FILE)) if is_stage else metafile


@dataclass(frozen=True)
class AssetGroup:
    """Assets that are made together: all outputs of one stage, or one family of collections.

    Attributes:
        name: Of the op.
        kind: What materializing does.
        partitions: The name of its partitions, None when it has none.
        address: The stage or ``.dvc`` file; for a family, with `ITEM`.
        addresses: Those there are now, by partition.
        group: The asset group in the UI.
        folder: The family folder, for collections.
        stage: The stage, or its template, None for ``.dvc`` files.
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
        """The stage or ``.dvc`` file of a partition, whether that exists yet or not."""
        known = self.addresses.get(partition)
        return known or self.address.replace(ITEM, partition or "")

    def recorded_in(self, partition: str | None) -> str:
        """The metafile that records a partition: a ``.dvc`` file, or a ``dvc.lock``."""
        return recorded_in(self.address_of(partition))

    def path_of(self, output: AssetOutput, partition: str | None) -> str:
        """The path of an output in a partition, whether that exists yet or not."""
        return output.paths.get(partition) or output.path.replace(ITEM, partition or "")


@dataclass(frozen=True)
class Lineage:
    """The graph of one registry.

    Attributes:
        nodes: By path.
        edges: Pairs of paths, from what is read to what is made.
        groups: The assets, those that are made together in one group.
        sources: External assets, by key, with the address they stand for.
        code_changes: How command, parameters and code of a stage differ from what ``dvc.lock``
            records of it, in words, by the stage's address; of the moment the graph was built.
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
        """The group of an asset, by key."""
        return {output.key: group for group in self.groups for output in group.outputs}

    @cached_property
    def output_of(self) -> Mapping[Key, AssetOutput]:
        """The asset of a key."""
        return {output.key: output for group in self.groups for output in group.outputs}

    @cached_property
    def partition_keys(self) -> Mapping[str, tuple[str, ...]]:
        """The partitions there are now, by the name that `AssetGroup.partitions` gives them."""
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
        """What a path is made of, by path."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            found[target].append(source)
        return {path: tuple(sources) for path, sources in found.items()}

    @cached_property
    def downstream_of(self) -> Mapping[str, tuple[str, ...]]:
        """What is made of a path, by path."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            found[source].append(target)
        return {path: tuple(targets) for path, targets in found.items()}

    def with_all_downstream(
        self, paths: Collection[str], *, only: NodeKind | None = None
    ) -> set[str]:
        """Paths, and all that is made of them; of one kind only, where that is given."""
        found, waiting = set(paths), list(paths)
        while waiting:
            for target in self.downstream_of.get(waiting.pop(), ()):
                if target not in found and (only is None or self.nodes[target].kind == only):
                    found.add(target)
                    waiting.append(target)
        return found

    def groups_in_order(self) -> Iterator[AssetGroup]:
        """Groups after those that they read; among equals, collections before stages."""
        waiting = sorted(self.groups, key=lambda group: group.kind == "stage")
        while waiting:
            open_keys = {output.key for group in waiting for output in group.outputs}
            # What reads another item of its own family waits for nobody.
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
        """The versions of outputs that an output was made of, by path.

        Those that its metafile records; the current one where it does not depend on a whole
        output.
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
        """The stages and ``.dvc`` files that make what a path is made of."""
        addresses = (self.nodes[source].address for source in self.upstream_of.get(path, ()))
        return tuple(dict.fromkeys(address for address in addresses if address))
