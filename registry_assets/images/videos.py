"""What became of the videos of a collection, and the table that says so beside their frames."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from registry_assets.images.tables import escape_text, read_table, unescape_text, write_table

VIDEOS_TABLE = "videos.csv"
"""The table of the videos, beside the folders with their frames."""

COLUMNS = (
    *("path", "frames_seen", "frames_written", "frames_per_second"),
    *("width", "height", "rotation", "reason"),
)


@dataclass(frozen=True)
class ExtractedVideo:
    """What became of a video.

    Attributes:
        path: Relative to the collection's folder, with `/`.
        frames_seen: How many frames were decoded.
        frames_written: How many of them were written as images.
        frames_per_second: The rate asked for.
        width: Of the first written image, in square pixels and upright, as is `height`. None if
            there is none.
        rotation: By how many degrees the video was turned clockwise to be upright.
        reason: What is wrong with the video, as the end of a sentence that begins with "video";
            empty if nothing is.
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
        """What to say of the video where its frames stand for it."""
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
    """Yield what became of each video, from the folder that `extract_frames` wrote.

    Raises:
        OSError: If there is no such folder or no table in it.
        ValueError: If it is not such a table.
    """
    return map(_from_row, read_table(Path(frames) / VIDEOS_TABLE, COLUMNS))


def as_rate(frames_per_second: float) -> Fraction:
    """Return a rate as the number that it was written as.

    Raises:
        ValueError: If it is not above 0.
    """
    # By way of text, so that 0.1 is a tenth and not the binary number next to it.
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
