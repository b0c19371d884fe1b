"""Files that file managers, NAS and operating systems leave in folders, not part of a collection.

The list is used when files are brought into the raw folder, for the ``.dvcignore`` of a registry,
and for the reason in tables of measurements. It contains files that programs create again, and the
folders of trash bins. It does not contain files with a person's work, such as ``.picasa.ini``
(stars, names of faces), ``.picasaoriginals`` or ``*.xmp``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

FOLDERS = (
    # Thumbnails and indexes of a Synology (@eaDir) or QNAP NAS, and of Android and GNOME.
    *("@eaDir", ".@__thumb", ".@upload_cache", ".thumbnails"),
    # Trash bins: Synology, QNAP, Windows, macOS, freedesktop.org.
    *("#recycle", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin"),
    *(".Trashes", ".Trash", ".Trash-[0-9]*", "Network Trash Folder"),
    # Snapshots of a whole share.
    *("#snapshot", "@Recently-Snapshot", ".snapshot"),
    # System folders of Windows, macOS and ext file systems at the root of a disk.
    *("System Volume Information", ".Spotlight-V100", ".fseventsd", ".DocumentRevisions-V100"),
    *(".TemporaryItems", "lost+found"),
    # Resource forks of macOS, from netatalk and in zip archives.
    *(".AppleDouble", ".AppleDB", ".AppleDesktop", "__MACOSX"),
)
"""Patterns for names of folders; everything in such a folder is left out."""

FILES = (
    # Settings for showing a folder, and thumbnails: macOS, Windows, KDE.
    *(".DS_Store", "[Tt]humbs.db", "ehthumbs*.db", "[Dd]esktop.ini", ".directory"),
    # Resource forks of macOS on other file systems (AppleDouble), and its notes about a share.
    *("._*", ".apdisk"),
    # Files that were deleted while somebody had them open, on NFS and FUSE.
    *(".nfs0000*", ".fuse_hidden*"),
)
"""Patterns for names of files; DVC, like Git, also ignores folders with such names."""

REASON = "left by a file manager or NAS"


def _compile(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"({translate(pattern)})" for pattern in patterns))


_OF_FILES, _OF_FOLDERS = _compile(FILES), _compile((*FILES, *FOLDERS))


def find_leftover(name: str, *, is_folder: bool = False) -> str | None:
    """The pattern that the name of a file or folder matches; None if it is no leftover."""
    found = (_OF_FOLDERS if is_folder else _OF_FILES).match(name)
    return None if found is None else (*FILES, *FOLDERS)[(found.lastindex or 1) - 1]


def find_leftover_in(path: str, *, is_folder: bool = False) -> str | None:
    """The pattern that a path in a collection matches, with its name or a folder above it."""
    *folders, name = path.split("/")
    within = (find_leftover(folder, is_folder=True) for folder in folders)
    return next(filter(None, within), None) or find_leftover(name, is_folder=is_folder)


def ignore_lines() -> dict[str, str]:
    """The lines for ``.dvcignore`` that make DVC ignore all leftovers, by pattern."""
    lines = {name: name for name in FILES} | {name: f"{name}/" for name in FOLDERS}
    # A line that begins with "#" would be a comment.
    return {name: re.sub("^#", r"\\#", line) for name, line in lines.items()}


def describe_left_out(counts: Mapping[str, int]) -> str:
    """One line about the files that were left out, with the number for each pattern."""
    named = ", ".join(f"{count} {pattern}" for pattern, count in sorted(counts.items()))
    total = sum(counts.values())
    return f"left out {total} {'file' if total == 1 else 'files'} {REASON}: {named}"
