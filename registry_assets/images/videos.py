"""The results of extracting frames from videos, and their two tables.

When and where a video was taken stands in the tables, not in its frames: decisions, duplicates and
what was forgotten go by the contents of a frame, which so depend on its pixels alone; and a frame
that is published tells no place.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

from registry_assets.images.algorithms import TABLES_WITHOUT_EXIF
from registry_assets.images.tables import escape_text, read_table, unescape_text, write_table

VIDEOS_TABLE = "videos.csv"
"""The file name of the table of videos, beside the folders with the frames."""

FRAMES_TABLE = "frames.csv"
"""The file name of the table with the times of the frames."""

COLUMNS = (
    *("path", "frames_seen", "frames_written", "frames_per_second"),
    *("width", "height", "rotation", "reason"),
    *("taken", "camera", "latitude", "longitude", "altitude", "has_gps"),
)
_COLUMNS_AT_FIRST = 8
_FRAME_COLUMNS = ("source", "frame", "seconds")

_TRUTH = {True: "true", False: "false"}


@dataclass(frozen=True)
class ExtractedVideo:
    """The result of extracting frames from a video.

    Attributes:
        path: Relative to the collection's folder, with `/`.
        frames_seen: The number of decoded frames.
        frames_written: The number of frames that were written as images.
        frames_per_second: The requested rate.
        width: Of the first written image, in square pixels and upright; likewise `height`. None if
            there is none.
        rotation: The clockwise rotation in degrees that was applied.
        reason: The problem with the video, to follow the word "video"; empty if there is none.
        taken: When it begins, as the container says, in ISO 8601 and with the offset from UTC, for
            UTC itself `+00:00`; empty if unknown.
        camera: Make and model.
        latitude: In degrees, negative in the south.
        longitude: In degrees, negative in the west.
        altitude: In metres, negative below sea level.
        has_gps: Whether the container says anything about a place; None if it was not read. Streams
            of telemetry are not looked at.
        seconds: The presentation times of the written frames, in seconds since the first frame of
            the video, by their numbers.
    """

    path: str
    frames_seen: int
    frames_written: int
    frames_per_second: float
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    reason: str = ""
    taken: str = ""
    camera: str = ""
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    has_gps: bool | None = None
    seconds: Mapping[int, float] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The reason for the video in the table of measurements."""
        verdict = f"video {self.reason}" if self.reason else "video"
        noun = "frame" if self.frames_written == 1 else "frames"
        return f"{verdict}: {self.frames_written} {noun} extracted"

    def find_time(self, frame: int | None) -> str:
        """Return when a frame was taken, in ISO 8601 with milliseconds; empty if unknown."""
        seconds = None if frame is None else self.seconds.get(frame)
        if not self.taken or seconds is None:
            return ""
        try:
            time: datetime = datetime.fromisoformat(self.taken) + timedelta(seconds=seconds)
        except OverflowError:
            return ""
        return time.isoformat(timespec="milliseconds")


def write_videos(
    frames: str | os.PathLike[str], videos: Collection[ExtractedVideo], *, version: int
) -> None:
    """Write the tables of the videos and of their frames into the folder with the frames.

    Args:
        frames: The folder.
        videos: The rows.
        version: Of the algorithm `frames`.

    Raises:
        OSError: If they cannot be written.
    """
    if version == TABLES_WITHOUT_EXIF:
        rows = (_to_row(video)[:_COLUMNS_AT_FIRST] for video in videos)
        write_table(Path(frames) / VIDEOS_TABLE, COLUMNS[:_COLUMNS_AT_FIRST], rows)
        return
    times = (
        (escape_text(video.path), str(frame), repr(seconds))
        for video in videos
        for frame, seconds in video.seconds.items()
    )
    write_table(Path(frames) / FRAMES_TABLE, _FRAME_COLUMNS, times)
    write_table(Path(frames) / VIDEOS_TABLE, COLUMNS, map(_to_row, videos))


def read_videos(frames: str | os.PathLike[str]) -> Iterator[ExtractedVideo]:
    """Yield the result for each video, from the folder that `extract_frames` wrote.

    Earlier versions wrote no table of frames, and fewer columns of videos.

    Raises:
        OSError: If the table of videos cannot be read.
        ValueError: If it is not such a table.
    """
    times: dict[str, dict[int, float]] = {}
    if (Path(frames) / FRAMES_TABLE).exists():
        for source, frame, seconds in read_table(Path(frames) / FRAMES_TABLE, _FRAME_COLUMNS):
            times.setdefault(unescape_text(source), {})[int(frame)] = float(seconds)
    for row in read_table(Path(frames) / VIDEOS_TABLE, COLUMNS, at_least=_COLUMNS_AT_FIRST):
        yield _from_row(row, times)


def as_rate(frames_per_second: float) -> Fraction:
    """Convert a rate to the fraction that its decimal digits say.

    Raises:
        ValueError: If it is not above 0.
    """
    # By way of text, so that 0.1 is exactly a tenth.
    rate = Fraction(str(frames_per_second))
    if rate <= 0:
        raise ValueError(f"frames_per_second has to be above 0, not {frames_per_second}")
    return rate


def _to_row(video: ExtractedVideo) -> tuple[str, ...]:
    numbers = (video.width, video.height, video.rotation)
    place = (video.latitude, video.longitude, video.altitude)
    return (
        escape_text(video.path),
        str(video.frames_seen),
        str(video.frames_written),
        repr(video.frames_per_second),
        *("" if number is None else str(number) for number in numbers),
        escape_text(video.reason),
        video.taken,
        escape_text(video.camera),
        *("" if number is None else repr(number) for number in place),
        "" if video.has_gps is None else _TRUTH[video.has_gps],
    )


def _from_row(row: Sequence[str], times: Mapping[str, Mapping[int, float]]) -> ExtractedVideo:
    path, seen, written, rate, width, height, rotation, reason, *rest = row
    taken, camera, latitude, longitude, altitude, has_gps = rest
    path = unescape_text(path)
    return ExtractedVideo(
        path=path,
        frames_seen=int(seen),
        frames_written=int(written),
        frames_per_second=float(rate),
        width=int(width) if width else None,
        height=int(height) if height else None,
        rotation=int(rotation) if rotation else None,
        reason=unescape_text(reason),
        taken=taken,
        camera=unescape_text(camera),
        latitude=float(latitude) if latitude else None,
        longitude=float(longitude) if longitude else None,
        altitude=float(altitude) if altitude else None,
        has_gps=has_gps == _TRUTH[True] if has_gps else None,
        seconds=times.get(path, {}),
    )
