"""Noticing that metafiles or code changed, without reading any of them."""

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
        metafiles: Of every metafile, of the lists of collections and of decisions about images.
        definitions: Of what the assets are: every ``dvc.yaml`` with its variables, the settings,
            and the code and parameters that code versions are made of.
    """

    metafiles: str
    definitions: str


def read_stamps(
    registry: Registry, walk: Callable[[Registry], Sequence[Found]] | None = None
) -> Stamps:
    """Looks at the files of a registry by name, time and size.

    Args:
        registry: As it was read last.
        walk: A `RepeatedWalk`, for whoever looks again and again.
    """
    walk = walk or RepeatedWalk(registry.root)
    declares = registry.settings.declares
    metafiles = {path for path, kind in walk(registry) if kind is Kind.METAFILE and declares(path)}
    files = {path for path in metafiles if path.endswith(PIPELINE_FILE)}
    files.add("pyproject.toml")
    # A new collection is a new partition: no reason to load the definitions anew.
    lists = {dataset.collections_file for dataset in registry.datasets if dataset.collections_file}
    # Nor is what somebody decided.
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
