"""Which file of the outputs upstream a file came from: by content, which is proof, or by name.

Names are a guess, and are asked only where no content is the same:

1. the same content: of several, the one of the same name, farthest along the way;
2. a frame: ``<path of the video>/frame_000012.jpg`` came from ``<path of the video>``, the form
   in which `images.video_decoding` writes them;
3. the same path: inside its output, or with the folders around it where a stage gathers several
   outputs in one or splits one into several;
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

_FRAME = re.compile(r"frame_([0-9]+)\.jpg")


@dataclass(frozen=True)
class FileVersion:
    """One file in one version of an output.

    Attributes:
        output: The path of the output.
        file: The path inside it; empty where the output is the file.
        md5: Of the file.
        version: Of the output.
    """

    output: str
    file: str
    md5: str
    version: str

    @property
    def path(self) -> str:
        """From the root of the repository."""
        return f"{self.output}/{self.file}" if self.file else self.output

    @property
    def name(self) -> tuple[str, ...]:
        """The parts of its path that are its own, not its output's."""
        return tuple((self.file or self.output.rpartition("/")[2]).split("/"))

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is in whatever version of its output."""
        return self.output, self.file, self.md5


class Files:
    """The files in one version of an output, to be looked up by content and by name.

    Args:
        output: Its path.
        version: Its md5.
        listed: The md5 of each file, by path inside the output; of "" where the output is one.
    """

    def __init__(self, output: str, version: str, listed: Mapping[str, str]) -> None:
        self.output = output
        self.version = version
        self.listed = listed

    def place(self, file: str) -> FileVersion:
        """The place of a file that is listed."""
        return FileVersion(self.output, file, self.listed[file], self.version)

    def with_content(self, md5: str) -> list[FileVersion]:
        """The files of a content."""
        return [self.place(file) for file in self._by_content.get(md5, ())]

    def called(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """The files whose path ends as another one does.

        Args:
            path: The parts of the other path.
            length: How many of them are a name of its own. As many have to agree, or as many as
                are this file's own name if that is longer.
        """
        return self._matching(path, length, self._named, tuple)

    def called_but_for_suffix(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """As `called`, with suffixes left out."""
        find = partial(_look_up, self._by_stem)
        return self._matching(_without_suffix(path), length, find, _without_suffix)

    def frames_of(self, path: Sequence[str], length: int) -> list[FileVersion]:
        """The frames in a folder that is called as a video is."""
        find = partial(_look_up, self._by_video)
        return self._matching(path, length, find, lambda parts: tuple(parts[:-1]))

    def _matching(
        self,
        path: Sequence[str],
        length: int,
        find: Callable[[Sequence[str]], Sequence[str]],
        shape: Callable[[Sequence[str]], tuple[str, ...]],
    ) -> list[FileVersion]:
        # Of names longer than the other's own, the one that has more in common comes first.
        longer = (find(path[-n:]) for n in range(len(path), length - 1, -1))
        found = [self.place(file) for files in longer for file in files]
        for own in range(length - 1, 0, -1):
            for file in find(path[-own:]):
                place = self.place(file)
                if shape(PurePosixPath(place.path).parts)[-length:] == tuple(path[-length:]):
                    found.append(place)
        return found

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

    @cached_property
    def _by_stem(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for file in self.listed:
            found[_without_suffix(self.place(file).name)].append(file)
        return found

    @cached_property
    def _by_video(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for file in self.listed:
            folders, _, name = file.rpartition("/")
            if folders and _FRAME.fullmatch(name):
                found[tuple(folders.split("/"))].append(file)
        return found


@dataclass(frozen=True)
class Origin:
    """Where a file came from, one step back.

    Attributes:
        place: The file upstream.
        how: What tells so.
        frame: The number of the frame in the video, counted from 0.
        also: Other files that could as well have been it.
    """

    place: FileVersion
    how: How
    frame: int | None = None
    also: tuple[FileVersion, ...] = ()

    @property
    def is_proof(self) -> bool:
        """Whether content tells so, and not a name."""
        return self.how == "same content"

    def __str__(self) -> str:
        """In words that end before the name of the file."""
        if self.is_proof:
            return self.how
        words = {
            "frame": f"frame {self.frame} of",
            "same path": "same path, other content",
            "other suffix": "same path but for the suffix",
            "only file": "the only file that the stage reads",
        }
        return f"{words[self.how]} (by name)"


def find_origin(place: FileVersion, upstream: Iterable[Files]) -> Origin | None:
    """Finds the file that a file came from.

    Args:
        place: The file.
        upstream: The outputs that its output was made of, those farthest along the way first.

    Returns:
        None if no file upstream has its content or name.
    """
    upstream = tuple(upstream)
    path, length = PurePosixPath(place.path).parts, len(place.name)
    named = [found for files in upstream for found in files.called(path, length)]
    same = [found for files in upstream for found in files.with_content(place.md5)]
    if same:
        # Sorting is stable: of equal names the one farthest along the way stays first.
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
    """Finds the files of an output that came from a file one step back: `find_origin` turned round.

    Args:
        place: The file upstream.
        files: The output.
        upstream: The outputs that it was made of, those farthest along the way first.
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


def _look_up(index: Mapping[tuple[str, ...], Sequence[str]], name: Sequence[str]) -> Sequence[str]:
    return index.get(tuple(name), ())


def _without_suffix(path: Sequence[str]) -> tuple[str, ...]:
    return (*path[:-1], PurePosixPath(path[-1]).stem)
