"""Files that are whole after a kill or a power cut: synced, and only then renamed into place."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def replace_file(fresh: Path, path: Path) -> None:
    """Syncs a file that was just written, and renames it to another path on the same disk."""
    sync_file(fresh)
    rename(fresh, path)


def rename(fresh: Path, path: Path) -> None:
    """Renames a file or folder whose content was synced, and syncs the new name."""
    fresh.replace(path)
    sync_file(path.parent)


def write_whole(path: Path, text: str, errors: str = "strict") -> None:
    """Writes a text file, or replaces it, through a file beside it; its mode stays.

    What a killed process left beside it is written over, so only one may write at a time.
    """
    fresh = path.with_name(f".{path.name}.partial")
    try:
        fresh.write_text(text, encoding="utf-8", errors=errors, newline="")
        if path.exists():
            fresh.chmod(path.stat().st_mode)
        replace_file(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Writes a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disks(*folders: Path) -> None:
    """Writes all that was written on the disks of some folders: for many files at once.

    Raises:
        OSError: when something could not be written.
    """
    by_device = {folder.stat().st_dev: folder for folder in folders if folder.exists()}
    for folder in by_device.values():
        if _LIBC is None:
            os.sync()
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if _LIBC.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(folder))
        finally:
            os.close(descriptor)
