"""A cache of measures by content, so that a photograph is not decoded again.

The memo is an SQLite table of the measures of intact images by md5. Files are hashed each time, so
the result is the same with and without a memo, and deleting it only costs time. Its file name has a
hash of the source code of decoding and measuring and of the versions of the decoding libraries: a
change of any of these starts a new memo.
"""

import contextlib
import hashlib
import json
import os
import pkgutil
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PIL import features

from registry_assets.images.measurements import Measurement

_MEASURED_BY = (
    *("bare_pictures.py", "camera_raw.py", "contents.py", "decoding.py", "exif.py"),
    *("file_measuring.py", "jpeg_decoding.py", "measures.py", "tiff_directories.py"),
)
_DECODED_BY = ("pil", "jpg", "jpg_2000", "zlib", "libtiff", "webp", "avif")
_DECODED_BY_PACKAGES = ("simplejpeg", "rawpy", "pillow-heif", "pillow-jxl-plugin")

_BUSY_SECONDS = 5.0
_TABLE = "CREATE TABLE IF NOT EXISTS measures (md5 TEXT PRIMARY KEY, cells TEXT) WITHOUT ROWID"

# SQLite connections can only be used in the thread that made them.
_connections = threading.local()


@dataclass(frozen=True)
class Memo:
    """A file of measures that any number of processes can use at once.

    SQLite's WAL mode is not used, as it requires that all processes run on one machine.

    Attributes:
        path: The file.
    """

    path: str

    @classmethod
    def in_folder(cls, folder: str | os.PathLike[str]) -> "Memo | None":
        """Return the memo in a folder, creating it and deleting those of other versions.

        Returns:
            None if the folder cannot be written.
        """
        path = Path(folder) / f"measures-{_measuring_version()}.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                for other in path.parent.glob("measures-*.sqlite*"):
                    if not other.name.startswith(path.name):
                        other.unlink(missing_ok=True)
                # Created here to respect the umask: SQLite would use 0644.
                path.touch()
            memo = cls(str(path))
            try:
                memo._create()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    return None
                # Not a database, or one that is damaged.
                memo.remove()
                memo._create()
        except (OSError, sqlite3.Error):
            return None
        return memo

    def complete(self, unmeasured: Measurement) -> Measurement | None:
        """Return a measurement with the cached measures for its md5; None if there are none."""
        try:
            row = (
                self._reader()
                .execute("SELECT cells FROM measures WHERE md5 = ?", (unmeasured.md5,))
                .fetchone()
            )
            return _with_cells(unmeasured, row[0]) if row else None
        # With a damaged memo, the image is measured again.
        except (sqlite3.Error, ValueError, TypeError):
            return None

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Store the measures of intact images."""
        rows = [(m.md5, _cells_of(m)) for m in measurements if m.is_readable and m.md5]
        try:
            with contextlib.closing(self._connect("rw")) as connection, connection:
                # Without waiting for the disk. After a power cut rows may be missing, but none is
                # partial, as a row fits in a page.
                connection.execute("PRAGMA synchronous = OFF")
                connection.executemany("INSERT OR IGNORE INTO measures VALUES (?, ?)", rows)
        except sqlite3.OperationalError:
            # Locked for too long, or the disk is full: nothing is stored.
            return
        except sqlite3.DatabaseError:
            self.remove()

    def forget(self, md5s: Iterable[str]) -> None:
        """Remove the measures of contents, leaving no trace in the file."""
        rows = [(md5,) for md5 in md5s]
        try:
            with contextlib.closing(self._connect("rw")) as connection, connection:
                connection.execute("PRAGMA secure_delete = ON")
                connection.executemany("DELETE FROM measures WHERE md5 = ?", rows)
        except sqlite3.Error:
            # Whatever the problem is, a deleted memo has no trace either.
            self.remove()

    def remove(self) -> None:
        """Delete the file; the next run makes a new one."""
        for suffix in ("", "-journal"):
            Path(self.path + suffix).unlink(missing_ok=True)

    def _create(self) -> None:
        with contextlib.closing(self._connect("rwc")) as connection, connection:
            connection.execute(_TABLE)

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{Path(self.path).absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS
        )

    def _reader(self) -> sqlite3.Connection:
        found: dict[str, sqlite3.Connection] = _connections.__dict__.setdefault("readers", {})
        if self.path not in found:
            found[self.path] = self._connect("ro")
        return found[self.path]


def _cells_of(measurement: Measurement) -> str:
    # JSON has all digits of a float, so that it is read back exactly.
    return json.dumps(
        [
            measurement.format,
            measurement.width,
            measurement.height,
            measurement.mode,
            measurement.frames,
            measurement.mean_brightness,
            measurement.mean_horizontal_variance,
            measurement.perceptual_hash,
            measurement.note,
            measurement.thumbnail,
            measurement.taken,
            measurement.camera,
            measurement.lens,
            measurement.orientation,
            measurement.latitude,
            measurement.longitude,
            measurement.altitude,
            measurement.has_gps,
        ]
    )


def _with_cells(unmeasured: Measurement, cells: str) -> Measurement:
    format_, width, height, mode, frames, brightness, variance, hash_, *rest = json.loads(cells)
    note, thumbnail, taken, camera, lens, orientation, latitude, longitude, altitude, has_gps = rest
    return unmeasured._replace(
        format=format_,
        width=width,
        height=height,
        mode=mode,
        frames=frames,
        mean_brightness=brightness,
        mean_horizontal_variance=variance,
        perceptual_hash=hash_,
        note=note,
        thumbnail=thumbnail,
        taken=taken,
        camera=camera,
        lens=lens,
        orientation=orientation,
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        has_gps=has_gps,
    )


@cache
def _measuring_version() -> str:
    # Without NumPy: integer sums are the same in all versions.
    digest = hashlib.sha256()
    for library in _DECODED_BY:
        digest.update(f"{library} {features.version(library)}\n".encode())
    for package in _DECODED_BY_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{package} {version(package)}\n".encode())
    for name in _MEASURED_BY:
        digest.update(pkgutil.get_data("registry_assets.images", name) or b"")
    return digest.hexdigest()[:16]
