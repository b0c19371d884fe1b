"""Building the graph of outputs: units into groups, groups into assets, paths into edges."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Literal

from registry_assets.addresses import without_secrets
from registry_assets.code_versions import CodeReader
from registry_assets.lineage import AssetGroup, AssetOutput, Lineage, Node, NodeKind, Upstream
from registry_assets.model import (
    ITEM,
    Dependency,
    ImportedInput,
    Output,
    RawCollection,
    Registry,
    Stage,
    Tracked,
)
from registry_assets.translator import COLLECTIONS, Key, RegistryTranslator


def build_lineage(registry: Registry, translator: RegistryTranslator | None = None) -> Lineage:
    """Builds the graph of a registry.

    Args:
        registry: What the metafiles declare.
        translator: The rules for names; the default ones when None.
    """
    return _Builder(registry, translator or RegistryTranslator()).build()


# What declares outputs: a ``.dvc`` file or a stage; a whole family has no single one.
_Declared = Tracked | Stage


@dataclass
class _Unit:
    """One stage, template or ``.dvc`` file: what it makes and what it reads."""

    address: str
    metafile: str
    partition: str | None
    outputs: tuple[Output, ...]
    dependencies: tuple[Dependency, ...]
    declared: _Declared | None


@dataclass
class _Group:
    """Units that become the partitions of the same assets; the first stands for all."""

    kind: Literal["raw", "import", "stage"]
    units: list[_Unit]
    folder: str | None = None
    keys: list[Key] = field(default_factory=list)

    @property
    def lead(self) -> _Unit:
        return self.units[0]

    @property
    def is_family(self) -> bool:
        return self.lead.partition is not None


class _Builder:
    def __init__(self, registry: Registry, translator: RegistryTranslator) -> None:
        self.registry = registry
        self.translator = translator
        self.code = CodeReader(registry)
        self.groups: list[_Group] = [*self._collection_groups(), *self._stage_groups()]

    # --- gathering units into groups -----------------------------------------------------------

    def _collection_groups(self) -> Iterator[_Group]:
        members: dict[str, list[_Unit]] = {f: [] for f in self.registry.family_folders}
        for item in self.registry.tracked:
            folder = self.registry.family_folder_of(item.output.path)
            if folder is None:
                yield _Group(_kind(item), [self._dvc_unit(item, None)])
            else:
                members[folder].append(self._dvc_unit(item, item.name))
        for folder, units in members.items():
            path = f"{folder}/{ITEM}"
            source = Dependency(f"{self.registry.raw_folder}/{ITEM}")
            is_import = folder in self.registry.importing_folders
            template = _Unit(
                address=f"{path}.dvc",
                metafile=f"{path}.dvc",
                partition=ITEM,
                outputs=(Output(path),),
                dependencies=(source,) if is_import and self.registry.raw_folder else (),
                declared=None,
            )
            yield _Group("import" if is_import else "raw", [template, *units], folder)

    @staticmethod
    def _dvc_unit(item: Tracked, partition: str | None) -> _Unit:
        read: tuple[Dependency, ...] = ()
        if isinstance(item, ImportedInput):
            read = (replace(item.source, path=source_address(item)),)
        return _Unit(item.metafile, item.metafile, partition, (item.output,), read, item)

    def _stage_groups(self) -> Iterator[_Group]:
        families = {
            (template.stage.file, template.stage.name): template
            for template in self.registry.templates
            if all(ITEM in output.path for output in template.stage.outputs)
        }
        for stage in self.registry.stages:
            template = families.get((stage.file, stage.name))
            if template is not None and stage.item and not _fits(template.stage, stage):
                del families[stage.file, stage.name]
        groups = {
            key: _Group("stage", [_stage_unit(template.stage, ITEM)])
            for key, template in families.items()
        }
        for stage in self.registry.stages:
            key = (stage.file, stage.name)
            if stage.item is not None and key in groups:
                groups[key].units.append(_stage_unit(stage, stage.item))
            else:
                groups[stage.file, stage.address] = _Group("stage", [_stage_unit(stage, None)])
        yield from groups.values()

    # --- names ---------------------------------------------------------------------------------

    def _assign_keys(self) -> None:
        taken: set[Key] = set()
        for group in self.groups:
            group.keys = []
            declared = group.lead.declared
            name = declared.name if declared is not None else group.lead.metafile
            for output in group.lead.outputs:
                key = self._key(group, output)
                while key in taken:
                    key = (*key, name)
                taken.add(key)
                group.keys.append(key)

    def _key(self, group: _Group, output: Output) -> Key:
        declared = group.lead.declared
        if output.is_run and isinstance(declared, Stage):
            folder = str(PurePosixPath(declared.file).parent)
            is_one = declared.item is not None and not group.is_family
            name = f"{declared.name}@{declared.item}" if is_one else declared.name
            return self.translator.run_key("" if folder == "." else folder, name)
        return self.translator.asset_key(output.path)

    def _source_key(self, address: str) -> Key:
        key = self.translator.source_key(address)
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

    def _folder(self, metafile: str) -> str:
        """The folder of the nearest ``dvc.yaml`` above, else that of the metafile."""
        place = PurePosixPath(metafile).parent
        pipelines = {dataset.path for dataset in self.registry.datasets}
        for folder in (place, *place.parents):
            name = "" if str(folder) == "." else str(folder)
            if name and name in pipelines:
                return name
        return "" if str(place) == "." else str(place)

    def _index_without_circles(self) -> _PathIndex:
        """Takes families apart whose items wait for one another's; the outputs of what is left.

        DVC's graph has no circles, but that of the assets would have one where one item of a family
        reads another: Dagster takes none.
        """
        index = self._index()
        for _ in self.groups:
            circle = self._find_circle(index)
            if not any(group.is_family and group.folder is None for group in circle):
                break
            self.groups = [
                part
                for group in self.groups
                for part in (_apart(group) if any(group is g for g in circle) else [group])
            ]
            index = self._index()
        return index

    def _index(self) -> _PathIndex:
        self._assign_keys()
        return _PathIndex(self.groups, self.registry.root)

    def _find_circle(self, index: _PathIndex) -> list[_Group]:
        number_of = {key: number for number, group in enumerate(self.groups) for key in group.keys}
        graph = {
            number: {
                number_of[key]
                for unit in group.units
                if _is_here(unit)
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
                    made = index.overlapping(dependency.path) if _is_here(unit) else ()
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
                group=self.translator.group_name(self._folder(lead.metafile)),
                metafile=lead.metafile,
                code_version=self.code.version(stage) if stage else None,
                folder=group.folder,
                stage=stage,
            )

    def _description(self, group: _Group, output: Output) -> str:
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
        self, upstreams: Sequence[Sequence[Upstream]], group_of_key: Mapping[Key, _Group]
    ) -> Mapping[int, str]:
        """Names the partitions of each family; those that go hand in hand share theirs."""
        parent = {id(group): group for group in self.groups if group.is_family}

        def find(group: _Group) -> _Group:
            while parent[id(group)] is not group:
                group = parent[id(group)]
            return group

        collections: _Group | None = None
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
                    # The one that stands earlier in the list stays the lead.
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


def source_address(imported: ImportedInput) -> str:
    """What an import was taken from: a path of this repository, or an address outside."""
    if imported.repository is None or not imported.source.is_external:
        return without_secrets(imported.source.path)
    return without_secrets(f"{imported.repository.rstrip('/')}/{imported.source.path}")


def _kind(item: Tracked) -> Literal["raw", "import"]:
    return "import" if isinstance(item, ImportedInput) else "raw"


def _stage_unit(stage: Stage, partition: str | None) -> _Unit:
    return _Unit(stage.address, stage.file, partition, stage.outputs, stage.dependencies, stage)


def _apart(group: _Group) -> list[_Group]:
    """Each item of a family of stages for itself."""
    if not group.is_family or group.folder is not None:
        return [group]
    units = (unit for unit in group.units if unit.partition != ITEM)
    return [_Group(group.kind, [replace(unit, partition=None)]) for unit in units]


def _fits(template: Stage, stage: Stage) -> bool:
    """Whether the outputs of an item differ from the template's in the item's name only."""
    return len(template.outputs) == len(stage.outputs) and all(
        re.fullmatch(re.escape(pattern.path).replace(ITEM, "[^/]+"), output.path)
        for pattern, output in zip(template.outputs, stage.outputs, strict=True)
    )


def _is_here(unit: _Unit) -> bool:
    """Whether what a unit reads is a place in this file system, not one in another repository."""
    declared = unit.declared
    if not isinstance(declared, ImportedInput) or declared.repository is None:
        return True
    # An address of this repository's own.
    return not declared.source.is_external


def _edges(path: str, unit: _Unit) -> dict[tuple[str, str], None]:
    return {(path, output.path): None for output in unit.outputs}


def _mapping(
    pairs: Iterable[tuple[str | None, str | None]], upstream: _Group | None
) -> Literal["same", "all"] | tuple[str, ...] | None:
    """Tells from pairs of (downstream, upstream) partitions how the two assets go together."""
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
    """The part of a key that tells it from others that end alike; None when none does.

    The boxes of the graph show the last part of a key only.
    """
    alike = [other for other in others if other[-1] == key[-1] and other != key]
    for position in range(2, len(key) + 1):
        if any(other[-position:-1] != key[-position:-1] for other in alike):
            return key[-position]
    return None


class _PathIndex:
    """Finds the outputs that a dependency overlaps: equal to it, around it or inside it.

    By absolute path, as DVC does: what lies outside the repository may be named either way.
    """

    def __init__(self, groups: Sequence[_Group], root: Path) -> None:
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
                        # Its address looks like a path, but nothing can lie around or in it.
                        self._runs[output.path] = node
                    else:
                        self._made[self._place(output.path)] = (key, unit.partition, node)
        self._sorted = sorted(f"{path}/" for path in self._made)

    def nodes(self) -> Iterator[tuple[str, Node]]:
        yield from ((node.path, node) for _, _, node in self._made.values())
        yield from self._runs.items()

    def overlapping(self, path: str) -> list[tuple[str, Key, str | None]]:
        if path not in self._found:
            self._found[path] = self._find(path)
        return self._found[path]

    def _find(self, path: str) -> list[tuple[str, Key, str | None]]:
        place = self._place(path)
        found = []
        for candidate in (place, *map(str, PurePosixPath(place).parents)):
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
        return path if "://" in path else os.path.normpath(self._root / path)


def _node_kind(declared: _Declared) -> NodeKind:
    return "stage" if isinstance(declared, Stage) else _kind(declared)
