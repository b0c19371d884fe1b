"""Refuses names of collections that do not exist, with similar names as suggestions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import PurePosixPath

from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_kept_out
from registry_assets.model import DVC_SUFFIX, check_collection_name, no_collection
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import find_arrivals
from registry_assets.registry.translator import COLLECTIONS


def check_collection_exists(lineage: Lineage, name: str) -> None:
    """Make sure that a collection exists, in the raw folder or in a metafile.

    Args:
        lineage: The graph; collections that were added since it was read are found, too.
        name: The name that the user typed.

    Raises:
        RefusedError: when the name is not allowed.
        NotFoundError: when there is no such collection; names similar ones.
    """
    check_collection_name(name)
    registry = lineage.registry
    if name in lineage.partition_keys.get(COLLECTIONS, ()):
        return
    if registry.raw_folder is not None and os.path.lexists(
        registry.root / registry.raw_folder / name
    ):
        return
    known = set(_find_names(lineage))
    if name not in known:
        alike = get_close_matches(name, sorted(known))
        raise no_collection(name, registry.raw_folder or "raw", alike)


def _find_names(lineage: Lineage) -> Iterator[str]:
    """The names of all collections that exist now."""
    root = lineage.registry.root
    now = build_lineage(read_registry(root), lineage.translator)
    yield from now.partition_keys.get(COLLECTIONS, ())
    if now.registry.raw_folder is not None:
        arrivals = find_arrivals(root / now.registry.raw_folder)
        yield from (arrival.name for arrival in arrivals if not arrival.is_loose)
    lacking = find_kept_out(GitRepo(root)).lacking
    yield from (PurePosixPath(path).stem for path in lacking if path.endswith(DVC_SUFFIX))
