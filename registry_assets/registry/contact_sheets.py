"""Contact sheets of versions: made on request from objects in the cache, then kept.

Kept sheets can be made again at any time. But they show pictures: a purge has to clear them after
it has removed the objects from the cache.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.images import build_contact_sheet
from registry_assets.model import FOLDER_SUFFIX, is_folder
from registry_assets.registry.kept_answers import KEPT_FOLDER, write_kept
from registry_assets.registry.reading import read_registry

MOST_KEPT = 500
"""The number of sheets to keep, the newest; each takes about 20 kB."""

_SUFFIX = ".webp"


def sheet_address(registry_name: str, md5: str) -> str:
    """The URL path of the contact sheet of a folder's version."""
    return f"/registry/{registry_name}/sheets/{md5.removesuffix(FOLDER_SUFFIX)}{_SUFFIX}"


def read_kept_sheet(root: Path, md5: str) -> bytes | None:
    """The kept contact sheet of a version; None if there is none."""
    with suppress(OSError):
        return _place_of(root, md5).read_bytes()
    return None


def make_sheet(root: Path, md5: str) -> bytes | None:
    """Make the contact sheet of a version, and keep it if the cache has all pictures.

    Args:
        root: The registry.
        md5: The md5 of a folder.

    Returns:
        A WebP image; None if the cache has no picture that can be shown.
    """
    listings = DvcRepo(root).listings()
    places = listings.places(md5)
    while (sheet := build_contact_sheet(_there(places))) is not None:
        # A sheet that lacks pictures is not kept: they may be pulled later.
        if None not in places.values():
            _keep(root, md5, sheet)
        # A purge removes objects first, kept sheets second: if it ran meanwhile, start again.
        still = listings.places(md5)
        if still == places:
            return sheet
        _place_of(root, md5).unlink(missing_ok=True)
        places = still
    return None


def _there(places: Mapping[str, Path | None]) -> list[tuple[str, Path]]:
    return [(name, place) for name, place in places.items() if place is not None]


def _keep(root: Path, md5: str, sheet: bytes) -> None:
    # A sheet that cannot be written is still shown. `clear_kept_sheets` removes partial files.
    with suppress(OSError):
        write_kept(_place_of(root, md5), sheet)
        kept = _find_kept(root)
        if len(kept) > MOST_KEPT:
            kept.sort(key=lambda place: place.stat().st_mtime_ns, reverse=True)
            for place in kept[MOST_KEPT:]:
                place.unlink(missing_ok=True)


def describe_absence(root: Path, md5: str) -> tuple[str, ...]:
    """Lines that say why a version has no contact sheet, with the next step."""
    if _there(DvcRepo(root).listings().places(md5)):
        return ("no picture that can be shown",)
    outputs = read_registry(root).outputs.items()
    current = (path for path, output in outputs if output.version and output.version.md5 == md5)
    path = next(current, None)
    if path is None:
        return ("not in the cache,", "nor the current version of anything")
    return ("not in the cache:", f"dvc pull {shlex.quote(path)}")


def count_kept_sheets(root: Path, md5s: Collection[str]) -> int:
    """Count the kept contact sheets of versions."""
    return sum(_place_of(root, md5).exists() for md5 in set(md5s) if is_folder(md5))


def clear_kept_sheets(root: Path) -> int:
    """Remove all kept contact sheets, and partial files of sheets.

    Returns:
        The number of removed sheets.

    Raises:
        OSError: when one cannot be removed.
    """
    count = 0
    for place in _find_kept(root):
        place.unlink(missing_ok=True)
        count += place.suffix == _SUFFIX
    return count


def _find_kept(root: Path) -> list[Path]:
    try:
        return [*(root / KEPT_FOLDER / "sheets").iterdir()]
    except FileNotFoundError:
        return []


def _place_of(root: Path, md5: str) -> Path:
    return root / KEPT_FOLDER / "sheets" / f"{md5.removesuffix(FOLDER_SUFFIX)}{_SUFFIX}"
