"""Noticing that metafiles or code changed, without reading any of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry_assets.model import Registry
from registry_assets.registry.decisions import decisions_files

_PIPELINE = "dvc.yaml"
_LOCK = "dvc.lock"
_POINTER = ".dvc"


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


def read_stamps(registry: Registry) -> Stamps:
    """Looks at the files of a registry by name, time and size."""
    metafiles = set(_find_metafiles(registry))
    files = {path for path in metafiles if path.endswith(_PIPELINE)}
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
        _stamp(registry.root, metafiles | lists | decided), _stamp(registry.root, files - decided)
    )


def _find_metafiles(registry: Registry) -> Iterator[str]:
    """Metafiles by path from the root; not of outputs, of collections and of hidden folders."""
    settings = registry.settings
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(registry.root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        names = {entry.name for entry in entries}
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in (_PIPELINE, _LOCK) or entry.name.endswith(_POINTER):
                if entry.is_file() and settings.declares(path):
                    yield path
            elif (
                entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and f"{entry.name}{_POINTER}" not in names
                and path not in registry.outputs
                and not settings.is_collection(path)
            ):
                waiting.append(path)


def _stamp(root: Path, paths: Iterable[str]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(set(paths)):
        for file in _files_at(root / path):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            digest.update(f"{file}:{status.st_mtime_ns}:{status.st_size}\n".encode())
    return digest.hexdigest()


def _files_at(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(p for p in place.rglob("*") if p.suffix != ".pyc" and p.is_file())
    else:
        yield place
