"""The files in the folder of a collection, sorted, with the reasons not to open some of them."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from registry_assets.images.contents import (
    SET_ASIDE_MOST_BYTES,
    Unreadable,
    read_contents,
    set_aside_reason,
)
from registry_assets.leftovers import REASON as LEFTOVER_REASON
from registry_assets.leftovers import find_leftover_in

VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    )
)
"""Suffixes of videos, in lower case. Contents are not checked."""

# Thumbnails that cameras store beside videos: by suffix (GoPro, DJI, Canon), or by the last one or
# two folders (Sony's XAVC, Panasonic's P2, DJI).
_THUMBNAIL_SUFFIXES = frozenset((".thm", ".scr"))
_THUMBNAIL_FOLDERS = frozenset(("thmbnl", "contents/icon", "misc/thm"))
# Low-resolution copies of the same videos for preview (GoPro, DJI, Sony, Panasonic's P2).
_PREVIEW_SUFFIXES = frozenset((".lrv", ".lrf"))
_PREVIEW_FOLDERS = frozenset(("m4root/sub", "xdroot/sub", "contents/proxy"))

# The path of an object in DVC's cache. With `cache.type` symlink, the files of a collection are
# symbolic links to such objects.
_DVC_CACHE_OBJECT = re.compile(r"[/\\]files[/\\]md5[/\\][0-9a-f]{2}[/\\][0-9a-f]{30}$")


@dataclass(frozen=True)
class CollectionFile:
    """A file in a collection.

    Attributes:
        path: Relative to the collection's folder, with `/`. Names that are not UTF-8 have the
            surrogate escapes of `os.fsdecode`.
        location: The path to open, with links resolved.
        reason: Why it must not be opened; empty if it may be.
        size: In bytes, for a regular file.
    """

    path: str
    location: str
    reason: str = ""
    size: int | None = None


def is_video(path: str) -> bool:
    """Return whether a path has the suffix of a video."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def find_entries(folder: str | os.PathLike[str]) -> Iterator[CollectionFile]:
    """Yield every file below a folder, sorted by path.

    Links to folders are not followed. Memory use depends on the largest single folder.

    Raises:
        OSError: If the folder itself cannot be listed.
    """
    root = os.path.realpath(folder)
    with os.scandir(root) as listing:
        children = _sort(listing)
    yield from _walk(root, "", children, hidden=False)


def _walk(
    root: str, prefix: str, children: list[os.DirEntry[str]], hidden: bool
) -> Iterator[CollectionFile]:
    for child in children:
        path = prefix + child.name
        is_hidden = hidden or child.name.startswith(".")
        if not child.is_dir(follow_symlinks=False):
            yield _inspect(root, path, child.path, is_hidden)
            continue
        try:
            with os.scandir(child.path) as listing:
                grandchildren = _sort(listing)
        except OSError as error:
            yield CollectionFile(path, child.path, f"unreadable: {error.strerror}")
        else:
            yield from _walk(root, path + "/", grandchildren, is_hidden)


def _sort(listing: Iterator[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    # With the slash, a folder is sorted like the paths of its files: "a-b.jpg", "a/c.jpg".
    return sorted(listing, key=lambda child: child.name + "/" * child.is_dir(follow_symlinks=False))


def _inspect(root: str, path: str, location: str, hidden: bool) -> CollectionFile:
    try:
        status = os.lstat(location)
        if stat.S_ISLNK(status.st_mode):
            if hidden:
                return CollectionFile(path, location, "hidden file")
            location = os.path.realpath(location)
            try:
                status = os.stat(location)
            except (FileNotFoundError, NotADirectoryError):
                return CollectionFile(path, location, "broken symbolic link")
            if stat.S_ISDIR(status.st_mode):
                return CollectionFile(path, location, "symbolic link to a folder")
            if not _is_inside(location, root) and not _DVC_CACHE_OBJECT.search(location):
                return CollectionFile(
                    path, location, "symbolic link that leads outside the collection"
                )
    except OSError as error:
        return CollectionFile(path, location, f"unreadable: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return CollectionFile(
            path, location, "hidden file" if hidden else _special_kind(status.st_mode)
        )
    reason = _note_reason(location) if status.st_size <= SET_ASIDE_MOST_BYTES else None
    if reason is None:
        reason = "hidden file" if hidden else _by_name_reason(path)
    return CollectionFile(path, location, reason, status.st_size)


def _by_name_reason(path: str) -> str:
    """Why a file is no footage, by its path; empty if it may be."""
    if find_leftover_in(path) is not None:
        return LEFTOVER_REASON
    *folders, name = path.lower().split("/")
    suffix = os.path.splitext(name)[1]
    within = {*folders[-1:], "/".join(folders[-2:])}
    # Subfolders, too: DJI makes one per hundred files.
    within |= {*folders[-2:-1], "/".join(folders[-3:-1])}
    if suffix in _THUMBNAIL_SUFFIXES or within & _THUMBNAIL_FOLDERS:
        return "thumbnail of a camera"
    if suffix in _PREVIEW_SUFFIXES or within & _PREVIEW_FOLDERS:
        return "preview video of a camera"
    return ""


def _note_reason(location: str) -> str | None:
    contents = read_contents(location)
    return None if isinstance(contents, Unreadable) else set_aside_reason(contents)


def _is_inside(location: str, root: str) -> bool:
    return location.startswith(root.rstrip(os.sep) + os.sep)


def _special_kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "not a file: a named pipe"
    if stat.S_ISSOCK(mode):
        return "not a file: a socket"
    return "not a file: a device"
