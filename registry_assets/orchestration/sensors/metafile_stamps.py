"""Detects that metafiles or code changed, without reading them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry_assets.fingerprint import fingerprint_dates
from registry_assets.model import PIPELINE_FILE, Registry
from registry_assets.registry.decisions import decisions_files
from registry_assets.registry.metafile_walk import Found, Kind, RepeatedWalk


@dataclass(frozen=True)
class Stamps:
    """Texts that change when files are written, added or removed.

    Attributes:
        metafiles: Covers all metafiles, lists of collections and decisions about images.
        definitions: Covers what defines the assets: every ``dvc.yaml`` with its variables, the
            settings, and the code and parameters of code versions.
    """

    metafiles: str
    definitions: str


def read_stamps(
    registry: Registry, walk: Callable[[Registry], Sequence[Found]] | None = None
) -> Stamps:
    """Computes the stamps from names, modification times and sizes of files.

    Args:
        registry: The registry, as it was read last.
        walk: A `RepeatedWalk`, for repeated calls (default: a new one).
    """
    walk = walk or RepeatedWalk(registry.root)
    declares = registry.settings.declares
    metafiles = {path for path, kind in walk(registry) if kind is Kind.METAFILE and declares(path)}
    files = {path for path in metafiles if path.endswith(PIPELINE_FILE)}
    files.add("pyproject.toml")
    # A new collection is a new partition: the definitions need no reload.
    lists = {dataset.collections_file for dataset in registry.datasets if dataset.collections_file}
    # The same holds for decisions about images.
    decided = {file for d in registry.datasets for file in decisions_files(registry, d)}
    files.update(path for path in registry.variable_files if path not in lists)
    for stage in (*registry.stages, *(template.stage for template in registry.templates)):
        files.update(parameter.file for parameter in stage.parameters)
        files.update(
            dependency.path
            for dependency in stage.dependencies
            if not dependency.is_external and not registry.holds_data(dependency.path)
        )
    return Stamps(
        fingerprint_dates(registry.root, metafiles | lists | decided),
        fingerprint_dates(registry.root, files - decided),
    )
