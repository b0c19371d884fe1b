"""The results of extracting frames from videos, and their table."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from registry_assets.images.tables import escape_text, read_table, unescape_text, write_table

VIDEOS_TABLE = "videos.csv"
"""The file name of the table, beside the folders with the frames."""

COLUMNS = (
    *("path", "frames_seen", "frames_written", "frames_per_second"),
    *("width", "height", "rotation", "reason"),
)


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
    """

    path: str
    frames_seen: int
    frames_written: int
    frames_per_second: float
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    reason: str = ""

    @property
    def summary(self) -> str:
        """The reason for the video in the table of measurements."""
        verdict = f"video {self.reason}" if self.reason else "video"
        noun = "frame" if self.frames_written == 1 else "frames"
        return f"{verdict}: {self.frames_written} {noun} extracted"


def write_videos(frames: str | os.PathLike[str], videos: Iterable[ExtractedVideo]) -> None:
    """Write the table of the videos into the folder with their frames.

    Raises:
        OSError: If it cannot be written.
    """
    write_table(Path(frames) / VIDEOS_TABLE, COLUMNS, map(_to_row, videos))


def read_videos(frames: str | os.PathLike[str]) -> Iterator[ExtractedVideo]:
    """Yield the result for each video, from the folder that `extract_frames` wrote.

    Raises:
        OSError: If the table cannot be read.
        ValueError: If it is not such a table.
    """
    return map(_from_row, read_table(Path(frames) / VIDEOS_TABLE, COLUMNS))


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
    return (
        escape_text(video.path),
        str(video.frames_seen),
        str(video.frames_written),
        repr(video.frames_per_second),
        *("" if number is None else str(number) for number in numbers),
        escape_text(video.reason),
    )


def _from_row(row: list[str]) -> ExtractedVideo:
    path, seen, written, rate, width, height, rotation, reason = row
    return ExtractedVideo(
        path=unescape_text(path),
        frames_seen=int(seen),
        frames_written=int(written),
        frames_per_second=float(rate),
        width=int(width) if width else None,
        height=int(height) if height else None,
        rotation=int(rotation) if rotation else None,
        reason=unescape_text(reason),
    )
