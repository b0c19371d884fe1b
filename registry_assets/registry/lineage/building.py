"""Builds the lineage graph: groups units, turns groups into assets, and finds the edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count
from pathlib import PurePosixPath
from typing import Literal

from registry_assets.model import (
    ITEM,
    ImportedInput,
    Output,
    RawCollection,
    Registry,
    Stage,
)
from registry_assets.registry.lineage.code_versions import CodeReader
from registry_assets.registry.lineage.graph import (
    AssetGroup,
    AssetOutput,
    Lineage,
    Node,
    NodeKind,
    Upstream,
)
from registry_assets.registry.lineage.groups import Group, Unit, gather_groups, is_here, take_apart
from registry_assets.registry.lineage.path_index import PathIndex
from registry_assets.registry.translator import COLLECTIONS, Key, RegistryTranslator


def build_lineage(registry: Registry, translator: RegistryTranslator | None = None) -> Lineage:
    """Build the graph of a registry.

    Args:
        registry: What the metafiles declare.
        translator: The rules for names (default: `RegistryTranslator`).
    """
    return _Builder(registry, translator or RegistryTranslator()).build()


class _Builder:
    def __init__(self, registry: Registry, translator: RegistryTranslator) -> None:
        self.registry = registry
        self.translator = translator
        self.code = CodeReader(registry)
        self.groups = gather_groups(registry)

    # --- names ---------------------------------------------------------------------------------

    def _assign_keys(self) -> None:
        taken: set[Key] = set()
        for group in self.groups:
            group.keys = []
            declared = group.lead.declared
            name = declared.name if declared is not None else group.lead.metafile
            for key in self._keys(group):
                while key in taken:
                    key = (*key, name)
                taken.add(key)
                group.keys.append(key)

    def _keys(self, group: Group) -> Iterator[Key]:
        settings = self.registry.settings
        keys = [self._local_key(group, output) for output in group.lead.outputs]
        if settings.box_names == "distinct":
            keys = self.translator.distinct_keys(keys)
        return ((*settings.key_prefix, *key) for key in keys)

    def _local_key(self, group: Group, output: Output) -> Key:
        declared = group.lead.declared
        if output.is_run and isinstance(declared, Stage):
            folder = str(PurePosixPath(declared.file).parent)
            is_one = declared.item is not None and not group.is_family
            name = f"{declared.name}@{declared.item}" if is_one else declared.name
            return self.translator.run_key("" if folder == "." else folder, name)
        return self.translator.asset_key(output.path)

    def _source_key(self, address: str) -> Key:
        prefix = self.registry.settings.key_prefix
        key = (*prefix, *self.translator.source_key(address))
        made = {key for group in self.groups for key in group.keys}
        return (*key, "source") if key in made else key

    def _op_names(self) -> list[str]:
        names: dict[str, None] = {}
        for group in self.groups:
            lead = group.lead
            if isinstance(lead.declared, Stage):
                wanted = self.translator.op_name(lead.metafile, lead.declared.name)
            else:
                key = self.translator.asset_key(lead.outputs[0].path)
                wanted = self.translator.op_name("", "/".join(key))
            numbered = (f"{wanted}_{number}" for number in count(2))
            names[next(name for name in chain([wanted], numbered) if name not in names)] = None
        return list(names)

    def _group_name(self, metafile: str) -> str:
        folder = self._folder(metafile)
        return self.translator.group_name("/".join((*self.registry.settings.key_prefix, folder)))

    def _folder(self, metafile: str) -> str:
        """The folder of the nearest ``dvc.yaml`` above, else that of the metafile."""
        place = PurePosixPath(metafile).parent
        pipelines = {dataset.path for dataset in self.registry.datasets}
        for folder in (place, *place.parents):
            name = "" if str(folder) == "." else str(folder)
            if name and name in pipelines:
                return name
        return "" if str(place) == "." else str(place)

    def _index_without_circles(self) -> PathIndex:
        """Split families that would be in a cycle of assets; return the index of outputs.

        DVC's graph of stages has no cycle. But if one item of a family depends on another item, the
        family as one asset depends on itself, which Dagster refuses.
        """
        index = self._index()
        for _ in self.groups:
            circle = self._find_circle(index)
            if not any(group.is_family and group.folder is None for group in circle):
                break
            self.groups = [
                part
                for group in self.groups
                for part in (take_apart(group) if any(group is g for g in circle) else [group])
            ]
            index = self._index()
        return index

    def _index(self) -> PathIndex:
        self._assign_keys()
        return PathIndex(self.groups, self.registry.root)

    def _find_circle(self, index: PathIndex) -> list[Group]:
        number_of = {key: number for number, group in enumerate(self.groups) for key in group.keys}
        graph = {
            number: {
                number_of[key]
                for unit in group.units
                if is_here(unit)
                for dependency in unit.dependencies
                for _, key, _ in index.overlapping(dependency.path)
            }
            for number, group in enumerate(self.groups)
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            return [self.groups[number] for number in set(error.args[1])]
        return []

    # --- edges ---------------------------------------------------------------------------------

    def build(self) -> Lineage:
        index = self._index_without_circles()
        nodes = {path: node for path, node in index.nodes() if ITEM not in path}
        edges: dict[tuple[str, str], None] = {}
        sources: dict[Key, str] = {}
        asset_edges: list[dict[Key, set[tuple[str | None, str | None]]]] = []
        for group in self.groups:
            pairs: defaultdict[Key, set[tuple[str | None, str | None]]] = defaultdict(set)
            for unit in group.units:
                for dependency in unit.dependencies:
                    made = index.overlapping(dependency.path) if is_here(unit) else ()
                    for path, key, partition in made:
                        pairs[key].add((unit.partition, partition))
                        edges.update(_edges(path, unit))
                    if made or ITEM in dependency.path:
                        continue
                    kind: NodeKind = "source" if dependency.is_external else "file"
                    key_of_source = None
                    if isinstance(unit.declared, ImportedInput):
                        kind = "source"
                        key_of_source = self._source_key(dependency.path)
                        sources[key_of_source] = dependency.path
                        pairs[key_of_source].add((unit.partition, None))
                    nodes.setdefault(
                        dependency.path,
                        Node(dependency.path, kind, key_of_source, version=dependency.version),
                    )
                    edges.update(_edges(dependency.path, unit))
            asset_edges.append(pairs)
        real_edges = tuple(pair for pair in edges if ITEM not in pair[0] and ITEM not in pair[1])
        return Lineage(
            self.registry,
            self.translator,
            nodes,
            real_edges,
            tuple(self._asset_groups(asset_edges)),
            sources,
            {s.address: tuple(self.code.changes(s)) for s in self.registry.stages},
        )

    def _asset_groups(
        self, asset_edges: Sequence[Mapping[Key, set[tuple[str | None, str | None]]]]
    ) -> Iterator[AssetGroup]:
        group_of_key = {key: group for group in self.groups for key in group.keys}
        upstreams = []
        for pairs in asset_edges:
            upstreams.append(
                tuple(
                    Upstream(key, _mapping(pairs[key], group_of_key.get(key)))
                    for key in sorted(pairs)
                )
            )
        partitions = self._partitions(upstreams, group_of_key)
        names = self._op_names()
        for group, upstream, name in zip(self.groups, upstreams, names, strict=True):
            lead = group.lead
            stage = lead.declared if isinstance(lead.declared, Stage) else None
            real = [unit for unit in group.units if unit.partition != ITEM]
            outputs = tuple(
                AssetOutput(
                    key,
                    output.path,
                    self._description(group, output),
                    self.translator.kinds(lead.declared, _telling_part(key, group_of_key)),
                    {unit.partition: unit.outputs[position].path for unit in real},
                )
                for position, (key, output) in enumerate(zip(group.keys, lead.outputs, strict=True))
            )
            yield AssetGroup(
                name=name,
                kind=group.kind,
                partitions=partitions.get(id(group)),
                address=lead.address,
                addresses={unit.partition: unit.address for unit in real},
                outputs=outputs,
                upstream=upstream,
                group=self._group_name(lead.metafile),
                metafile=lead.metafile,
                code_version=self.code.version(stage) if stage else None,
                folder=group.folder,
                stage=stage,
            )

    def _description(self, group: Group, output: Output) -> str:
        declared = group.lead.declared
        if isinstance(declared, Stage):
            return self.translator.output_description(declared, output)
        folder = group.folder or str(PurePosixPath(output.path).parent)
        if group.kind == "import":
            imported = declared if isinstance(declared, ImportedInput) else None
            return self.translator.import_description(imported, folder)
        raw = declared if isinstance(declared, RawCollection) else None
        return self.translator.raw_description(raw, folder)

    def _partitions(
        self, upstreams: Sequence[Sequence[Upstream]], group_of_key: Mapping[Key, Group]
    ) -> Mapping[int, str]:
        """Name the partitions of each family, by `id`; families with the same items share them."""
        parent = {id(group): group for group in self.groups if group.is_family}

        def find(group: Group) -> Group:
            while parent[id(group)] is not group:
                group = parent[id(group)]
            return group

        collections: Group | None = None
        for group in self.groups:
            if group.folder is None:
                continue
            if collections is None:
                collections = group
            parent[id(find(group))] = collections
        for group, upstream in zip(self.groups, upstreams, strict=True):
            for edge in upstream:
                if edge.partitions == "same" and edge.key in group_of_key:
                    one, other = find(group), find(group_of_key[edge.key])
                    # The upstream family gives the name.
                    lead, follower = (other, one) if other is not one else (one, one)
                    parent[id(follower)] = lead
        named: dict[int, str] = {}
        for group in self.groups:
            if not group.is_family:
                continue
            lead = find(group)
            is_collections = collections is not None and lead is find(collections)
            named[id(group)] = (
                COLLECTIONS if is_collections else self.translator.partitions_name(lead.keys[0])
            )
        return named


def _edges(path: str, unit: Unit) -> dict[tuple[str, str], None]:
    return {(path, output.path): None for output in unit.outputs}


def _mapping(
    pairs: Iterable[tuple[str | None, str | None]], upstream: Group | None
) -> Literal["same", "all"] | tuple[str, ...] | None:
    """Derive the partition mapping of two assets from pairs of (downstream, upstream) keys."""
    if upstream is None or not upstream.is_family:
        return None
    pairs = set(pairs)
    if all(down is not None and down == up for down, up in pairs):
        return "same"
    read: defaultdict[str | None, set[str]] = defaultdict(set)
    for down, up in pairs:
        read[down].add(up or "")
    partitions, *others = read.values()
    if ITEM in partitions or any(other != partitions for other in others):
        return "all"
    return tuple(sorted(partitions))


def _telling_part(key: Key, others: Iterable[Key]) -> str | None:
    """The part of a key that distinguishes it from other keys with the same last part.

    The boxes in Dagster's graph show only the last part of a key.

    Returns:
        None if no other key has the same last part.
    """
    alike = [other for other in others if other[-1] == key[-1] and other != key]
    for position in range(2, len(key) + 1):
        if any(other[-position:-1] != key[-position:-1] for other in alike):
            return key[-position]
    return None
