"""Whether metafiles, asset graph, event log and cache agree."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dagster import AssetKey, DagsterInstance, Definitions

from registry_assets.dvc_repo import DvcRepo
from registry_assets.forgotten import read_forgotten
from registry_assets.model import is_folder
from registry_assets.orchestration.history.event_log import (
    AssetPartition,
    Seen,
    comparable_inputs,
    find_gone,
    made_by,
    of_node,
    read_seen,
)
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.registry.status.reading import read_cache_states
from registry_assets.revisions.changes.version_history import VersionHistory, read_version_history
from registry_assets.units import few_of

_SHORT = 10


@dataclass(frozen=True)
class Difference:
    """One thing about which two sources disagree.

    Attributes:
        what: The path or asset.
        difference: How they differ.
        mend: The command that makes them agree.
    """

    what: str
    difference: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.difference}: {self.mend}"


@dataclass(frozen=True)
class Comparison:
    """How much was compared, and the differences found."""

    outputs: int
    edges: int
    materializations: int
    differences: tuple[Difference, ...]


def compare(
    lineage: Lineage,
    definitions: Definitions,
    instance: DagsterInstance,
    *,
    most_hashed: int | None = 0,
) -> Comparison:
    """Compares the metafiles with Dagster's asset graph, newest materializations and the cache.

    Args:
        lineage: The graph, from the metafiles as they are now.
        definitions: The definitions that Dagster has loaded.
        instance: The Dagster instance with the materializations.
        most_hashed: How many objects of the cache to hash, picked at random; None for all,
            including those of older versions.
    """
    nodes = [node for node in lineage.nodes.values() if node.key is not None and node.address]
    recorded = [node for node in nodes if node.version is not None]
    seen = read_seen(lineage, instance)
    differences = (
        *_unread(lineage),
        *_dvc_edges(lineage),
        *_asset_graph(lineage, definitions),
        *_materializations(lineage, recorded, seen),
        *_gone(lineage, seen),
        *_cache(lineage, recorded, most_hashed),
        *(_older_versions(lineage) if most_hashed is None else ()),
        *_forgotten(lineage),
    )
    return Comparison(len(nodes), len(lineage.edges), len(recorded), differences)


def _forgotten(lineage: Lineage) -> Iterator[Difference]:
    """Forgotten pictures that a merge or `dvc` brought back."""
    root = lineage.registry.root
    tracer = Tracer(lineage, DvcRepo(root).listings())
    for md5, path in tracer.find_standing(read_forgotten(root)).items():
        yield Difference(path, "contains a forgotten picture", f"registry forget {md5}")


def _unread(lineage: Lineage) -> Iterator[Difference]:
    for problem in lineage.registry.problems:
        yield Difference(problem, "this metafile cannot be read", "mend it by hand")


def _dvc_edges(lineage: Lineage) -> Iterator[Difference]:
    """Edges that only our graph or only DVC's own index has."""
    if lineage.registry.problems:
        return
    dvc_edges = DvcRepo(lineage.registry.root).read_edges()
    imports = {
        (item.source.path, item.output.path)
        for item in lineage.registry.inputs
        if not item.source.is_external and item.source.path in lineage.nodes
    }
    ours = {
        (source, target)
        for source, target in lineage.edges
        if lineage.nodes[source].address is not None
    }
    for source, target in sorted(dvc_edges - ours):
        yield Difference(target, f"DVC draws an edge from {source} that the assets lack", _REPORT)
    for source, target in sorted(ours - dvc_edges - imports):
        yield Difference(target, f"the assets have an edge from {source} that DVC lacks", _REPORT)


_REPORT = "please report this, it is a defect of registry_assets"
_SYNC = "registry sync"
_RELOAD = "reload the code location"
_METAFILE = "dvc/metafile"


def _asset_graph(lineage: Lineage, definitions: Definitions) -> Iterator[Difference]:
    graph = definitions.resolve_asset_graph()
    # A user's own asset has no metafile, and whatever edges its author gave it.
    generated = {key for key in graph.get_all_asset_keys() if _METAFILE in graph.get(key).metadata}
    for key in sorted(generated):
        if tuple(key.path) not in lineage.output_of:
            name = "/".join(key.path)
            yield Difference(name, "no metafile declares this asset", _RELOAD)
    for group in lineage.groups:
        for output in group.outputs:
            key = AssetKey(list(output.key))
            name = "/".join(output.key)
            if not graph.has(key):
                yield Difference(name, "there is no such asset in Dagster", _RELOAD)
            if key not in generated:
                continue
            parents = {tuple(parent.path) for parent in graph.get(key).parent_keys}
            declared = {upstream.key for upstream in group.upstream}
            for missing in sorted(declared - parents):
                yield Difference(name, f"Dagster lacks the edge from {'/'.join(missing)}", _RELOAD)
            for extra in sorted(parents - declared):
                yield Difference(name, f"Dagster has an edge from {'/'.join(extra)}", _RELOAD)


def _materializations(
    lineage: Lineage, nodes: list[Node], seen: Mapping[AssetPartition, Seen]
) -> Iterator[Difference]:
    for node in nodes:
        asset = of_node(node)
        if asset is None or node.version is None:
            continue
        newest = seen.get(asset)
        if newest is None:
            yield Difference(node.path, "Dagster has no materialization of it", _SYNC)
            continue
        if newest.version != node.version.md5:
            yield Difference(
                node.path,
                f"recorded as {node.version.md5}, newest materialization is {newest.version}",
                _SYNC,
            )
            continue
        code_version = made_by(lineage, node)
        if newest.code_version not in (None, code_version) and code_version is not None:
            yield Difference(node.path, "Dagster says that other code made it", _SYNC)
        for key, version in comparable_inputs(lineage, node).items():
            if newest.inputs.get(key, version) != version:
                name = "/".join(key)
                yield Difference(
                    node.path, f"its metafile and Dagster name different versions of {name}", _SYNC
                )


def _gone(lineage: Lineage, seen: Mapping[AssetPartition, Seen]) -> Iterator[Difference]:
    for asset in find_gone(lineage, seen):
        name = "/".join(asset.key)
        where = f"{name} {asset.partition}" if asset.partition else name
        yield Difference(where, "Dagster shows a version that no metafile records", _SYNC)


def _cache(
    lineage: Lineage, nodes: Iterable[Node], most_hashed: int | None
) -> Iterator[Difference]:
    states = read_cache_states(lineage, nodes, most_hashed)
    for path, state in states.items():
        if state.missing:
            few = f"{len(state.missing)} of {state.objects} objects of it are not in the cache"
            yield Difference(path, few, f"dvc pull {path}")
        for item in state.damaged:
            yield Difference(
                f"{path}/{item.name}" if item.name else path,
                f"its object in the cache is damaged: {item.place}",
                f"rm {item.place} && dvc pull {path}",
            )


def _older_versions(lineage: Lineage) -> Iterator[Difference]:
    """Damaged or lost objects of older versions."""
    dvc = DvcRepo(lineage.registry.root)
    listings, history = dvc.listings(), read_version_history(lineage.registry)
    current = {node.version.md5 for node in lineage.nodes.values() if node.version is not None}
    held = (listings.contents(md5) or frozenset() for md5 in current)
    older = [(path, md5) for path, md5 in history.versions if md5 not in current]
    # Prefer the path in raw data for the name of an object.
    raw = {path for path, node in lineage.nodes.items() if node.kind == "raw"}
    older.sort(key=lambda version: version[0] not in raw)
    for item in dvc.find_damaged_objects(current.union(*held)):
        names = (
            f"{path}/{name} of an older version ({md5[:_SHORT]})"
            for path, md5 in older
            for name, file in (listings.read(md5) or {} if is_folder(md5) else {"": md5}).items()
            if file == item.md5
        )
        yield Difference(
            next(names, item.place),
            f"its object in the cache is damaged: {item.place}",
            f"rm {item.place}, which a checkout of that version then fetches anew",
        )
    yield from _lost(lineage, dvc, history, older)


def _lost(
    lineage: Lineage, dvc: DvcRepo, history: VersionHistory, older: Iterable[tuple[str, str]]
) -> Iterator[Difference]:
    """Raw files of older versions on a branch or tag that neither this cache nor a remote has.

    Versions without a listing in the cache are skipped: they were never fetched here.
    """
    listings, forgotten = dvc.listings(), read_forgotten(lineage.registry.root)
    lacking: dict[tuple[str, str], frozenset[str]] = {}
    there: set[str] | None = None
    for path, md5 in older:
        node, keepers = lineage.nodes.get(path), history.keepers_of(path, md5)
        if node is None or node.kind != "raw" or not keepers or not is_folder(md5):
            continue
        there = dvc.scan_cache().keys() | forgotten.keys() if there is None else there
        gone = (listings.contents(md5) or frozenset()) - there
        if gone:
            lacking[path, md5] = gone
    wanted = frozenset().union(*lacking.values())
    answers = [dvc.find_on_remote(name, wanted) for name in dvc.remote_names()] if wanted else []
    unknown = [answer.problem for answer in answers if answer.problem is not None]
    for (path, md5), gone in lacking.items():
        lost = gone.difference(*(answer.sizes for answer in answers))
        if lost:
            names = [name for name, file in (listings.read(md5) or {}).items() if file in lost]
            few = (
                f"{few_of(names)} of an older version ({', '.join(history.keepers_of(path, md5))})"
            )
            why = f"not in the cache, and {unknown[0]}" if unknown else "in no cache or remote here"
            mend = "`registry push` on a machine that has them"
            yield Difference(path, f"{few}: {why}", mend)
