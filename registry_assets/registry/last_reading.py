"""A registry as it was read last, kept for as long as no metafile changes.

DVC loads a metafile in two milliseconds and a stage of a template in two more; every run, every
reload of the definitions and every command would pay that for all of them. What is kept is a copy:
deleting it loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from registry_assets.fingerprint import Stamp, UntoldChangesError
from registry_assets.model import Registry
from registry_assets.registry.environment import (
    KEPT_FOLDER,
    SETTLED_SECONDS,
    SPECIAL_FOLDERS,
    find_outside,
    find_unseen,
    stamp_of_surroundings,
    write_kept,
)
from registry_assets.settings import SETTINGS_FILE

_KEPT = f"{KEPT_FOLDER}/registry.json"
_METAFILES = {"dvc.yaml", "dvc.lock", "collections.yaml", ".gitignore", ".dvcignore"}
_POINTER = ".dvc"


def recall(root: Path) -> Registry | None:
    """What was read last, when reading it again would give the same."""
    try:
        kept, registry = _read(root / _KEPT)
        if registry.root != root:
            # Copied along with the registry: it is about the original.
            return None
        if kept["surroundings"] != stamp_of_surroundings(kept["outside"]):
            return None
        stamp = _stamp_of(registry, frozenset(kept["unseen"]))
        return registry if stamp.digest() == kept["stamp"] else None
    except Exception:
        # Whatever is wrong with a copy, which another version may have kept: the original is there.
        return None


def keep(registry: Registry, started: float, settled_seconds: float = SETTLED_SECONDS) -> None:
    """Keeps what was read, unless a later change could go unnoticed.

    Args:
        registry: What was read.
        started: When reading began, in seconds since the epoch.
        settled_seconds: How old the newest change has to be.
    """
    if registry.problems:
        # What is missing may come from anywhere.
        return
    unseen = find_unseen(registry)
    with suppress(OSError, UntoldChangesError):
        stamp = _stamp_of(registry, frozenset(unseen))
        if stamp.newest > (started - settled_seconds) * 1e9:
            return
        outside = find_outside(registry.root)
        kept = {
            "stamp": stamp.digest(),
            "unseen": unseen,
            "outside": outside,
            "surroundings": stamp_of_surroundings(outside),
        }
        _write(registry.root / _KEPT, kept, registry)


def _stamp_of(registry: Registry, unseen: frozenset[str]) -> Stamp:
    """A stamp of all that `read_registry` reads, and of the folders that it looks for."""
    root = registry.root
    stamp = Stamp(is_strict=True)
    skipped = {path for path, output in registry.outputs.items() if output.is_cached}
    for path in _find_files(registry, skipped | unseen):
        stamp.add(root / path)
    settings = [f"{folder}/{name}" for folder, names in SPECIAL_FOLDERS.items() for name in names]
    for path in sorted(
        {SETTINGS_FILE, *settings, *registry.variable_files, *_parameters(registry)}
    ):
        stamp.add(root / path)
    return stamp


def _parameters(registry: Registry) -> Iterator[str]:
    for stage in (*registry.stages, *(template.stage for template in registry.templates)):
        yield from (parameter.file for parameter in stage.parameters)


def _find_files(registry: Registry, skipped: set[str] | frozenset[str]) -> Iterator[str]:
    """Metafiles, ignore files and, as paths that are not there, folders of collections.

    Nothing is looked for in outputs that DVC keeps, as it looks for nothing there, either, or in
    collections.
    """
    families = [pattern.removesuffix("/*") for pattern in registry.settings.families]
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(registry.root / folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path in skipped or path in SPECIAL_FOLDERS:
                continue
            if entry.is_dir(follow_symlinks=False):
                if registry.settings.is_collection(path):
                    continue
                waiting.append(path)
                if any(
                    path.count("/") == family.count("/") and PurePosixPath(path).match(family)
                    for family in families
                ):
                    yield f"{path}/is a folder"
            elif entry.is_symlink() and not entry.is_file():
                # DVC follows none to a folder.
                yield f"{path}/is a link"
            elif entry.name in _METAFILES or entry.name.endswith(_POINTER):
                yield path


def _read(path: Path) -> tuple[dict[str, Any], Registry]:
    from pydantic import TypeAdapter

    kept = TypeAdapter(tuple[dict[str, Any], Registry]).validate_json(path.read_bytes())
    return kept


def _write(path: Path, kept: dict[str, Any], registry: Registry) -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(tuple[dict[str, Any], Registry])
    data = adapter.dump_json((kept, registry))
    if adapter.validate_json(data) != (kept, registry):
        # A parameter that JSON has no word for, such as a date.
        return
    write_kept(path, data)
