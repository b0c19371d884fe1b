"""Which pictures Pillow reads without plugins, as most programs can."""

from __future__ import annotations

import os

_SUFFIXES = {
    "BMP": (".bmp", ".dib"),
    "DIB": (".dib", ".bmp"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "MPO": (".jpg", ".jpeg", ".jpe"),
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "PSD": (".psd",),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""The suffixes by Pillow's name of the format; the first is the usual one."""


def plain_suffix(path: str, format_name: str) -> str | None:
    """Return the suffix that a picture needs so that others recognise it.

    Args:
        path: Its path.
        format_name: Pillow's name of the format; empty if it was not measured.

    Returns:
        Its own suffix if that fits the format, else the usual one; None for a format that takes a
        plugin, such as HEIC or camera raw.
    """
    own = os.path.splitext(path)[1].lower()
    if not format_name:
        return own if any(own in suffixes for suffixes in _SUFFIXES.values()) else None
    suffixes = _SUFFIXES.get(format_name)
    if suffixes is None:
        return None
    return own if own in suffixes else suffixes[0]
