"""Telling Dagster what changed outside it."""

from collections.abc import Callable, Iterator

from dagster import AssetKey, AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG

from registry_assets.comparison import read_data_versions
from registry_assets.git_repo import GitRepo
from registry_assets.lineage import Lineage, Node


def sync_partitions(lineage: Lineage, instance: DagsterInstance) -> None:
    """Adds the partitions that the metafiles have and Dagster does not know yet."""
    for name, keys in lineage.partition_keys.items():
        known = set(instance.get_dynamic_partitions(name))
        missing = [key for key in keys if key not in known]
        if missing:
            instance.add_dynamic_partitions(name, missing)


def sync(lineage: Lineage, instance: DagsterInstance, report: Callable[[str], None]) -> int:
    """Reports a materialization for every output whose recorded version Dagster has not seen.

    Reads the metafiles only. Upstream comes before downstream, so that no asset looks older than
    what it was made of.

    Returns:
        How many were reported.
    """
    sync_partitions(lineage, instance)
    seen = read_data_versions(lineage, instance)
    commit = GitRepo(lineage.registry.root).commit()
    count = 0
    for node in _upstream_first(lineage):
        version = node.version
        if version is None or node.key is None or node.address is None:
            continue
        if seen.get(node.path) == version.md5:
            continue
        metadata: dict[str, str | int] = {"dvc/path": node.path, "dvc/md5": version.md5}
        if version.size is not None:
            metadata["dvc/size"] = version.size
        if version.nfiles is not None:
            metadata["dvc/nfiles"] = version.nfiles
        if commit is not None:
            metadata["git/commit"] = commit
        tags = {DATA_VERSION_TAG: version.md5}
        code_version = lineage.group_of[node.key].code_version
        if code_version is not None:
            tags[CODE_VERSION_TAG] = code_version
        instance.report_runless_asset_event(
            AssetMaterialization(
                AssetKey(list(node.key)),
                description="Recorded by DVC outside Dagster.",
                metadata=metadata,
                partition=node.partition,
                tags=tags,
            )
        )
        report(f"reported {node.path}")
        count += 1
    return count


def _upstream_first(lineage: Lineage) -> Iterator[Node]:
    done: set[str] = set()

    def visit(path: str) -> Iterator[Node]:
        stack = [(path, iter(lineage.upstream_of.get(path, ())))]
        done.add(path)
        while stack:
            current, sources = stack[-1]
            source = next((s for s in sources if s not in done), None)
            if source is None:
                stack.pop()
                yield lineage.nodes[current]
            else:
                done.add(source)
                stack.append((source, iter(lineage.upstream_of.get(source, ()))))

    for path in sorted(lineage.nodes):
        if path not in done:
            yield from visit(path)
