"""Images and videos drawn for the tests, so that the answers are known."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image


def noise(height: int = 24, width: int = 32, seed: int = 0) -> Image.Image:
    """Return an RGB image of random pixels: nothing compresses it, so cutting it cuts pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return an image as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def save(path: Path, image: Image.Image | None = None, **options: Any) -> Path:
    """Write an image, of noise by default, and create the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or noise()).save(path, **options)
    return path


def exif(**changed: Any) -> Image.Exif:
    """Return the EXIF of a photograph that was taken in Buenos Aires, below sea level.

    `changed` are tags by name, of those that EXIF has in the first directory, in the Exif IFD and,
    by names that begin with GPS, in the GPS IFD; None leaves a tag out.
    """
    tags: dict[str, Any] = {
        "Make": "Canon",
        "Model": "Canon EOS 80D",
        "Orientation": 6,
        "DateTimeOriginal": "2021:10:16 07:31:05",
        "OffsetTimeOriginal": "-03:00",
        "SubsecTimeOriginal": "25",
        "ExposureTime": 0.004,
        "LensModel": "EF-S18-55mm f/4-5.6 IS STM",
        "GPSVersionID": b"\2\3\0\0",
        "GPSLatitudeRef": "S",
        "GPSLatitude": (34.0, 36.0, 30.0),
        "GPSLongitudeRef": "W",
        "GPSLongitude": (58.0, 22.5, 0.0),
        "GPSAltitudeRef": b"\1",
        "GPSAltitude": 12.5,
        **changed,
    }
    written = Image.Exif()
    for name, value in tags.items():
        if value is None:
            continue
        if name.startswith("GPS"):
            written.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS[name]] = value
        elif name in ("Make", "Model", "Orientation"):
            written[ExifTags.Base[name]] = value
        else:
            written.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    return written


def draw_frame(number: int, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """Return a picture with a white upper half, whose red tells the number of the frame."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = 255
    pixels[height // 2 :, :, 0] = number * 3
    return pixels


def write_video(
    path: Path,
    *,
    frames: int = 30,
    rate: int = 10,
    codec: str = "libx264",
    turned_counterclockwise: int = 0,
    mirrored: bool = False,
    times: Sequence[int] | None = None,
    noisy: bool = False,
    pixel_aspect: Fraction | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a video of `draw_frame`, or of noise.

    `pixel_aspect` is how many times as wide as high a pixel is; `times` are in units of 1 / rate.
    The header goes first, so that a file cut short still opens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = "faststart+use_metadata_tags" if metadata else "faststart"
    header_first = {"movflags": flags} if path.suffix.lower() in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=header_first) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 96, 64, "yuv420p", 10
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if turned_counterclockwise or mirrored:
            stream.set_display_rotation(turned_counterclockwise, hflip=mirrored)
        for number in range(frames):
            picture = np.asarray(noise(64, 96, number)) if noisy else draw_frame(number)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
