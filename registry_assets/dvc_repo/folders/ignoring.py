"""DVC's ignore rules, evaluated once per folder, and the file names that DVC refuses.

DVC evaluates them for each file and all folders above, and caches every result in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import DVC_FILE_SUFFIX, PROJECT_FILE
from dvc.ignore import DvcIgnore, DvcIgnoreFilter

from registry_assets.dvc_repo.internals import patterns_above
from registry_assets.errors import FileNotStorableError
from registry_assets.leftovers import find_leftover
from registry_assets.model import DVC_FOLDER
from registry_assets.settings import read_settings

if TYPE_CHECKING:
    from dvc.fs import FileSystem
    from dvc.ignore import DvcIgnorePatterns
    from dvc.repo import Repo

    from registry_assets.dvc_repo.folders.scanning import FolderScan
    from registry_assets.model import Settings


METAFILE_ENDINGS = (DVC_FILE_SUFFIX, PROJECT_FILE)
REFUSED_IGNORE_FILE = "it would make DVC ignore files"


class DataHidingIgnore(DvcIgnoreFilter):  # type: ignore[misc]
    """DVC's ignore filter, which also hides metafiles inside collections.

    DVC walks the whole repository only to find metafiles.
    """

    def walk(self, fs: FileSystem, path: str, **kwargs: Any) -> Iterator[Any]:
        """Walks a folder without ignored files."""
        walked = super().walk(fs, path, **kwargs)
        if path != self.root_dir:
            yield from walked
            return
        settings = read_settings(Path(path))
        for folder, folders, files in walked:
            # In place, so that collections are not walked.
            folders[:], files[:] = without_data(path, settings, folder, folders, files)
            yield folder, folders, files


def without_data(
    root: str, settings: Settings, folder: str, folders: list[str], files: list[str]
) -> tuple[list[str], list[str]]:
    """Filters the names in a folder: no collections, and no metafiles that are data.

    Args:
        root: Of the repository.
        settings: Which folders are collections.
        folder: Absolute.
        folders: The names of the folders in it.
        files: The names of the files in it.
    """
    inside = f"{folder[len(root) + 1 :]}/" if folder != root else ""
    return (
        [name for name in folders if not settings.is_collection(f"{inside}{name}")],
        [n for n in files if not n.endswith(METAFILE_ENDINGS) or settings.declares(f"{inside}{n}")],
    )


def refused_reason(name: str, *, is_folder: bool) -> str | None:
    """Why DVC does not store a file or folder with this name; None if it does.

    `dvc add` fails for a ``.dvcignore``, and for metafiles in a new folder. It silently ignores
    repositories: ``.git`` and ``.hg``, and a folder with a ``.dvc`` as a whole.
    """
    if name == DvcIgnore.DVCIGNORE_FILE:
        return REFUSED_IGNORE_FILE
    if name == DVC_FOLDER:
        return "a DVC repository of its own"
    if name == ".git" or (name == ".hg" and is_folder):
        return "a repository of its own"
    if not is_folder and (name == PROJECT_FILE or name.endswith(DVC_FILE_SUFFIX)):
        return "a metafile of DVC"
    return None


def walk(
    repo: Repo, place: str, scan: FolderScan | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks a folder, or a scan of it.

    Yields:
        The path of each folder that DVC does not ignore, the names of its files that DVC does not
        ignore, and the names of ignored files and folders; the latter end in ``/``.
    """
    for folder, folders, files in os.walk(place) if scan is None else scan.walk():
        try:
            kept, wanted = without_ignored(repo, folder, folders, files)
        except OSError as error:
            if DvcIgnore.DVCIGNORE_FILE not in (*folders, *files):
                raise
            where = f"{folder}/{DvcIgnore.DVCIGNORE_FILE}"
            raise FileNotStorableError(where, REFUSED_IGNORE_FILE) from error
        ignored = []
        if len(kept) < len(folders) or len(wanted) < len(files):
            names = {*kept, *wanted}
            ignored = [f"{name}/" for name in folders if name not in names]
            ignored += [name for name in files if name not in names]
        # In place, so that ignored folders are not walked.
        folders[:] = kept
        yield folder, wanted, ignored


def find_files(repo: Repo, folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders that DVC does not ignore."""
    for where, files, _ in walk(repo, str(folder)):
        yield from (place for name in files if (place := Path(where) / name).is_file())


def list_folder(repo: Repo, place: str) -> tuple[list[str], list[str]]:
    """The files that DVC does not ignore, and the ignored paths, relative to the folder."""
    names: list[str] = []
    ignored: list[str] = []
    start = len(place) + 1
    for folder, files, left_out in walk(repo, place):
        inside = f"{folder[start:]}/" if len(folder) > start else ""
        names += (f"{inside}{name}" for name in files)
        ignored += (f"{inside}{name}" for name in left_out)
    return names, ignored


IgnoreRule = Callable[[str, str, bool], bool]
"""Takes a folder, a name in it and whether that is a folder; returns whether it is ignored."""


def rule_above(repo: Repo, place: str) -> IgnoreRule:
    """The rule that the ignore files above a folder make for its contents."""
    above, _, name = place.rpartition(os.sep)
    patterns = patterns_above(repo.dvcignore, above)
    start = len(patterns.dirname) + 1
    rules = [rule[:3] for rule in reversed(patterns.ignore_spec)]
    is_all_ignored = bool(patterns.matches(above, name, is_dir=True))

    def is_ignored(folder: str, name: str, is_folder: bool) -> bool:
        path = f"{folder[start:]}/{name}{'/' if is_folder else ''}"
        fitting = (
            ignored
            for regex, ignored, is_for_folders in rules
            if (is_folder or not is_for_folders) and regex.match(path)
        )
        return is_all_ignored or next(fitting, False)

    return is_ignored


def find_hidden(repo: Repo, place: str) -> Iterator[str]:
    """Yields paths in a folder that ignore files above it ignore.

    Without files that file managers leave behind, and names that DVC refuses.
    """
    is_ignored = rule_above(repo, place)
    start = len(place) + 1
    for folder, folders, files in os.walk(place):
        inside = f"{folder[start:]}/" if len(folder) > start else ""
        hidden = [name for name in folders if is_ignored(folder, name, True)]
        folders[:] = [name for name in folders if name not in hidden]
        for name in hidden:
            if not find_leftover(name, is_folder=True) and not refused_reason(name, is_folder=True):
                yield f"{inside}{name}/"
        for name in files:
            if is_ignored(folder, name, False) and not (
                find_leftover(name) or refused_reason(name, is_folder=False)
            ):
                yield f"{inside}{name}"


def describe_pattern(repo: Repo, path: str) -> str:
    """The rule by which DVC ignores a path: file, line and pattern."""
    found = repo.dvcignore.check_ignore(path)
    rules = [info.file_info for info in found.pattern_infos if info.file_info]
    return str(rules[-1]) if rules else "a rule of DVC"


def without_ignored(
    repo: Repo, folder: str, folders: list[str], files: list[str]
) -> tuple[list[str], list[str]]:
    """Filters the names in a folder that DVC does not ignore, as ``repo.dvcignore`` does.

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
    # Merged with those of the folders above. The call above has loaded them.
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
