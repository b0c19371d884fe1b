"""The summary that `registry demo` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from registry_assets.curation.left_out import format_table, read_counts
from registry_assets.model import Dataset, is_folder
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.units import format_size

CHECKOUT = Path(__file__).parents[2]
"""The folder that contains the package: in a clone, the root of our repository."""

_BAR_WIDTH = 24


def summarise(lineage: Lineage) -> Iterator[str]:
    """Summarize a registry: collections, files in each output, and why images were left out.

    Yields:
        Lines for a terminal.
    """
    registry = lineage.registry
    yield f"Collections in {registry.raw_folder}/"
    for raw in registry.raw:
        version = raw.output.version
        if version is not None:
            yield f"  {raw.name:<36} {version.nfiles or 1:>6} files  {format_size(version.size):>9}"
    for dataset in registry.datasets:
        yield ""
        yield from _dataset_lines(lineage, dataset)


def _dataset_lines(lineage: Lineage, dataset: Dataset) -> Iterator[str]:
    rows = [
        (_short_name(output.path, dataset), _file_counts(lineage, group, position))
        for group in lineage.groups
        if group.metafile.startswith(f"{dataset.path}/") or group.folder == dataset.inputs
        for position, output in enumerate(group.outputs)
    ]
    most = max((sum(counts.values()) for _, counts in rows), default=0)
    yield f"Files in {dataset.path}"
    for name, counts in rows:
        total = sum(counts.values())
        bar = "█" * round(_BAR_WIDTH * total / most) if most else ""
        yield f"  {name:<48} {total:>6}  {bar}"
    judged = read_counts(lineage, dataset)
    if judged.has_measures:
        yield ""
        yield "Why images were left out"
        yield from (f"  {line}" for line in format_table(judged))


def _file_counts(lineage: Lineage, group: AssetGroup, position: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for partition, path in group.outputs[position].paths.items():
        version = lineage.nodes[path].version
        if version is not None:
            counts[partition or ""] += version.nfiles or 0 if is_folder(version.md5) else 1
    return counts


def _short_name(path: str, dataset: Dataset) -> str:
    from registry_assets.model import ITEM

    inside = path.removeprefix(f"{dataset.path}/").removeprefix("data/")
    return inside.replace(f"/{ITEM}", "")
