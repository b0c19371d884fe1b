"""Linking or copying objects of the cache to places outside the registry.

A reflink is a copy that shares disk space until one side is written. Hard links are made only where
`cache.type` of the registry has them: they stay read-only, like those in its workspace, as writing
through one would damage the object. Nothing outside depends on the cache through symbolic links.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from dvc_objects.fs.utils import umask

from registry_assets.dvc_repo.folders.links import NO_SUCH_LINK, copy_file

if TYPE_CHECKING:
    from dvc.repo import Repo


def hand_out(repo: Repo, files: Iterable[tuple[str, str]], *, may_hardlink: bool) -> frozenset[str]:
    """Links or copies objects.

    Args:
        repo: The repository.
        files: Pairs of an object in the cache and a path to make, whose folder exists.
        may_hardlink: Whether hard links are made if `cache.type` has them.

    Returns:
        The kinds that were made: `reflink`, `hardlink`, `copy`.

    Raises:
        OSError: when a file cannot be made.
    """
    cache = repo.cache.local
    kinds = ["reflink", "copy"]
    if may_hardlink and "hardlink" in cache.cache_types:
        kinds.insert(1, "hardlink")
    made = set()
    for source, target in files:
        while True:
            kind = kinds[0]
            try:
                _make(cache.fs.reflink, kind, source, target)
            except OSError as error:
                if kind == "copy" or error.errno not in NO_SUCH_LINK:
                    raise
                with suppress(FileNotFoundError):
                    os.unlink(target)
                del kinds[0]
            else:
                made.add(kind)
                break
    return frozenset(made)


def _make(reflink: Callable[[str, str], None], kind: str, source: str, target: str) -> None:
    if kind == "hardlink" and os.path.getsize(source):
        os.link(source, target)
    elif kind == "reflink":
        reflink(source, target)
        os.chmod(target, 0o666 & ~umask)
    else:
        # DVC does not link empty files either.
        copy_file(source, target)
