"""The listings of folders' versions in the cache, read as they lie there.

A listing is a JSON list of the files of one folder, with `md5` and `relpath` each, kept as
``xx/yyyy.dir`` under its own md5 (`dvc_data.hashfile.tree`). One that does not hash to its name is
damaged, and tells no more than one that is not there. Asking whether one names a file is a search
in its text, which takes milliseconds where parsing many entries does not; what decides
about removing anything is parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from registry_assets.model import FOLDER_SUFFIX, is_folder

_OBJECT = re.compile(rf"[0-9a-f]{{32}}({re.escape(FOLDER_SUFFIX)})?")


def build_listing(files: Iterable[tuple[str, str]]) -> bytes:
    """The text of a folder's listing, of the paths and md5s of its files in any order."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files)]
    return json.dumps(entries).encode()


def hash_listing(listing: bytes) -> str:
    """The md5 of a folder, as metafiles name it, by its listing."""
    return f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}{FOLDER_SUFFIX}"


@dataclass(frozen=True)
class FileChanges:
    """How the files of a folder differ between two versions, by path.

    Attributes:
        changed: Those that both have, with another content.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def by_kind(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What happened to files, in a word, and the files."""
        yield from (("added", self.added), ("removed", self.removed), ("changed", self.changed))

    def __str__(self) -> str:
        return f"+{len(self.added)} −{len(self.removed)} ~{len(self.changed)}"


def compare_files(before: Mapping[str, str], after: Mapping[str, str]) -> FileChanges:
    """Compares the files of two versions, each given as md5s by path."""
    return FileChanges(
        tuple(path for path in after if path not in before),
        tuple(path for path in before if path not in after),
        tuple(path for path in after if path in before and before[path] != after[path]),
    )


class Listings:
    """The listings of one cache.

    Args:
        folders: Where its objects are, the first that has one counts: DVC 3 keeps them in a
            folder of its own, DVC 2 kept them directly in the cache.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def read(self, version: str) -> Mapping[str, str] | None:
        """The files of a folder's version and their md5s; None when the cache lacks the listing."""
        text = self._text(version)
        if text is None:
            return None
        # The versions that a collection passes through name the same files, and most are read
        # beside each other: each name is kept once.
        return {intern(entry["relpath"]): intern(entry["md5"]) for entry in json.loads(text)}

    def names(self, version: str, md5: str) -> bool | None:
        """Whether a folder's version holds a file; None when the cache lacks the listing."""
        text = self._text(version)
        return None if text is None else md5.encode() in text

    def contents(self, version: str) -> frozenset[str] | None:
        """The md5s of the files of a version, itself where it is that of a file.

        None when the cache lacks the listing of a folder, or it cannot be read.
        """
        if not is_folder(version):
            return frozenset({version})
        text = self._text(version)
        try:
            return None if text is None else frozenset(str(e["md5"]) for e in json.loads(text))
        except (ValueError, TypeError, KeyError):
            return None

    def find(self, md5: str) -> Iterator[str]:
        """Every version of a folder, in use or not, that holds a file."""
        wanted = md5.encode()
        for folder in self._folders:
            for place in sorted(folder.glob("[0-9a-f][0-9a-f]/*.dir")):
                if wanted in place.read_bytes():
                    yield place.parent.name + place.name

    def place_of(self, md5: str) -> Path | None:
        """Where the content of a file is in the cache; None when it is not there."""
        if not _OBJECT.fullmatch(md5):
            return None
        places = (folder / md5[:2] / md5[2:] for folder in self._folders)
        return next((place for place in places if place.is_file()), None)

    def places(self, version: str) -> Mapping[str, Path | None]:
        """The files of a folder's version, and where the cache has the content of each.

        Nothing where there is no listing, or none that makes sense: it comes from a remote, and
        what it calls an md5 may be a path.
        """
        text = self._text(version)
        try:
            entries = [] if text is None else json.loads(text)
            files = {str(entry["relpath"]): str(entry["md5"]) for entry in entries}
        except (ValueError, TypeError, KeyError):
            return {}
        return {name: self.place_of(md5) for name, md5 in sorted(files.items())}

    def _text(self, version: str) -> bytes | None:
        for folder in self._folders:
            try:
                text = (folder / version[:2] / version[2:]).read_bytes()
            except FileNotFoundError:
                continue
            if hash_listing(text) == version:
                return text
        return None
