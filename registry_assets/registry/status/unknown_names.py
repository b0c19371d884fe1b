"""Refuses names of collections that do not exist, with similar names as suggestions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches

from registry_assets.model import check_collection_name, no_collection
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import find_arriving_names, find_kept_out_names
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
    yield from find_arriving_names(now.registry)
    yield from find_kept_out_names(root)
