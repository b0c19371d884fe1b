"""A folder, as a NAS is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.remotes.servers.storage import Storage

_HALF = [f"{number:02x}" for number in range(0x80)]


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """The folder itself."""
    yield Storage(str(folder / "nas"), _FaultyDisk(folder / "nas"))


class _FaultyDisk:
    """The gate of a folder: shut, half of it can neither be read nor written.

    Root may do anything, so that taking rights away would not do. A file stands where a folder was,
    and where none was a link that leads nowhere.
    """

    port = 0

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shut_after(self, _size: int) -> None:
        for remote in self._folder.iterdir():
            objects = remote / "files" / "md5"
            objects.mkdir(parents=True, exist_ok=True)
            for name in _HALF:
                if (objects / name).is_dir():
                    (objects / name).rename(objects / f"{name}.away")
                    (objects / name).touch()
                else:
                    (objects / name).symlink_to(self._folder / "nowhere" / name)

    def reopen(self) -> None:
        for remote in self._folder.iterdir():
            for name in _HALF:
                place = remote / "files" / "md5" / name
                if place.is_file() or place.is_symlink():
                    place.unlink()
                away = place.with_name(f"{name}.away")
                if away.is_dir():
                    away.rename(place)
