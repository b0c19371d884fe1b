"""What has to be made again after decisions were written."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.reading import read_recorded_status


def find_stale(lineage: Lineage, files: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """The assets that are not up to date any more because of some files, with the partition.

    Args:
        lineage: The graph, read after the files were written.
        files: The files, from the root.
    """
    for output in read_recorded_status(lineage):
        stage = lineage.registry.stage_of.get(output.path)
        read = {d.path for d in stage.dependencies} if stage is not None else set()
        if output.state == "stale" and not read.isdisjoint(files):
            yield output.asset, output.partition
