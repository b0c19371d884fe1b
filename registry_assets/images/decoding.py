"""From the bytes of a file to an 8-bit RGB image, or to the reason why there is none.

An image is readable when its first picture is intact: it decodes in full, without a warning of its
decoder where there is one that warns (`jpeg_decoding`), and the checksums of its container hold
where there are some (PNG). What is wrong with the rest of the file is a note: comments, profiles,
previews, later frames. What is not readable is data, not an exception: it comes back as an
`Unreadable` with its reason, "corrupt: …" for damage and "not supported: …" for what no decoder
here reads.

How each kind of image becomes 8-bit RGB (`convert_to_rgb`):

=====================  ============================================================================
stored as              becomes
=====================  ============================================================================
1-bit, grey            the same value in R, G and B (a bit is 0 or 255)
RGB                    itself; 16 bits per channel keep the high byte (Pillow does this on loading)
16-bit grey (I;16…)    the high byte, as for RGB, so 65535 is white. Pillow's own conversion clips
32-bit integer (I)     the high byte of 16 bits where the largest value fits in 16 bits (Pillow
                       hands 16-bit PPM and some TIFF over like that), else of 31 bits;
                       negative values are black
float (F)              white is 1, 255 or 65535: the smallest that the largest value does not
                       exceed; rounded to the nearest; negative values and NaN are black
palette (P, PA)        the colours of the palette
alpha (LA, RGBA, …)    the stored colours; alpha is dropped. That is what training code sees that
                       opens the file and asks for RGB, and no background has to be made up
CMYK, YCbCr, HSV, LAB  Pillow's conversion (inverted Adobe CMYK is turned round by Pillow on
                       loading; colour profiles are not applied)
several frames         the first frame; a layered PSD its merged picture
camera raw             see `camera_raw`
=====================  ============================================================================

Pixels are taken as stored. The EXIF orientation is not applied, also not to TIFF, for which
Pillow applies it by itself on loading. HEIF is turned as its container says, which is no EXIF.
"""

import io
import re
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError

from registry_assets.images.bare_pictures import check_png, keep_first_picture
from registry_assets.images.camera_raw import RAW_FORMAT, develop, is_camera_raw
from registry_assets.images.contents import (
    MAX_PIXELS,
    MAX_PIXELS_OF_ALL_FRAMES,
    Unreadable,
    describe_error,
    has_image_suffix,
)
from registry_assets.images.jpeg_decoding import (
    check_for_lost_data,
    decode_jpeg,
    fill_before_end,
    has_strict_decoder,
    unsupported_kind,
)
from registry_assets.images.tiff_directories import describe_unsupported, is_tiff

# Everything that Pillow decodes by itself, the common formats first, those without a signature
# last. Left out are EPS, for which Pillow starts Ghostscript, and the formats that it recognises
# but has no decoder for (BUFR, GRIB, HDF5, MPEG, WMF). A fixed list, because the order in which
# Pillow tries formats otherwise depends on what the process opened before.
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "MPO", "DIB"),
    *("BLP", "CUR", "DCX", "DDS", "FITS", "FLI", "FTEX", "GBR", "ICNS", "ICO", "IM", "IMT"),
    *("MCIDAS", "MIC", "MSP", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM"),
    *("XVTHUMB", "HEIF", "JXL", "IPTC", "PCD", "SPIDER", "TGA"),
)

_IMAGE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0.ftypavi[fs]|\0\0\0\x0cjP  ",
    re.DOTALL,
)

# What a plugin of Pillow reads, by its signature: the name there, the module that registers the
# plugin, and the extra that it is in.
_BY_PLUGIN = (
    (
        re.compile(rb"\0\0\0.ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
        *("HEIF", "pillow_heif.HeifImagePlugin", "heif"),
    ),
    (
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", re.DOTALL),
        *("JPEG XL", "pillow_jxl.JpegXLImagePlugin", "jxl"),
    ),
)

# Pictures that nothing here reads; what else no decoder recognises, is no picture.
_UNSUPPORTED = {
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"II\xbc\x01": "JPEG XR",
    b"8BPS\0\2": "PSB, a large Photoshop file",
    b"gimp xcf": "XCF of GIMP",
    b"SDPX": "DPX",
    b"XPDS": "DPX",
}

_JPEG = ("JPEG", "MPO")

# Undoes what Pillow does to a TIFF on loading: the inverse of its EXIF orientation.
_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class DecodedImage:
    """The first frame of an image as 8-bit RGB, and how the file stores it.

    Attributes:
        image: Of the mode RGB, or RGBX, whose fourth byte is unused.
        pixels: The same, height × width × 3 or 4.
        format: As Pillow calls it; "RAW" for camera raw.
        width: In pixels.
        height: In pixels.
        mode: As stored, in Pillow's terms.
        frames: How many the file holds, one after the other and intact.
        note: What is wrong with the rest of the file.
    """

    image: Image.Image
    pixels: NDArray[np.uint8]
    format: str
    width: int
    height: int
    mode: str
    frames: int
    note: str = ""


def decode_image(
    contents: bytes, *, name: str = "", max_pixels: int = MAX_PIXELS
) -> DecodedImage | Unreadable:
    """Return the image that the bytes of a file hold, its first picture decoded once.

    The format is decided by the contents.

    Args:
        contents: The whole file.
        name: The file's name, by which a TIFF can be camera raw, and a file that no decoder
            recognises counts as a broken image or as no image.
        max_pixels: Larger images are not decoded.

    Raises:
        RuntimeError: If `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is set in this process, because
            photographs that were cut off would then pass as intact.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: photographs that were cut off would pass "
            "as intact. Set it to False before measuring."
        )
    if not contents:
        return Unreadable("empty file")
    try:
        if is_camera_raw(contents, name):
            return _develop(contents, max_pixels)
        return _decode(contents, max_pixels)
    except MemoryError:
        return Unreadable("too large: decoding needs more memory than there is")
    # Decoders raise whatever comes up while they read broken bytes, from SyntaxError to KeyError.
    except Exception as error:
        return _decode_first_picture(contents, max_pixels, error) or Unreadable(
            _why_not(contents, name, error)
        )


def open_image(contents: bytes) -> ImageFile.ImageFile:
    """Return the image in these bytes, only its header read.

    Raises:
        PIL.UnidentifiedImageError: If no decoder recognises it. Decoders raise much else.
    """
    Image.init()
    for signature, _, module, _ in _BY_PLUGIN:
        if signature.match(contents):
            with suppress(ImportError):
                import_module(module)
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        return Image.open(io.BytesIO(contents), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _open_large_image(contents, formats)


def _open_large_image(contents: bytes, formats: Iterable[str]) -> ImageFile.ImageFile:
    """Do what `Image.open` does but for its limit on pixels, which is a global variable."""
    for name in formats:
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            # One that knows the format but cannot read it here, answers with a text.
            if not accepts or accepts(contents[:16]) is True:
                return factory(io.BytesIO(contents), "")
    raise UnidentifiedImageError("no decoder recognises it")


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image as 8-bit RGB, as the table above says. It may be the same object."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_scale_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGBa" or image.mode == "PA" or "transparency" in image.info:
        # Straight to RGB, Pillow would divide nothing by alpha, or warn about the transparency.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _develop(contents: bytes, max_pixels: int) -> DecodedImage | Unreadable:
    pixels = develop(contents, max_pixels=max_pixels)
    if isinstance(pixels, Unreadable):
        return pixels
    height, width, _ = pixels.shape
    return DecodedImage(Image.fromarray(pixels), pixels, RAW_FORMAT, width, height, "RGB", 1)


def _decode(contents: bytes, max_pixels: int) -> DecodedImage | Unreadable:
    with open_image(contents) as image:
        if image.width * image.height > max_pixels:
            return Unreadable(f"too large: {image.width} x {image.height} pixels")
        note = check_png(contents) if image.format == "PNG" else ""
        mode = image.mode
        stated, of_frames = _count_frames(image)
        first, pixels = _decode_first_frame(contents, image)
        if first is image and stated > 1:
            # The next frame takes its place.
            first = first.copy()
        frames, of_frames = _decode_other_frames(image, stated, of_frames)
        return DecodedImage(
            image=first,
            pixels=pixels,
            format=image.format or "",
            width=first.width,
            height=first.height,
            mode=mode,
            frames=frames,
            note="; ".join(filter(None, (note, of_frames))),
        )


def _decode_first_frame(
    contents: bytes, image: ImageFile.ImageFile
) -> tuple[Image.Image, NDArray[np.uint8]]:
    if image.format in _JPEG and has_strict_decoder(contents):
        try:
            return _decode_jpeg(contents, image)
        except ValueError as error:
            # Colours sampled in a way that simplejpeg has no name for.
            if "subsampling" not in str(error):
                raise
        _check_jpeg_of_pillow(contents, image)
    undo = _orientation_to_undo(image)
    image.load()
    first = convert_to_rgb(image if undo is None else image.transpose(undo))
    return first, np.asarray(first)


def _decode_jpeg(
    contents: bytes, image: ImageFile.ImageFile
) -> tuple[Image.Image, NDArray[np.uint8]]:
    if image.mode != "CMYK":
        pixels = decode_jpeg(contents)
        return Image.frombuffer("RGBX", image.size, pixels, "raw", "RGBX", 0, 1), pixels
    stored = decode_jpeg(contents, "CMYK")
    first = Image.frombuffer("CMYK", image.size, stored, "raw", "CMYK;I", 0, 1).convert("RGB")
    return first, np.asarray(first)


def _check_jpeg_of_pillow(contents: bytes, image: ImageFile.ImageFile) -> None:
    """Make sure that nothing is missing of a JPEG of which Pillow does not tell."""
    check_for_lost_data(contents)
    with open_image(fill_before_end(contents)) as filled:
        if ImageChops.difference(filled, image).getbbox():
            raise ValueError("premature end of data segment")


def _count_frames(image: ImageFile.ImageFile) -> tuple[int, str]:
    """Return how many frames the file says it has, and why that cannot be told."""
    # Pillow calls the layers of a PSD frames; the picture that the file shows is the merged one.
    if image.format == "PSD":
        return 1, ""
    try:
        return getattr(image, "n_frames", 1), ""
    except Exception as error:
        image.seek(0)
        return 1, f"what follows the first frame: {describe_error(error)}"


def _decode_other_frames(image: ImageFile.ImageFile, frames: int, note: str) -> tuple[int, str]:
    """Return how many frames there are up to the first broken one, and what is wrong with that."""
    pixels = image.width * image.height
    for number in range(1, frames):
        which = f"frame {number + 1} of {frames}"
        try:
            image.seek(number)
            pixels += image.width * image.height
            if image.width * image.height > MAX_PIXELS or pixels > MAX_PIXELS_OF_ALL_FRAMES:
                return number, f"too many pixels: not looked at from {which} on"
            image.load()
        except EOFError:
            return number, f"{which} is missing"
        except Exception as error:
            return number, f"{which}: {describe_error(error)}"
    return frames, note


def _decode_first_picture(
    contents: bytes, max_pixels: int, first_error: Exception
) -> DecodedImage | Unreadable | None:
    """Decode a copy without all that the picture does not need; None if that is broken, too."""
    with suppress(Exception):
        bare = keep_first_picture(contents)
        if bare is None or bare == contents:
            return None
        decoded = _decode(bare, max_pixels)
        if isinstance(decoded, DecodedImage):
            if isinstance(first_error, UnidentifiedImageError):
                return replace(decoded, note="the rest of it is broken")
            return replace(decoded, note=describe_error(first_error))
        return decoded
    return None


def _orientation_to_undo(image: ImageFile.ImageFile) -> Image.Transpose | None:
    if image.format != "TIFF":
        return None
    return _UNDO_ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def _scale_to_8_bit(pixels: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.uint8]:
    if pixels.dtype.kind == "i":
        shift = 8 if pixels.max() <= 0xFFFF else 23
        return (pixels.clip(0) >> shift).astype(np.uint8)
    finite = np.nan_to_num(pixels, nan=0.0, posinf=np.inf, neginf=0.0)
    white = next((white for white in (1, 255) if finite.max() <= white), 65535)
    return np.floor(finite.clip(0, white) * (255 / white) + 0.5).astype(np.uint8)


def _why_not(contents: bytes, name: str, error: Exception) -> str:
    kind = _unsupported_kind(contents, error)
    if kind:
        return f"not supported: {kind}"
    if not isinstance(error, UnidentifiedImageError):
        return f"corrupt: {describe_error(error)}"
    is_recognised = any(signature.match(contents) for signature, *_ in _BY_PLUGIN)
    if is_recognised or has_image_suffix(name) or _IMAGE_SIGNATURE.match(contents):
        return "corrupt: no decoder recognises it"
    return "not an image"


def _unsupported_kind(contents: bytes, error: Exception) -> str | None:
    """Return what a file is that no decoder here reads, None for one that should be readable."""
    if contents.startswith(b"\xff\xd8"):
        return unsupported_kind(contents)
    if is_tiff(contents) and isinstance(error, UnidentifiedImageError | KeyError):
        described = describe_unsupported(contents)
        return f"TIFF with {described}" if described else None
    for signature, kind, module, extra in _BY_PLUGIN:
        if signature.match(contents) and module not in sys.modules:
            return f"{kind}, read with pip install 'registry-assets[{extra}]'"
    if contents[4:12] in (b"ftypavif", b"ftypavis") and "AVIF" not in Image.SAVE:
        return "AVIF, which this build of Pillow does not read"
    return next((kind for start, kind in _UNSUPPORTED.items() if contents.startswith(start)), None)
