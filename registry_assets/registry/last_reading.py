"""A cache of the last `Registry` read, valid until a metafile changes.

DVC takes about two milliseconds per metafile and two more per templated stage, which every run,
every reload of the definitions and every command would pay. The cache can be deleted safely.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_assets.fingerprint import Moment, TreeFingerprint, UntoldChangesError
from registry_assets.model import Registry
from registry_assets.registry.kept_answers import (
    KEPT_FOLDER,
    find_outside,
    fingerprint_environment,
    write_kept,
)
from registry_assets.registry.metafile_walk import SPECIAL_FOLDERS, Kind, find_unseen, walk
from registry_assets.settings import SETTINGS_FILE

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_KEPT = f"{KEPT_FOLDER}/registry.json"


def recall(root: Path) -> Registry | None:
    """The last registry read, if reading it again would give the same."""
    try:
        kept, registry = _read(root / _KEPT)
        if registry.root != root:
            # The cache was copied along with the registry and describes the original.
            return None
        if kept["environment"] != fingerprint_environment(kept["outside"]):
            return None
        now = _fingerprint(registry, frozenset(kept["unseen"]))
        return registry if now.digest() == kept["fingerprint"] else None
    except Exception:
        # A broken cache, or one that another version wrote: read the metafiles instead.
        return None


def keep(registry: Registry, began: Moment) -> None:
    """Cache what was read, unless a later change could go unnoticed.

    Args:
        registry: What was read.
        began: When reading began.
    """
    if registry.problems:
        # A fix may be in a file that the fingerprint does not cover.
        return
    unseen = find_unseen(registry)
    with suppress(OSError, UntoldChangesError):
        fingerprint = _fingerprint(registry, frozenset(unseen))
        if not began.is_after(fingerprint.newest, fingerprint.devices):
            return
        outside = find_outside(registry.root)
        kept = {
            "fingerprint": fingerprint.digest(),
            "unseen": unseen,
            "outside": outside,
            "environment": fingerprint_environment(outside),
        }
        _write(registry.root / _KEPT, kept, registry)


def _fingerprint(registry: Registry, unseen: Collection[str]) -> TreeFingerprint:
    """A fingerprint of all files that `read_registry` reads and all folders that it looks for."""
    root = registry.root
    fingerprint = TreeFingerprint()
    for path, kind in walk(registry, lambda _folders: unseen):
        if kind is Kind.UNLISTED:
            raise UntoldChangesError(path)
        # Of these only the existence matters, not the content.
        mark = {Kind.LINK: "/is a link", Kind.FAMILY_FOLDER: "/is a folder"}.get(kind, "")
        fingerprint.add(root / f"{path}{mark}")
    settings = [f"{folder}/{name}" for folder, names in SPECIAL_FOLDERS.items() for name in names]
    for path in sorted(
        {SETTINGS_FILE, *settings, *registry.variable_files, *_parameters(registry)}
    ):
        fingerprint.add(root / path)
    return fingerprint


def _parameters(registry: Registry) -> Iterator[str]:
    for stage in (*registry.stages, *(template.stage for template in registry.templates)):
        yield from (parameter.file for parameter in stage.parameters)


@cache
def _adapter() -> TypeAdapter[tuple[dict[str, Any], Registry]]:
    """What converts to JSON and back; building it takes longer than reading a small registry."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[dict[str, Any], Registry])


def _read(path: Path) -> tuple[dict[str, Any], Registry]:
    return _adapter().validate_json(path.read_bytes())


def _write(path: Path, kept: dict[str, Any], registry: Registry) -> None:
    data = _adapter().dump_json((kept, registry))
    if _adapter().validate_json(data) != (kept, registry):
        # A parameter that JSON cannot represent, such as a date.
        return
    write_kept(path, data)
