"""Addresses of places in the page, as paths without host: what Dagster's history may hold."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from registry_assets.errors import NotFoundError
from registry_assets.git_repo import GitRepo
from registry_assets.model import is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.revisions import check_git, read_revision
from registry_assets.revisions.versions.dataset_versions import tag_prefix


def page_address(registry_name: str) -> str:
    """The URL path of the page of a registry."""
    return f"/registry/{registry_name}/look/"


def place_in_page(place: Mapping[str, str]) -> str:
    """The fragment that leads to a place in the page; empty for the page itself.

    Args:
        place: What the page shows: ``source`` (the path of a data set or folder), ``tab``,
            ``collection``, ``picture`` (an md5), ``a`` and ``b`` (versions).
    """
    return f"#{urlencode(place, safe='/', quote_via=quote)}" if place else ""


def find_place(
    lineage: Lineage, name: str | None, before: str | None = None, after: str | None = None
) -> Mapping[str, str]:
    """The place in the page for what somebody asks to see.

    Args:
        lineage: The graph.
        name: The name or path of a data set, the name of a collection in ``raw``, or the path of a
            folder; None for the page as it opens.
        before: A version to compare: a commit, branch or tag; None for no comparison.
        after: The version to compare it with; None for the work tree.

    Raises:
        NotFoundError: when there is no such data set, folder or version.
    """
    if name is None:
        return {}
    registry = lineage.registry
    source = find_source(lineage, name)
    if before is None:
        return {"source": source}
    git = GitRepo(registry.root)
    check_git(git)
    dataset = next((item for item in registry.datasets if item.path == source), None)
    prefix = tag_prefix(registry, dataset) if dataset is not None else None
    for version in filter(None, (before, after)):
        read_revision(registry, git, version, prefix)
    return {"source": source, "tab": "versions", "a": before, "b": after or ""}


def find_source(lineage: Lineage, name: str) -> str:
    """The path of the data set or folder that somebody means.

    Raises:
        NotFoundError: when there is none.
    """
    registry = lineage.registry
    wanted = name.rstrip("/")
    for dataset in registry.datasets:
        if wanted in (dataset.name, dataset.path or "."):
            return dataset.path
    folders = {
        path: node.partition
        for path, node in lineage.nodes.items()
        if node.address is not None and node.version is not None and is_folder(node.version.md5)
    }
    raw = f"{registry.raw_folder}/{wanted}"
    for path in (wanted, raw):
        if path in folders:
            return path
    if folders and not registry.datasets:
        raise NotFoundError(
            f"there is no folder {name}: choose one of {', '.join(sorted(folders))}"
        )
    return registry.dataset(name).path
