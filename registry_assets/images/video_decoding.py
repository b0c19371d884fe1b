"""Extracting frames from a video, as upright JPEG files at a constant rate.

A video is sampled by presentation time, counted from its first frame: the first frame at or after
each multiple of 1 / `frames_per_second` is written. If the video has a lower rate, each frame is
written once.

Frames have square pixels: if the pixel aspect ratio is not 1 (HDV, AVCHD, DV, DVDs), frames keep
their height and are scaled to an even width. Then they are rotated upright. The aspect ratio of
the container takes precedence over that of the codec, as in ffplay. Interlaced frames are not
deinterlaced.
"""

import io
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from registry_assets.images.contents import MAX_PIXELS
from registry_assets.images.video_tags import read_video_tags
from registry_assets.images.videos import ExtractedVideo, as_rate
from registry_assets.images.worker_process import allow_time

if TYPE_CHECKING:
    import av
    import av.container
    from av.buffer import Buffer

# Permitted containers. FFmpeg's other formats are images and playlists, which can refer to files
# and URLs elsewhere. It detects the format by contents, so checking the suffix is no protection.
_CONTAINERS = (
    "3g2,3gp,asf,avi,flv,h264,hevc,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,ogg,webm"
)

# Containers whose header states the duration. For others, FFmpeg estimates it from the data, so
# missing data goes unnoticed.
_CONTAINERS_WITH_DURATION = frozenset(("asf", "avi", "flv", "matroska", "mov", "mp4", "webm"))

# The tolerance before a video counts as truncated, as headers are not exact.
_MISSING_SECONDS = 0.5

_TICKS_PER_SECOND = 1_000_000  # of a container's times, AV_TIME_BASE

# The highest pixel aspect ratio, or its inverse. Cameras and broadcasts stay below 3; a higher one
# is taken for a damaged header and ignored.
_MOST_STRETCHED = 10

# The signs of the upper left 2 x 2 of FFmpeg's display matrix (libavutil/display.h), with the
# clockwise rotation in degrees and the transposition that makes the picture upright (Pillow's
# rotations are counterclockwise). The last four are also mirrored.
_ORIENTATIONS = {
    (1, 0, 0, 1): (0, None),
    (0, 1, -1, 0): (90, Image.Transpose.ROTATE_270),
    (-1, 0, 0, -1): (180, Image.Transpose.ROTATE_180),
    (0, -1, 1, 0): (270, Image.Transpose.ROTATE_90),
    (-1, 0, 0, 1): (0, Image.Transpose.FLIP_LEFT_RIGHT),
    (0, 1, 1, 0): (90, Image.Transpose.TRANSPOSE),
    (1, 0, 0, -1): (180, Image.Transpose.FLIP_TOP_BOTTOM),
    (0, -1, -1, 0): (270, Image.Transpose.TRANSVERSE),
}


_ROTATIONS = {turn[0]: turn for turn in reversed(_ORIENTATIONS.values())}

# FFmpeg's SWS_BILINEAR, SWS_ACCURATE_RND and SWS_BITEXACT (libswscale/swscale.h). Without the last
# two, rounding depends on the processor.
_BILINEAR_EXACT = 0x2 | 0x40000 | 0x80000


def extract_video(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    frames_per_second: float,
    name: str | None = None,
) -> ExtractedVideo:
    """Write frames of a video into the folder `out`, which is created with the first frame.

    Memory use does not depend on the length of the video, but for a number per written frame.

    Args:
        path: The video.
        out: The folder for `frame_000000.jpg` and so on.
        frames_per_second: The number of frames to write per second of video.
        name: The path of the video in the result (default: its file name).

    Raises:
        OSError: If a frame cannot be written.
        ValueError: If `frames_per_second` is not above 0.
    """
    # Imported here, as workers that decode photographs do not need the video libraries.
    import imageio.v3 as iio
    from imageio.plugins.pyav import PyAVPlugin

    rate = as_rate(frames_per_second)
    name = os.path.basename(os.fspath(path)) if name is None else name
    video = ExtractedVideo(name, 0, 0, float(rate))
    try:
        file = _VideoFile(io.FileIO(os.fspath(path)))
    except OSError as error:
        return replace(video, reason=f"is unreadable ({error.strerror})")
    with file:
        try:
            reader = iio.imopen(
                file,
                "r",
                plugin=PyAVPlugin,
                options={"format_whitelist": _CONTAINERS},
                # Of metadata that are not UTF-8.
                metadata_errors="replace",
            )
        except OSError as error:
            # An IndexError means that there is no video stream.
            is_sound = isinstance(error.__cause__, IndexError)
            return replace(video, reason="has no pictures" if is_sound else "cannot be opened")
        with reader:
            # imageio's own iterator yields pixels without time and rotation, which the frames of
            # its PyAV container have.
            container = cast("av.container.InputContainer", reader._container)
            return _Extraction(video, Path(out), rate).run(container)


class _Extraction:
    """One pass over a video."""

    def __init__(self, video: ExtractedVideo, out: Path, rate: Fraction) -> None:
        self._video = video
        self._out = out
        self._rate = rate
        # In seconds: the first since the first frame, the second by the file's time stamps.
        self._first_problem: Fraction | None = None
        self._end = Fraction(0)
        self._seconds: dict[int, float] = {}
        # The pixel aspect ratio of the container, if the codec has another one.
        self._stated_aspect: Fraction | None = None

    def run(self, container: "av.container.InputContainer") -> ExtractedVideo:
        """Write the frames that are due, and return the result."""
        import av

        # The best one, as a cover picture is a video stream, too.
        stream = container.streams.best("video")
        own = stream.metadata if stream is not None else {}
        self._video = replace(self._video, **read_video_tags({**own, **container.metadata}))
        if not isinstance(stream, av.VideoStream):
            return replace(self._video, reason="has no pictures")
        if not stream.codec_context:
            return replace(self._video, reason="cannot be decoded")
        # With several threads, the result for damaged data can differ between runs.
        stream.codec_context.thread_count = 1
        stated = _believed_aspect(stream.sample_aspect_ratio)
        if stated != _believed_aspect(stream.codec_context.sample_aspect_ratio):
            self._stated_aspect = stated
        clock = _Clock(stream, self._rate)
        for frame in self._decode(container, stream, clock):
            number = self._video.frames_seen
            self._video = replace(self._video, frames_seen=number + 1)
            stamp = _time_stamp(frame)
            if frame.is_corrupt or frame.width * frame.height > MAX_PIXELS:
                self._note_problem(clock.find_time(stamp))
            elif clock.tick(stamp):
                aspect = self._stated_aspect or _believed_aspect(
                    # It can change in a broadcast. In PyAV, the decoder has it, not the frame.
                    stream.codec_context.sample_aspect_ratio
                )
                self._write(frame, aspect or Fraction(1), number, clock)
        is_cut_short = _is_cut_short(container, self._end)
        return replace(self._video, reason=self._reason(clock, is_cut_short), seconds=self._seconds)

    def _decode(
        self, container: "av.container.InputContainer", stream: "av.VideoStream", clock: "_Clock"
    ) -> "Iterator[av.VideoFrame]":
        packets = container.demux()
        while True:
            try:
                packet = next(packets, None)
            except _decoding_errors():
                self._note_problem(clock.end)
                return
            if packet is None:
                return
            # The time limit is per packet, not for the whole video.
            allow_time()
            stamp = _time_stamp(packet)
            if packet.is_corrupt:
                self._note_problem(clock.find_time(stamp))
            elif stamp is not None:
                end = stamp + (packet.duration or 0) * _exact(packet.time_base)
                self._end = max(self._end, end)
            if packet.stream is stream:
                try:
                    frames = stream.decode(packet)
                except _decoding_errors():
                    self._note_problem(clock.find_time(stamp))
                else:
                    yield from frames

    def _write(
        self, frame: "av.VideoFrame", aspect: Fraction, number: int, clock: "_Clock"
    ) -> None:
        width = _square_width(frame.width, aspect)
        if width * frame.height > MAX_PIXELS:
            self._note_problem(clock.last)
            return
        try:
            image = _convert_to_image(frame, width)
        except _decoding_errors():
            self._note_problem(clock.last)
            return
        rotation, transposition = _find_orientation(frame)
        if transposition is not None:
            image = image.transpose(transposition)
        if not self._video.frames_written:
            self._out.mkdir(parents=True, exist_ok=True)
            self._video = replace(
                self._video, width=image.width, height=image.height, rotation=rotation
            )
        image.save(self._out / f"frame_{number:06d}.jpg", "JPEG", quality=95)
        self._video = replace(self._video, frames_written=self._video.frames_written + 1)
        self._seconds[number] = float(clock.last)

    def _note_problem(self, time: Fraction) -> None:
        if self._first_problem is None:
            self._first_problem = time

    def _reason(self, clock: "_Clock", is_cut_short: bool) -> str:
        problem = self._first_problem
        if is_cut_short or (problem is not None and problem >= clock.last):
            return f"breaks off after {float(clock.end):.1f} s"
        if problem is not None:
            return f"is damaged at {float(problem):.1f} s"
        return "" if self._video.frames_seen else "has no pictures"


class _Clock:
    """Computes the times of frames, in seconds since the first one, and which frames are due.

    A frame without a time stamp follows the previous one at the stream's average rate, and so does
    one whose time stamp goes backwards, as in joined recordings.

    Attributes:
        last: The time of the latest intact frame.
        end: The end of that frame; 0 without frames.
    """

    def __init__(self, stream: "av.VideoStream", rate: Fraction) -> None:
        self._interval = 1 / _exact(stream.average_rate or Fraction(25))
        self._rate = rate
        self._next = 0
        self._origin: Fraction | None = None
        self.last = Fraction(-1)
        self.end = Fraction(0)

    def tick(self, stamp: Fraction | None) -> bool:
        """Advance to the next intact frame, and return whether it is due."""
        if stamp is not None and (self._origin is None or stamp - self._origin < self.last):
            self._origin = stamp - self.end
        self.last = self.find_time(stamp)
        self.end = self.last + self._interval
        is_due = self.last * self._rate >= self._next
        if is_due:
            self._next = math.floor(self.last * self._rate) + 1
        return is_due

    def find_time(self, stamp: Fraction | None) -> Fraction:
        """Return the time for a time stamp of the file."""
        return self.end if stamp is None or self._origin is None else stamp - self._origin


class _VideoFile(io.BufferedReader):
    """A file whose `seek` returns -1 for invalid offsets instead of raising.

    PyAV would print the exception, and could raise it while decoding the next video.
    """

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def _decoding_errors() -> tuple[type[Exception], ...]:
    """Return the errors that FFmpeg, PyAV and the file system raise for damaged files."""
    import av

    return (av.FFmpegError, OSError, ValueError, OverflowError, MemoryError)


def _time_stamp(timed: "av.VideoFrame | av.Packet[Any]") -> Fraction | None:
    if timed.pts is None or not timed.time_base:
        return None
    return timed.pts * _exact(timed.time_base)


def _exact(number: "Fraction | None") -> Fraction:
    # PyAV 19 has its own type, with the same two attributes.
    return Fraction(number.numerator, number.denominator) if number else Fraction(0)


def _is_cut_short(container: "av.container.InputContainer", end: Fraction) -> bool:
    names = set(container.format.name.split(","))
    if container.duration is None or not names & _CONTAINERS_WITH_DURATION:
        return False
    # The duration is counted from the first time stamp or from zero, depending on the container.
    start = Fraction(min(container.start_time or 0, 0), _TICKS_PER_SECOND)
    length = Fraction(container.duration, _TICKS_PER_SECOND)
    return length - (end - start) > _MISSING_SECONDS


def _find_orientation(frame: "av.VideoFrame") -> tuple[int, Image.Transpose | None]:
    try:
        matrix = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV before 19 fails for unknown kinds of side data. `rotation` does not tell mirroring.
        return _ROTATIONS.get(-frame.rotation % 360, (0, None))
    if matrix is None:
        return 0, None
    a, b, _, c, d = struct.unpack_from("5i", bytes(matrix))
    # Angles that are no multiple of 90° are ignored.
    return _ORIENTATIONS.get(tuple((value > 0) - (value < 0) for value in (a, b, c, d)), (0, None))


def _believed_aspect(stated: "Fraction | None") -> Fraction | None:
    """Return the pixel aspect ratio; None if unknown or implausible."""
    aspect = _exact(stated)
    return aspect if 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED else None


def _square_width(width: int, aspect: Fraction) -> int:
    """Return the width in square pixels."""
    if round(width * aspect) == width:
        return width
    return max(2, 2 * round(width * aspect / 2))


def _convert_to_image(frame: "av.VideoFrame", width: int) -> Image.Image:
    rgb = frame.reformat(width=width, format="rgb24", interpolation=_BILINEAR_EXACT)
    return Image.fromarray(rgb.to_ndarray())
