"""Links of the workspace to objects of a cache that are not there.

With `cache.type` symlink, recorded data is such links. Where the disk of the cache is not mounted,
or the cache lacks objects, they lead nowhere: DVC leaves the files out, as if somebody had removed
them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo.opening import describe_missing_cache, find_missing_cache
from registry_assets.errors import LinksLeadNowhereError

if TYPE_CHECKING:
    from dvc.repo import Repo

# Whatever the settings name by now, an object is known by its place in the cache.
_OBJECT = re.compile(r"(^|/)[0-9a-f]{2}/[0-9a-f]{30}$")


def check_not_dangling(repo: Repo, path: str, metafile: str) -> None:
    """Makes sure that no link in a file or folder leads to an object that is not there.

    Args:
        repo: The opened repository.
        path: From the root.
        metafile: The ``.dvc`` file that declares it, or would.

    Raises:
        LinksLeadNowhereError: naming the first one.
    """
    root = Path(repo.root_dir)
    found = next(_find_dangling(str(root / path)), None)
    if found is None:
        return
    link, target = found
    cache = find_missing_cache(repo)
    next_step = "mount the disk that the cache is on, or take such links away"
    if cache is not None:
        # DVC would pull into a new cache in its place.
        next_step = describe_missing_cache(cache)
    elif (root / metafile).exists():
        next_step = f"mount the disk that the cache is on, or `dvc pull {path}`"
    raise LinksLeadNowhereError(path, Path(link).relative_to(root).as_posix(), target, next_step)


def _find_dangling(place: str) -> Iterator[tuple[str, str]]:
    """Links and what they lead to; in a fixed order, as messages about them are compared."""
    if os.path.islink(place):
        yield from _if_dangling(place)
        return
    try:
        with os.scandir(place) as entries:
            found = [
                (entry.path, entry.is_symlink())
                for entry in entries
                if entry.is_symlink() or entry.is_dir()
            ]
    except OSError:  # no folder, or one that may not be read
        return
    for path, is_link in sorted(found):
        yield from _if_dangling(path) if is_link else _find_dangling(path)


def _if_dangling(link: str) -> Iterator[tuple[str, str]]:
    target = os.fsdecode(os.readlink(link))
    if _OBJECT.search(target) and not os.path.exists(link):
        yield link, target
