"""Which upstream file a file was made from: by content, which is proof, or by name.

The rules, in order; those by name are a guess:

1. the same content: among several, first by the same name, then by the most downstream output;
2. a frame: ``<path of the video>/frame_000012.jpg`` comes from ``<path of the video>``, as
   `images.video_decoding` writes them;
3. the same path: inside its output, or including parent folders where a stage merges several
   outputs into one or splits one into several;
4. the same path with another suffix;
5. the only file that the stage reads.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Literal

How = Literal["same content", "frame", "same path", "other suffix", "only file"]

_FEW = 4
"""How many questions are answered by looking through all names before these are indexed."""

_FRAME = re.compile(r"frame_([0-9]+)\.jpg")


@dataclass(frozen=True)
class FileVersion:
    """One file in one version of an output.

    Attributes:
        output: The path of the output.
        file: The path inside the output; empty if the output is a file.
        md5: The md5 of the file.
        version: The md5 of the output.
    """

    output: str
    file: str
    md5: str
    version: str

    @property
    def path(self) -> str:
        """The path from the root of the repository."""
        return f"{self.output}/{self.file}" if self.file else self.output

    @property
    def name(self) -> tuple[str, ...]:
        """The parts of its path inside the output; the file name if the output is a file."""
        return tuple((self.file or self.output.rpartition("/")[2]).split("/"))

    @property
    def identity(self) -> tuple[str, str, str]:
        """Path and content, regardless of the version of the output."""
        return self.output, self.file, self.md5


class Files:
    """The files in one version of an output, indexed by content and by name.

    Args:
        output: The path of the output.
        version: The md5 of the output.
        listed: The md5 of each file by its path inside the output; "" if the output is a file.
    """

    def __init__(self, output: str, version: str, listed: Mapping[str, str]) -> None:
        self.output = output
        self.version = version
        self.listed = listed
        self._asked = 0

    def place(self, file: str) -> FileVersion:
        """A listed file, as a `FileVersion`."""
        return FileVersion(self.output, file, self.listed[file], self.version)

    def with_content(self, md5: str) -> list[FileVersion]:
        """The files with this md5."""
        if len(self._last_by_content) == len(self.listed):
            file = self._last_by_content.get(md5)
            return [] if file is None else [self.place(file)]
        return [self.place(file) for file in self._by_content.get(md5, ())]

    def called(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """The files whose path has the same trailing parts as another path.

        Args:
            path: The parts of the other path.
            length: How many trailing parts are the other file's path inside its output. At least
                that many must agree, and all parts of this file's path inside its output.
        """
        return self._matching(path, length, self._named, tuple)

    def called_but_for_suffix(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """As `called`, ignoring suffixes."""
        stem = (*path[:-1], _without_suffix(path[-1]))
        find = partial(_look_up, self._find_by_stem(stem[-1]))
        return self._matching(
            stem, length, find, lambda parts: (*parts[:-1], _without_suffix(parts[-1]))
        )

    def frames_of(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """The frames in a folder with the name of a video."""
        find = partial(_look_up, self._by_video)
        return self._matching(path, length, find, lambda parts: tuple(parts[:-1]))

    def _matching(
        self,
        path: Sequence[str],
        length: int,
        find: Callable[[Sequence[str]], Sequence[str]],
        shape: Callable[[Sequence[str]], tuple[str, ...]],
    ) -> list[FileVersion]:
        # Longer matches come first.
        longer = (find(path[-n:]) for n in range(len(path), length - 1, -1))
        found = [self.place(file) for files in longer for file in files]
        for own in range(length - 1, 0, -1):
            for file in find(path[-own:]):
                place = self.place(file)
                if shape(PurePosixPath(place.path).parts)[-length:] == tuple(path[-length:]):
                    found.append(place)
        return found

    @cached_property
    def _last_by_content(self) -> Mapping[str, str]:
        """The last file with each content: the only one, where all files differ, as they mostly do.

        Built in a tenth of the time of lists of all files.
        """
        return dict(zip(self.listed.values(), self.listed, strict=True))

    @cached_property
    def _by_content(self) -> Mapping[str, Sequence[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for file, md5 in self.listed.items():
            found[md5].append(file)
        return found

    def _named(self, name: Sequence[str]) -> Sequence[str]:
        file = "/".join(name)
        if "" in self.listed:
            return ("",) if file == self.output.rpartition("/")[2] else ()
        return (file,) if file in self.listed else ()

    def _find_by_stem(self, stem: str) -> Mapping[str, Sequence[str]]:
        """The files by path without suffix: all, or for the first few questions those asked for."""
        self._asked += 1
        if self._asked > _FEW:
            return self._by_stem
        return self._index_by_stem(file for file in self.listed if stem in (file or self.output))

    @cached_property
    def _by_stem(self) -> Mapping[str, Sequence[str]]:
        return self._index_by_stem(self.listed)

    def _index_by_stem(self, files: Iterable[str]) -> Mapping[str, Sequence[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for file in files:
            folders, slash, name = (file or self.output).rpartition("/")
            inside = f"{folders}{slash}" if file else ""
            found[f"{inside}{_without_suffix(name)}"].append(file)
        return found

    @cached_property
    def _by_video(self) -> Mapping[str, Sequence[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for file in (file for file in self.listed if "/frame_" in file):
            folders, _, name = file.rpartition("/")
            if _FRAME.fullmatch(name):
                found[folders].append(file)
        return found


@dataclass(frozen=True)
class Origin:
    """The upstream file that a file was made from.

    Attributes:
        place: The upstream file.
        how: The rule that found it.
        frame: The number of the frame in the video, counted from 0.
        also: Other candidates that match equally well.
    """

    place: FileVersion
    how: How
    frame: int | None = None
    also: tuple[FileVersion, ...] = ()

    @property
    def is_proof(self) -> bool:
        """Whether the content matches, not just the name."""
        return self.how == "same content"

    def __str__(self) -> str:
        """A phrase to put before the name of the upstream file."""
        if self.is_proof:
            return self.how
        words = {
            "frame": f"frame {self.frame} of",
            "same path": "same path, other content",
            "other suffix": "same path, other suffix",
            "only file": "the only file that the stage reads",
        }
        return f"{words[self.how]} (by name)"


def find_origin(place: FileVersion, upstream: Iterable[Files]) -> Origin | None:
    """Find the upstream file that a file was made from.

    Args:
        place: The file.
        upstream: The dependencies of its output, the most downstream ones first.

    Returns:
        None if no rule matches.
    """
    upstream = tuple(upstream)
    path, length = PurePosixPath(place.path).parts, len(place.name)
    named = [found for files in upstream for found in files.called(path, length)]
    same = [found for files in upstream for found in files.with_content(place.md5)]
    if same:
        # Sorting is stable: among equal names the most downstream one stays first.
        same.sort(key=lambda found: (found not in named, found.name[-1] != place.name[-1]))
        return _origin("same content", same)
    frame = _FRAME.fullmatch(path[-1])
    number = int(frame[1]) if frame else None
    if frame and length > 1:
        videos = [found for files in upstream for found in files.called(path[:-1], length - 1)]
        if videos:
            return _origin("frame", videos, number)
    if named:
        return _origin("same path", named)
    alike = [found for files in upstream for found in files.called_but_for_suffix(path, length)]
    if alike:
        return _origin("other suffix", alike)
    if sum(len(files.listed) for files in upstream) == 1:
        (only,) = (files.place(file) for files in upstream for file in files.listed)
        return Origin(only, "only file" if number is None else "frame", number)
    return None


def find_derived(
    place: FileVersion, files: Files, upstream: Iterable[Files]
) -> Iterator[tuple[FileVersion, Origin]]:
    """Find the files of an output that were made from an upstream file: inverts `find_origin`.

    Args:
        place: The upstream file.
        files: The files of the output.
        upstream: The dependencies of the output, the most downstream ones first.
    """
    upstream = tuple(upstream)
    if sum(len(read.listed) for read in upstream) == 1:
        may_be = [files.place(file) for file in files.listed]
    else:
        path, length = PurePosixPath(place.path).parts, len(place.name)
        may_be = [
            *files.with_content(place.md5),
            *files.frames_of(path, length),
            *files.called(path, length),
            *files.called_but_for_suffix(path, length),
        ]
    for found in dict.fromkeys(may_be):
        origin = find_origin(found, upstream)
        if origin is None:
            continue
        if any(place.identity == known.identity for known in (origin.place, *origin.also)):
            yield found, origin


def _origin(how: How, found: Sequence[FileVersion], frame: int | None = None) -> Origin:
    return Origin(found[0], how, frame, tuple(found[1:]))


def _look_up(index: Mapping[str, Sequence[str]], name: Sequence[str]) -> Sequence[str]:
    return index.get("/".join(name), ())


def _without_suffix(name: str) -> str:
    """A name without its suffix, as `PurePath.stem`, which takes ten times as long."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and suffix else name
