"""Contact sheets of versions: made of what the cache has when they are asked for, and kept.

What is kept is a copy: deleting it loses nothing. It shows pictures, though, so that whoever
removes one from the cache for good clears what is kept after that.
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
"""The newest; some 20 kB each."""

_SUFFIX = ".webp"


def sheet_address(registry_name: str, md5: str) -> str:
    """The path at which a webserver has the contact sheet of a version of a folder."""
    return f"/registry/{registry_name}/sheets/{md5.removesuffix(FOLDER_SUFFIX)}{_SUFFIX}"


def read_kept_sheet(root: Path, md5: str) -> bytes | None:
    """The contact sheet of a version, where it was made before and is kept."""
    with suppress(OSError):
        return _place_of(root, md5).read_bytes()
    return None


def make_sheet(root: Path, md5: str) -> bytes | None:
    """Makes the contact sheet of a version, as far as the cache has it, and keeps it.

    Args:
        root: The registry.
        md5: Of a folder.

    Returns:
        A WebP; None where nothing can be shown.
    """
    listings = DvcRepo(root).listings()
    places = listings.places(md5)
    while (sheet := build_contact_sheet(_there(places))) is not None:
        # What is pulled later belongs on it, too.
        if None not in places.values():
            _keep(root, md5, sheet)
        # A picture may have been purged since it was read: its object first, what is kept after it.
        still = listings.places(md5)
        if still == places:
            return sheet
        _place_of(root, md5).unlink(missing_ok=True)
        places = still
    return None


def _there(places: Mapping[str, Path | None]) -> list[tuple[str, Path]]:
    return [(name, place) for name, place in places.items() if place is not None]


def _keep(root: Path, md5: str, sheet: bytes) -> None:
    # What cannot be kept is shown all the same; who clears takes what is half written, too.
    with suppress(OSError):
        write_kept(_place_of(root, md5), sheet)
        kept = _find_kept(root)
        if len(kept) > MOST_KEPT:
            kept.sort(key=lambda place: place.stat().st_mtime_ns, reverse=True)
            for place in kept[MOST_KEPT:]:
                place.unlink(missing_ok=True)


def describe_absence(root: Path, md5: str) -> tuple[str, ...]:
    """Why a version has no contact sheet, and what to do about it; in lines."""
    if _there(DvcRepo(root).listings().places(md5)):
        return ("no picture that can be shown",)
    outputs = read_registry(root).outputs.items()
    current = (path for path, output in outputs if output.version and output.version.md5 == md5)
    path = next(current, None)
    if path is None:
        return ("not in the cache,", "nor the current version of anything")
    return ("not in the cache:", f"dvc pull {shlex.quote(path)}")


def count_kept_sheets(root: Path, md5s: Collection[str]) -> int:
    """How many contact sheets of versions are kept."""
    return sum(_place_of(root, md5).exists() for md5 in set(md5s) if is_folder(md5))


def clear_kept_sheets(root: Path) -> int:
    """Removes every contact sheet that is kept, and whatever is half written.

    Returns:
        How many they were.

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
