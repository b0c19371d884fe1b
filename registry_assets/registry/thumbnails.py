"""Thumbnails and previews of pictures, by content: made on request from the cache, then kept.

They are kept in a file each. In an SQLite table of 20,000 of them reading takes as long, writing
twice as long, and whoever removes one has to wait for those who write.

Kept ones can be made again at any time. But they show pictures: a purge has to clear them after it
has removed the objects from the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from registry_assets.dvc_repo import Listings
from registry_assets.images.contents import Unreadable
from registry_assets.registry.kept_answers import KEPT_FOLDER, write_kept

THUMBNAIL = 256
PREVIEW = 2048
"""The longest sides of a thumbnail and of a preview, in pixels."""

MOST_KEPT_BYTES = 1 << 30
"""How much is kept, the newest: about 100,000 thumbnails, or 3,000 previews."""

_WRITTEN_BETWEEN_CHECKS = 64 << 20
"""Each process looks how much there is after it has written so many bytes."""

_FOLDER = f"{KEPT_FOLDER}/thumbnails"
_SUFFIX = ".webp"


class Thumbnails:
    """The thumbnails and previews of one registry; any number of processes may use them.

    Args:
        root: The registry.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._written = 0

    def read(self, md5: str, longest: int) -> bytes | None:
        """The kept thumbnail of a picture; None if there is none."""
        with suppress(OSError):
            return _place_of(self._root, md5, longest).read_bytes()
        return None

    def make(self, listings: Listings, md5: str, longest: int) -> bytes | Unreadable | None:
        """Make the thumbnail of a picture and keep it.

        Args:
            listings: To find the picture in the cache.
            md5: The picture.
            longest: The longest side of the thumbnail, in pixels.

        Returns:
            A WebP image, or why the picture cannot be shown; None if the cache does not have it.
        """
        from registry_assets.images.shrinking import make_thumbnail

        place = listings.place_of(md5)
        if place is None:
            return None
        made = make_thumbnail(place, longest)
        if isinstance(made, Unreadable):
            return made if place.exists() else None
        self._keep(md5, longest, made)
        # A purge removes objects first, thumbnails second: it may have run meanwhile.
        if not place.exists():
            _place_of(self._root, md5, longest).unlink(missing_ok=True)
            return None
        return made

    def _keep(self, md5: str, longest: int, made: bytes) -> None:
        # One that cannot be written is still shown.
        with suppress(OSError):
            write_kept(_place_of(self._root, md5, longest), made)
            self._written += len(made)
            if self._written > _WRITTEN_BETWEEN_CHECKS:
                self._written = 0
                _remove_oldest(self._root)


def clear_kept_thumbnails(root: Path, md5s: Iterable[str]) -> int:
    """Remove the kept thumbnails and previews of pictures, and partial files of such.

    Returns:
        The number of removed thumbnails and previews.

    Raises:
        OSError: when one cannot be removed.
    """
    count = 0
    for place in _find_kept(root, md5s):
        place.unlink(missing_ok=True)
        count += place.suffix == _SUFFIX
    return count


def count_kept_thumbnails(root: Path, md5s: Iterable[str]) -> int:
    """Count the kept thumbnails and previews of pictures."""
    return sum(place.suffix == _SUFFIX for place in _find_kept(root, md5s))


def _find_kept(root: Path, md5s: Iterable[str]) -> Iterator[Path]:
    for md5 in set(md5s):
        for longest in (THUMBNAIL, PREVIEW):
            place = _place_of(root, md5, longest)
            yield from place.parent.glob(f"{place.name}*")


def _remove_oldest(root: Path) -> None:
    found = []
    for place in (root / _FOLDER).rglob("*"):
        with suppress(FileNotFoundError):
            if place.is_file():
                status = place.stat()
                found.append((status.st_mtime_ns, status.st_size, place))
    found.sort(reverse=True)
    total = 0
    for _, size, place in found:
        total += size
        if total > MOST_KEPT_BYTES:
            place.unlink(missing_ok=True)


def _place_of(root: Path, md5: str, longest: int) -> Path:
    return root / _FOLDER / str(longest) / md5[:2] / f"{md5}{_SUFFIX}"
