"""What file managers, NAS and operating systems leave in folders: no part of any collection.

One list, for what is brought into the raw folder, for the ``.dvcignore`` of a registry, and for the
table that says why a file is no picture of a data set. On it is what a program makes again by
itself, or a person has thrown away; not what holds anybody's work, such as ``.picasa.ini`` (stars,
names of faces), ``.picasaoriginals`` or ``*.xmp``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

FOLDERS = (
    # Thumbnails and indexes of a Synology (@eaDir) or QNAP NAS, and of Android and GNOME.
    *("@eaDir", ".@__thumb", ".@upload_cache", ".thumbnails"),
    # What was deleted: Synology, QNAP, Windows, macOS, freedesktop.org.
    *("#recycle", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin"),
    *(".Trashes", ".Trash", ".Trash-[0-9]*", "Network Trash Folder"),
    # Snapshots of a share, each with all that was in it.
    *("#snapshot", "@Recently-Snapshot", ".snapshot"),
    # What Windows, macOS and ext file systems keep at the root of a disk.
    *("System Volume Information", ".Spotlight-V100", ".fseventsd", ".DocumentRevisions-V100"),
    *(".TemporaryItems", "lost+found"),
    # What only macOS reads: resource forks, of netatalk and in a zip.
    *(".AppleDouble", ".AppleDB", ".AppleDesktop", "__MACOSX"),
)
"""Patterns of names of folders, with all that is in them."""

FILES = (
    # How a folder is shown: macOS, Windows, KDE.
    *(".DS_Store", "[Tt]humbs.db", "ehthumbs*.db", "[Dd]esktop.ini", ".directory"),
    # Resource forks of macOS on disks of others (AppleDouble), and what it notes about a share.
    *("._*", ".apdisk"),
    # Files that were deleted while somebody had them open, on NFS and FUSE.
    *(".nfs0000*", ".fuse_hidden*"),
)
"""Patterns of names of files; DVC, like Git, ignores folders of such names, too."""

REASON = "left by a file manager or NAS"


def _compile(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"({translate(pattern)})" for pattern in patterns))


_OF_FILES, _OF_FOLDERS = _compile(FILES), _compile((*FILES, *FOLDERS))


def find_leftover(name: str, *, is_folder: bool = False) -> str | None:
    """The pattern that a name in a folder fits, None when it is the name of anything else."""
    found = (_OF_FOLDERS if is_folder else _OF_FILES).match(name)
    return None if found is None else (*FILES, *FOLDERS)[(found.lastindex or 1) - 1]


def find_leftover_in(path: str, *, is_folder: bool = False) -> str | None:
    """The same of a file by its path in a collection, of its name or a folder that it lies in."""
    *folders, name = path.split("/")
    within = (find_leftover(folder, is_folder=True) for folder in folders)
    return next(filter(None, within), None) or find_leftover(name, is_folder=is_folder)


def ignore_lines() -> dict[str, str]:
    """The lines of a ``.dvcignore`` that have DVC ignore all of them, by pattern."""
    lines = {name: name for name in FILES} | {name: f"{name}/" for name in FOLDERS}
    # What begins with "#" would be a comment.
    return {name: re.sub("^#", r"\\#", line) for name, line in lines.items()}


def describe_left_out(counts: Mapping[str, int]) -> str:
    """A line for how many files were left out, by the pattern that they fit."""
    named = ", ".join(f"{count} {pattern}" for pattern, count in sorted(counts.items()))
    total = sum(counts.values())
    return f"left out {total} {'file' if total == 1 else 'files'} {REASON}: {named}"
