"""The graph of outputs, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from registry_assets.registry.lineage.graph import Lineage, Node, NodeKind


class NodeJson(TypedDict):
    """One path of the graph.

    Attributes:
        path: The path, from the root.
        asset: The key of its asset, with slashes; null for plain files.
        partition: The partition of that asset; null when it is not partitioned.
        kind: ``file``: a plain file that a stage reads. ``source``: a place outside the registry.
        stage: The DVC address of the stage that makes it; null when no stage does.
        md5: The recorded version; ends in ``.dir`` for a folder.
        size: Total size in bytes, where recorded.
        nfiles: Number of files, where recorded.
    """

    path: str
    asset: str | None
    partition: str | None
    kind: NodeKind
    stage: str | None
    md5: str | None
    size: int | None
    nfiles: int | None


class LineageJson(TypedDict):
    """The graph of outputs.

    Attributes:
        nodes: The paths, sorted.
        edges: Pairs of paths, from upstream to downstream.
    """

    nodes: list[NodeJson]
    edges: list[tuple[str, str]]


def describe_lineage(found: Lineage) -> Iterator[str]:
    """A line for each asset, with its number of partitions, and one for each of its upstreams."""
    for group in found.groups:
        for output in group.outputs:
            count = f"  [{len(output.paths)}]" if group.partitions else ""
            yield "/".join(output.key) + count
            yield from (f"    <- {'/'.join(upstream.key)}" for upstream in group.upstream)


def lineage_as_json(found: Lineage) -> LineageJson:
    """The JSON of `registry lineage --json`."""
    nodes = sorted(found.nodes.values(), key=lambda node: node.path)
    return {"nodes": list(map(_node_as_json, nodes)), "edges": sorted(found.edges)}


def _node_as_json(node: Node) -> NodeJson:
    version = node.version
    return {
        "path": node.path,
        "asset": "/".join(node.key) if node.key else None,
        "partition": node.partition,
        "kind": node.kind,
        "stage": node.address if node.kind == "stage" else None,
        "md5": version.md5 if version else None,
        "size": version.size if version else None,
        "nfiles": version.nfiles if version else None,
    }
