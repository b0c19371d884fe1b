"""Noticing that metafiles or code changed, without reading any of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from registry_assets.model import Registry

_PIPELINE = "dvc.yaml"
_LOCK = "dvc.lock"
_POINTER = ".dvc"


def stamp_metafiles(registry: Registry) -> str:
    """A text that changes when a metafile is written, added or removed."""
    skip = {output.path for output in registry.outputs.values()}
    return _stamp(registry.root, _find_metafiles(registry.root, skip))


def stamp_definitions(registry: Registry) -> str:
    """A text that changes when what the assets are may have changed.

    That is every ``dvc.yaml``, the settings, and the code and parameters that code versions are
    made of.
    """
    skip = {output.path for output in registry.outputs.values()}
    files = {path for path in _find_metafiles(registry.root, skip) if path.endswith(_PIPELINE)}
    files.add("pyproject.toml")
    for stage in (*registry.stages, *(template.stage for template in registry.templates)):
        files.update(parameter.file for parameter in stage.parameters)
        files.update(
            dependency.path
            for dependency in stage.dependencies
            if not dependency.is_external and not registry.holds_data(dependency.path)
        )
    return _stamp(registry.root, files)


def _find_metafiles(root: Path, skip: Collection[str]) -> Iterator[str]:
    """Metafiles by path from the root; nothing is looked for in outputs and hidden folders."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        names = {entry.name for entry in entries}
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in (_PIPELINE, _LOCK) or entry.name.endswith(_POINTER):
                if entry.is_file():
                    yield path
            elif (
                entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and f"{entry.name}{_POINTER}" not in names
                and path not in skip
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
