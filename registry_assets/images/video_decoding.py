"""From a video to frames: upright JPEG files at a steady rate, whatever the video's own rate is.

A video is sampled by presentation time, counted from its first frame: written is the first frame
at or after each multiple of 1 / `frames_per_second`. A video with fewer frames than that gives
each of them once.

Frames have square pixels, as players show them: where a video says that its pixels are wider or
narrower than high (HDV, AVCHD, DV, DVDs), its frames keep their height and get the width that they
are meant for, to an even number of pixels. Then they are turned upright. What the container says
comes before what the codec says, as in FFmpeg's own player. Interlaced frames stay as they are.
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
from registry_assets.images.videos import ExtractedVideo, as_rate
from registry_assets.images.worker_process import allow_time

if TYPE_CHECKING:
    import av
    import av.container
    from av.buffer import Buffer

# Containers that a video may have. Others that FFmpeg knows are playlists, which can name files
# and addresses elsewhere, or images. It tells them by contents, so a suffix is no protection.
_CONTAINERS = (
    "3g2,3gp,asf,avi,flv,h264,hevc,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,ogg,webm"
)

# Containers whose header states how long the video is. Elsewhere FFmpeg estimates it from what
# is there, which says nothing about what is missing.
_CONTAINERS_WITH_DURATION = frozenset(("asf", "avi", "flv", "matroska", "mov", "mp4", "webm"))

# A video is said to break off when more than this is missing, as headers are not that exact.
_MISSING_SECONDS = 0.5

_TICKS_PER_SECOND = 1_000_000  # of a container's times, AV_TIME_BASE

# Pixels are at most so many times as wide as high, or the other way round. Cameras and broadcasts
# stay below 3; what says more is a broken header, which is not believed.
_MOST_STRETCHED = 10

# The upper left 2 x 2 of FFmpeg's display matrix, as signs, with the clockwise rotation in degrees
# and what makes the picture upright. (Pillow's rotations go counterclockwise.) Layout: FFmpeg,
# libavutil/display.h. The four last ones are mirrored as well.
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
# two it rounds in the way that is fastest on the processor at hand.
_BILINEAR_EXACT = 0x2 | 0x40000 | 0x80000


def extract_video(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    frames_per_second: float,
    name: str | None = None,
) -> ExtractedVideo:
    """Write frames of one video into the folder `out`, which is created with the first frame.

    Frames stream through: memory does not grow with the length of the video.

    Args:
        path: Where the video is.
        out: The folder for `frame_000000.jpg` and so on.
        frames_per_second: How many frames to write per second of video.
        name: What the result calls the video; by default its file name.

    Raises:
        OSError: If a frame cannot be written.
        ValueError: If `frames_per_second` is not above 0.
    """
    # Here, because the many workers that decode photographs never need the video libraries.
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
                file, "r", plugin=PyAVPlugin, options={"format_whitelist": _CONTAINERS}
            )
        except OSError as error:
            # Asking for the first of no video streams is the one error that tells something.
            is_sound = isinstance(error.__cause__, IndexError)
            return replace(video, reason="has no pictures" if is_sound else "cannot be opened")
        with reader:
            # imageio's own iterator yields pixels without their times and rotation; both are on
            # the frames of the PyAV container that it reads from.
            container = cast("av.container.InputContainer", reader._container)
            return _Extraction(video, Path(out), rate).run(container)


class _Extraction:
    """One pass over a video."""

    def __init__(self, video: ExtractedVideo, out: Path, rate: Fraction) -> None:
        self._video = video
        self._out = out
        self._rate = rate
        # In seconds, the one since the first frame, the other in the file's own count.
        self._first_problem: Fraction | None = None
        self._end = Fraction(0)
        # How wide a pixel is, if the container says otherwise than the codec.
        self._stated_aspect: Fraction | None = None

    def run(self, container: "av.container.InputContainer") -> ExtractedVideo:
        """Write the frames that are due and return what became of the video."""
        import av

        # The best one, as a cover picture is a video stream too.
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            return replace(self._video, reason="has no pictures")
        if not stream.codec_context:
            return replace(self._video, reason="cannot be decoded")
        # With several threads, what a decoder makes of broken data can differ between runs.
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
                    # It can change in a broadcast. PyAV has it of the decoder, not of the frame.
                    stream.codec_context.sample_aspect_ratio
                )
                self._write(frame, aspect or Fraction(1), number, clock)
        is_cut_short = _is_cut_short(container, self._end)
        return replace(self._video, reason=self._reason(clock, is_cut_short))

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
            # A video may take long as a whole, as long as it gets on.
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
    """Tells the time of frames, in seconds since the first one, and which of them are due.

    A frame without a time of its own follows the one before it at the stream's average rate, and
    so does one that would go back in time, as in recordings that were joined.

    Attributes:
        last: The time of the latest intact frame.
        end: When that frame ends, 0 without frames.
    """

    def __init__(self, stream: "av.VideoStream", rate: Fraction) -> None:
        self._interval = 1 / _exact(stream.average_rate or Fraction(25))
        self._rate = rate
        self._next = 0
        self._origin: Fraction | None = None
        self.last = Fraction(-1)
        self.end = Fraction(0)

    def tick(self, stamp: Fraction | None) -> bool:
        """Move on to the next intact frame and tell whether it is due."""
        if stamp is not None and (self._origin is None or stamp - self._origin < self.last):
            self._origin = stamp - self.end
        self.last = self.find_time(stamp)
        self.end = self.last + self._interval
        is_due = self.last * self._rate >= self._next
        if is_due:
            self._next = math.floor(self.last * self._rate) + 1
        return is_due

    def find_time(self, stamp: Fraction | None) -> Fraction:
        """Return the time that belongs to a time stamp of the file."""
        return self.end if stamp is None or self._origin is None else stamp - self._origin


class _VideoFile(io.BufferedReader):
    """A file that refuses to seek where FFmpeg cannot mean to go, instead of raising.

    PyAV would print the exception, and could raise it in the middle of the next video.
    """

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def _decoding_errors() -> tuple[type[Exception], ...]:
    """Return what broken values lead FFmpeg, PyAV and a failing disk to raise."""
    import av

    return (av.FFmpegError, OSError, ValueError, OverflowError, MemoryError)


def _time_stamp(timed: "av.VideoFrame | av.Packet[Any]") -> Fraction | None:
    if timed.pts is None or not timed.time_base:
        return None
    return timed.pts * _exact(timed.time_base)


def _exact(number: "Fraction | None") -> Fraction:
    # PyAV 19 has a type of its own here, which also has these two.
    return Fraction(number.numerator, number.denominator) if number else Fraction(0)


def _is_cut_short(container: "av.container.InputContainer", end: Fraction) -> bool:
    names = set(container.format.name.split(","))
    if container.duration is None or not names & _CONTAINERS_WITH_DURATION:
        return False
    # Some containers count the duration from the first time stamp, others from zero.
    start = Fraction(min(container.start_time or 0, 0), _TICKS_PER_SECOND)
    length = Fraction(container.duration, _TICKS_PER_SECOND)
    return length - (end - start) > _MISSING_SECONDS


def _find_orientation(frame: "av.VideoFrame") -> tuple[int, Image.Transpose | None]:
    try:
        matrix = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV before 19 stops at kinds of side data that it has no name for. This has no mirroring.
        return _ROTATIONS.get(-frame.rotation % 360, (0, None))
    if matrix is None:
        return 0, None
    a, b, _, c, d = struct.unpack_from("5i", bytes(matrix))
    # Any other angle than a right one is left as it is.
    return _ORIENTATIONS.get(tuple((value > 0) - (value < 0) for value in (a, b, c, d)), (0, None))


def _believed_aspect(stated: "Fraction | None") -> Fraction | None:
    """Return how many times as wide as high a pixel is, None where that is not known."""
    aspect = _exact(stated)
    return aspect if 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED else None


def _square_width(width: int, aspect: Fraction) -> int:
    """Return how many square pixels are as wide as these."""
    if round(width * aspect) == width:
        return width
    return max(2, 2 * round(width * aspect / 2))


def _convert_to_image(frame: "av.VideoFrame", width: int) -> Image.Image:
    rgb = frame.reformat(width=width, format="rgb24", interpolation=_BILINEAR_EXACT)
    return Image.fromarray(rgb.to_ndarray())
