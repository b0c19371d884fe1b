"""Reading the listings of folders from the cache, without DVC.

A listing is a JSON list of the files of a folder, with `md5` and `relpath` each, stored as
``xx/yyyy.dir`` under its own md5 (`dvc_data.hashfile.tree`). A damaged listing, whose hash differs
from its name, counts as missing, and so does one that names anything but objects and files inside
the folder. Whether a listing has a file is found by a text search, which is much faster than
parsing; code that removes anything parses it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from pathlib import Path
from sys import intern
from typing import TypeVar

from registry_assets.dvc_repo.recorded_names import are_inside, are_md5s
from registry_assets.fingerprint import FileIdentity
from registry_assets.model import FOLDER_SUFFIX, is_folder

T = TypeVar("T")

_OBJECT = re.compile(rf"[0-9a-f]{{32}}({re.escape(FOLDER_SUFFIX)})?")

# An entry as DVC writes it; neither can be part of a name, where quotes are escaped.
_NAME = b'"relpath"'
_ENTRY = re.compile(rb'\{"md5": "([0-9a-f]{32})", "relpath": "')
# The same up to its end, where nothing in the name is escaped.
_PLAIN_ENTRY = re.compile(rb'\{"md5": "[0-9a-f]{32}", "relpath": "([ !#-\[\]-~]*)"\}')


def build_listing(files: Iterable[tuple[str, str]]) -> bytes:
    """The text of a folder's listing, from the paths and md5s of its files."""
    # As by `json.dumps`, without an object for each file.
    entries = (
        f'{{"md5": "{md5}", "relpath": {encode_basestring_ascii(name)}}}'
        for name, md5 in sorted(files)
    )
    return f"[{', '.join(entries)}]".encode()


def hash_listing(listing: bytes) -> str:
    """The md5 of a folder, as in metafiles, from its listing."""
    return f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}{FOLDER_SUFFIX}"


@dataclass(frozen=True)
class FileChanges:
    """The paths of files that differ between two versions of a folder.

    Attributes:
        changed: Files in both versions with different content.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def by_kind(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields the kinds of changes with the files."""
        yield from (("added", self.added), ("removed", self.removed), ("changed", self.changed))

    def __str__(self) -> str:
        return f"+{len(self.added)} −{len(self.removed)} ~{len(self.changed)}"


def compare_files(before: Mapping[str, str], after: Mapping[str, str]) -> FileChanges:
    """Compares the files of two versions, given as md5s by path."""
    return FileChanges(
        tuple(path for path in after if path not in before),
        tuple(path for path in before if path not in after),
        tuple(path for path in after if path in before and before[path] != after[path]),
    )


class Listings:
    """The listings in a cache.

    Args:
        folders: The folders with its objects, in order of preference: those of DVC 3 and DVC 2.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def read(self, version: str) -> Mapping[str, str] | None:
        """The files of a version, with md5s; None if the cache lacks a valid listing."""
        return self._read_by(_read, version)

    def read_md5s(self, version: str) -> bytes | None:
        """The md5s of the files of a version, 16 bytes each; None if there is no valid listing.

        Takes a tenth of the time and a twentieth of the memory of `read`.
        """
        return self._read_by(_read_md5s, version)

    def read_names(self, version: str) -> Collection[str] | None:
        """The paths of the files of a version; None if there is no valid listing.

        Takes a third of the time of `read`.
        """
        return self._read_by(_read_names, version)

    def _read_by(
        self, read: Callable[[str, str, FileIdentity], T | None], version: str
    ) -> T | None:
        if not _OBJECT.fullmatch(version):
            return None
        for folder in self._folders:
            place = f"{folder}/{version[:2]}/{version[2:]}"
            with suppress(FileNotFoundError, _DamagedError):
                return read(place, version, FileIdentity.of(Path(place).stat()))
        return None

    def is_invalid(self, version: str) -> bool:
        """Whether the listing is here and as it was recorded, but none that DVC writes."""
        text = self._text(version)
        return text is not None and _parse(text) is None

    def names(self, version: str, md5: str) -> bool | None:
        """Whether a version of a folder has a file; None if the cache lacks the listing."""
        text = self._text(version)
        return None if text is None else md5.encode() in text

    def contents(self, version: str) -> frozenset[str] | None:
        """The md5s of the files of a version; for a file, its own md5.

        None if the listing of a folder is missing or invalid.
        """
        if not is_folder(version):
            return frozenset({version})
        files = self.read(version)
        return None if files is None else frozenset(files.values())

    def find(self, md5: str) -> Iterator[str]:
        """Yields every version of a folder in the cache, in use or not, that has a file."""
        wanted = md5.encode()
        for folder in self._folders:
            for place in sorted(folder.glob("[0-9a-f][0-9a-f]/*.dir")):
                if wanted in place.read_bytes():
                    yield place.parent.name + place.name

    def place_of(self, md5: str) -> Path | None:
        """The path of an object in the cache; None if the cache lacks it."""
        if not _OBJECT.fullmatch(md5):
            return None
        places = (folder / md5[:2] / md5[2:] for folder in self._folders)
        return next((place for place in places if place.is_file()), None)

    def places(self, version: str) -> Mapping[str, Path | None]:
        """The files of a version, each with the path of its object in the cache.

        Empty if the listing is missing or invalid.
        """
        return {
            name: self.place_of(md5) for name, md5 in sorted((self.read(version) or {}).items())
        }

    def _text(self, version: str) -> bytes | None:
        if not _OBJECT.fullmatch(version):
            return None
        for folder in self._folders:
            try:
                text = (folder / version[:2] / version[2:]).read_bytes()
            except FileNotFoundError:
                continue
            if hash_listing(text) == version:
                return text
        return None


class _DamagedError(Exception):
    """The hash of a listing differs from its name."""


# Several steps of a command read the same listings one after the other, and parsing takes longer
# than all else that they do with large ones.
@lru_cache(maxsize=4)
def _read(place: str, version: str, _identity: FileIdentity) -> Mapping[str, str] | None:
    return _parse(_read_text(place, version))


# A command that adds a collection compares it three times with all others.
@lru_cache(maxsize=2000)
def _read_md5s(place: str, version: str, _identity: FileIdentity) -> bytes | None:
    text = _read_text(place, version)
    found = _ENTRY.findall(text)
    if len(found) == text.count(_NAME):
        return bytes.fromhex(b"".join(found).decode())
    # Written in another form than DVC's, such as with other spaces.
    files = _parse(text)
    return None if files is None else bytes.fromhex("".join(files.values()))


def _read_names(place: str, version: str, _identity: FileIdentity) -> Collection[str] | None:
    text = _read_text(place, version)
    found = _PLAIN_ENTRY.findall(text)
    if found and len(found) == text.count(_NAME):
        names = frozenset(b"\0".join(found).decode().split("\0"))
        return names if are_inside(names) else None
    files = _parse(text)
    return None if files is None else files.keys()


def _read_text(place: str, version: str) -> bytes:
    text = Path(place).read_bytes()
    if hash_listing(text) != version:
        raise _DamagedError
    return text


def _parse(text: bytes) -> Mapping[str, str] | None:
    """The files of a listing, with md5s; None if it is not valid."""
    try:
        # Interned, as many versions of a collection have the same files.
        files = {intern(e["relpath"]): intern(e["md5"]) for e in json.loads(text)}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return files if are_inside(files.keys()) and are_md5s(files.values()) else None
