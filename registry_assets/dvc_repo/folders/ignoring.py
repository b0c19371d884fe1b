"""What DVC ignores of a folder, asked once for all of its files.

DVC asks for each file and for all folders above it, and keeps every answer in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.ignore import DvcIgnorePatterns
    from dvc.repo import Repo


def walk(repo: Repo, place: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and those in it, each with the names of its files, without what DVC ignores."""
    for folder, folders, files in os.walk(place):
        # In place, so that what is ignored is not walked.
        folders[:], files = without_ignored(repo, folder, folders, files)
        yield folder, files


def find_files(repo: Repo, folder: Path) -> Iterator[Path]:
    """The files in a folder and its sub-folders that DVC does not ignore."""
    for where, files in walk(repo, str(folder)):
        yield from (place for name in files if (place := Path(where) / name).is_file())


def without_ignored(
    repo: Repo, folder: str, folders: list[str], files: list[str]
) -> tuple[list[str], list[str]]:
    """What is left of the names in a folder, as DVC's own ``repo.dvcignore`` says.

    Args:
        repo: The repository.
        folder: Absolute.
        folders: The names of the folders in it.
        files: The names of the files in it.
    """
    ignore = repo.dvcignore
    folders, _ = ignore(folder, folders, [])
    parts = repo.fs.relparts(folder, ignore.root_dir)
    key = () if parts == (os.curdir,) else parts
    # With those of the folders above it; they were read when it was asked just now.
    patterns: DvcIgnorePatterns = ignore.ignores_trie_fs.longest_prefix(key).value
    above, _, name = folder.rpartition(os.sep)
    if folder != patterns.dirname and patterns.matches(above, name, is_dir=True):
        return folders, []
    inside = f"{folder[len(patterns.dirname) :].lstrip(os.sep)}/".lstrip("/")
    rules = [
        (regex.match, is_ignored)
        for regex, is_ignored, is_for_folders, _ in reversed(patterns.ignore_spec)
        if not is_for_folders
    ]
    # The last rule that matches decides, as in `DvcIgnorePatterns`.
    return folders, [
        file
        for file in files
        if not next((ignored for match, ignored in rules if match(f"{inside}{file}")), False)
    ]
