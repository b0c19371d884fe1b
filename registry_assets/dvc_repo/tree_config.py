"""The DVC configuration of a worker's tree, which has no settings of its own besides these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dvc.config import Config

from registry_assets.dvc_repo.opening import translated_errors
from registry_assets.model import DVC_FOLDER

_LINKS = "hardlink,copy"


def find_caches(root: Path) -> Sequence[Path]:
    """The cache directories outside a tree that DVC's configuration names and that exist.

    Those of the registry come first, then those of this machine.
    """
    found = []
    with translated_errors():
        config = Config(str(root / DVC_FOLDER), validate=False)
        for level in ("repo", "global", "system"):
            folder = config.load_one(level).get("cache", {}).get("dir")
            if folder and Path(folder).is_dir() and not Path(folder).is_relative_to(root):
                found.append(Path(folder))
    return found


def lead_to_cache(root: Path, cache: Path, *, sets_links: bool) -> None:
    """Writes ``.dvc/config.local``, also for commands that call DVC.

    Args:
        root: The tree.
        cache: Its cache.
        sets_links: Whether to link files instead of copying them, where nobody said how.
    """
    with translated_errors():
        shared = Config(str(root / DVC_FOLDER), validate=False).load_config_to_level("repo")
    links = f"    type = {_LINKS}\n" if sets_links and "type" not in shared["cache"] else ""
    site = root / DVC_FOLDER / "tmp" / "site"
    core = f"[core]\n    site_cache_dir = {_quoted(site)}\n"
    text = f"{core}[cache]\n    dir = {_quoted(cache)}\n{links}"
    place = root / DVC_FOLDER / "config.local"
    place.write_text(text, encoding="utf-8")


def _quoted(path: Path) -> str:
    return f"'{path}'" if '"' in str(path) else f'"{path}"'
