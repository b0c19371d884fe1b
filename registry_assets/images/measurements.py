"""The table of a collection: one row per file, with its measures or the reason for having none."""

import hashlib
import heapq
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from registry_assets.images.decoding import (
    Unreadable,
    decode_image,
    read_contents,
)
from registry_assets.images.entries import Entry, find_entries, is_video
from registry_assets.images.frames import VIDEOS_TABLE, ExtractedVideo, read_videos
from registry_assets.images.measures import (
    mean_brightness,
    mean_horizontal_variance,
    perceptual_hash,
)
from registry_assets.images.tables import escape_text, read_table, unescape_text, write_table
from registry_assets.images.workers import map_in_order

COLUMNS = (
    *("path", "readable", "reason", "format", "width", "height", "mode", "frames"),
    *("mean_brightness", "mean_horizontal_variance", "perceptual_hash"),
    *("source", "frame", "md5", "size"),
)

_FRAME_NUMBER = re.compile(r"frame_([0-9]+)\.jpg$")


@dataclass(frozen=True)
class Measurement:
    """A row of the table.

    Attributes:
        path: Relative to the collection's folder, with `/`; for a frame of a video,
            `<path of the video>/frame_000012.jpg`.
        reason: Why it is not a readable image; empty if it is one.
        format: As Pillow calls it.
        width: In pixels, as stored (EXIF orientation not applied), as is `height`.
        mode: As stored, in Pillow's terms.
        frames: How many the file holds; the first one is measured.
        mean_brightness: See `measures`.
        mean_horizontal_variance: See `measures`.
        perceptual_hash: See `measures`.
        source: The video's path, for a frame; else empty.
        frame: The frame's number in the video, counted from 0.
        md5: Of the contents, where they were read.
        size: In bytes, of a regular file.
    """

    path: str
    reason: str = ""
    format: str = ""
    width: int | None = None
    height: int | None = None
    mode: str = ""
    frames: int | None = None
    mean_brightness: float | None = None
    mean_horizontal_variance: float | None = None
    perceptual_hash: str = ""
    source: str = ""
    frame: int | None = None
    md5: str = ""
    size: int | None = None

    @property
    def is_readable(self) -> bool:
        """Whether the file is an intact image."""
        return not self.reason


def measure_collection(
    folder: str | os.PathLike[str],
    *,
    frames: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
) -> Iterator[Measurement]:
    """Yield the measurement of every file of a collection and of its videos' frames, by path.

    Nothing that lies in the folder raises: what cannot be measured has a reason.

    Args:
        folder: The collection.
        frames: What `extract_frames` wrote for it. Without, videos have the reason "video".
        executor: Where images are decoded; it has to see the same files. By default a process
            pool, see `map_in_order`.

    Raises:
        OSError: If the folder, or the table in `frames`, cannot be read.
    """
    videos: dict[str, ExtractedVideo] = {}
    entries = find_entries(folder)
    if frames is not None:
        videos = {video.path: video for video in read_videos(frames)}
        found = (entry for entry in find_entries(frames) if entry.path != VIDEOS_TABLE)
        tasks = heapq.merge(
            ((entry, False) for entry in entries),
            ((entry, True) for entry in found),
            key=lambda task: task[0].path,
        )
    else:
        tasks = ((entry, False) for entry in entries)
    measured = map_in_order(_measure_task, tasks, on_crash=_crashed_task, executor=executor)
    for measurement in measured:
        video = videos.get(measurement.path)
        # A reason of its own, like "hidden file", says more than that it is a video.
        if video is not None and measurement.reason == "video":
            yield replace(measurement, reason=video.summary)
        else:
            yield measurement


def measure_file(path: str | os.PathLike[str], *, name: str | None = None) -> Measurement:
    """Return the measurement of one file, decoded once in this process.

    Args:
        path: Where it is.
        name: What the measurement calls it; by default its file name.
    """
    name = os.path.basename(os.fspath(path)) if name is None else name
    contents = read_contents(path)
    if isinstance(contents, Unreadable):
        return Measurement(name, contents.reason)
    md5 = hashlib.md5(contents, usedforsecurity=False).hexdigest()
    unmeasured = Measurement(name, md5=md5, size=len(contents))
    decoded = decode_image(contents, name=name)
    if isinstance(decoded, Unreadable):
        return replace(unmeasured, reason=decoded.reason)
    grey = np.asarray(decoded.image.convert("L"))
    return replace(
        unmeasured,
        format=decoded.format,
        width=decoded.width,
        height=decoded.height,
        mode=decoded.mode,
        frames=decoded.frames,
        mean_brightness=mean_brightness(np.asarray(decoded.image)),
        mean_horizontal_variance=mean_horizontal_variance(grey),
        perceptual_hash=perceptual_hash(grey),
    )


def write_measurements(path: str | os.PathLike[str], measurements: Iterable[Measurement]) -> None:
    """Write the table, row by row as the measurements come.

    Numbers are written with all their digits, so that a verdict taken from the table is the one
    taken from the measurement itself.
    """
    write_table(path, COLUMNS, map(_to_row, measurements))


def read_measurements(path: str | os.PathLike[str]) -> Iterator[Measurement]:
    """Yield the rows of a table that `write_measurements` wrote.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a table.
    """
    return map(_from_row, read_table(path, COLUMNS))


def _measure_task(task: tuple[Entry, bool]) -> Measurement:
    entry, is_frame = task
    if entry.reason:
        return Measurement(entry.path, entry.reason, size=entry.size)
    if not is_frame:
        if is_video(entry.path):
            return Measurement(entry.path, "video", size=entry.size)
        return measure_file(entry.location, name=entry.path)
    number = _FRAME_NUMBER.search(entry.path)
    return replace(
        measure_file(entry.location, name=entry.path),
        source=os.path.dirname(entry.path),
        frame=int(number.group(1)) if number else None,
    )


def _crashed_task(task: tuple[Entry, bool]) -> Measurement:
    return Measurement(task[0].path, "decoder crashed", size=task[0].size)


def _to_row(measurement: Measurement) -> tuple[str, ...]:
    return (
        escape_text(measurement.path),
        "true" if measurement.is_readable else "false",
        escape_text(measurement.reason),
        measurement.format,
        _format(measurement.width),
        _format(measurement.height),
        measurement.mode,
        _format(measurement.frames),
        _format(measurement.mean_brightness),
        _format(measurement.mean_horizontal_variance),
        measurement.perceptual_hash,
        escape_text(measurement.source),
        _format(measurement.frame),
        measurement.md5,
        _format(measurement.size),
    )


def _from_row(row: list[str]) -> Measurement:
    cells = dict(zip(COLUMNS, row, strict=True))
    return Measurement(
        path=unescape_text(cells["path"]),
        reason=unescape_text(cells["reason"]),
        format=cells["format"],
        width=_parse_int(cells["width"]),
        height=_parse_int(cells["height"]),
        mode=cells["mode"],
        frames=_parse_int(cells["frames"]),
        mean_brightness=_parse_float(cells["mean_brightness"]),
        mean_horizontal_variance=_parse_float(cells["mean_horizontal_variance"]),
        perceptual_hash=cells["perceptual_hash"],
        source=unescape_text(cells["source"]),
        frame=_parse_int(cells["frame"]),
        md5=cells["md5"],
        size=_parse_int(cells["size"]),
    )


def _format(number: float | None) -> str:
    # `repr` of a float has the digits that bring back this very float.
    return "" if number is None else repr(number)


def _parse_int(text: str) -> int | None:
    return int(text) if text else None


def _parse_float(text: str) -> float | None:
    return float(text) if text else None
