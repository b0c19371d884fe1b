"""When, where and with what a video was taken, from the metadata of its container.

Keys are those of FFmpeg. `creation_time` is in UTC by the formats' standards (ISO/IEC 14496-12,
8.2.2), though some cameras write local time there. Apple's `com.apple.quicktime.creationdate` is
local time with its offset, and better. A place is a text of ISO 6709, annex H, in
`com.apple.quicktime.location.ISO6709` (QuickTime File Format, "Metadata keys") or `location` (©xyz,
and `loci` of 3GPP TS 26.244).
"""

import datetime
import re
from collections.abc import Mapping
from typing import Any

from registry_assets.images.exif import MOST_CHARACTERS, join_make

_TIMES = ("com.apple.quicktime.creationdate", "creation_time")
_PLACES = ("com.apple.quicktime.location.iso6709", "location")
_CAMERAS = (
    ("com.apple.quicktime.make", "com.apple.quicktime.model"),
    ("com.android.manufacturer", "com.android.model"),
    ("make", "model"),
)

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))? ?(?:(Z)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
# Degrees, degrees and minutes, or these and seconds.
_PLACE = re.compile(
    r"([+-])((?:\d\d){1,3}|\d)(\.\d+)?([+-])(\d{1,3}|\d{5}|\d{7})(\.\d+)?([+-]\d+(?:\.\d+)?)?"
    r"(?:CRS[^/]*)?/?",
    re.ASCII,
)
_MOST_METRES = 100_000

# Clocks that were never set begin in 1904 or 1970.
_FIRST_YEAR = 1971


def read_video_tags(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the fields of an `ExtractedVideo` that say when, where and with what.

    Args:
        metadata: Of the container, by keys in any case.
    """
    tags = {
        key.lower(): " ".join(value[:MOST_CHARACTERS].split()) for key, value in metadata.items()
    }
    latitude, longitude, altitude = next(
        (place for key in _PLACES if (place := parse_place(tags.get(key, "")))), (None, None, None)
    )
    return {
        "taken": next((time for key in _TIMES if (time := parse_time(tags.get(key, "")))), ""),
        "camera": next(filter(None, (_name_camera(tags, *keys) for keys in _CAMERAS)), ""),
        "latitude": latitude,
        "longitude": longitude,
        "altitude": altitude,
        "has_gps": any(key.startswith(_PLACES) for key in tags),
    }


def parse_time(text: str) -> str:
    """Return a time in ISO 8601, UTC as `+00:00`; empty if it is none, or no clock was set."""
    found = _TIME.fullmatch(text)
    if not found:
        return ""
    *numbers, fraction, utc, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    microsecond = int(f"{fraction or '':0<6}"[:6])
    zone = datetime.timezone.utc if utc else None
    try:
        if sign:
            offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
            zone = datetime.timezone(-offset if sign == "-" else offset)
        time = datetime.datetime(year, month, day, hour, minute, second, microsecond, zone)
    except ValueError:
        return ""
    return format_time(time) if year >= _FIRST_YEAR else ""


def format_time(time: datetime.datetime) -> str:
    """Return a time in ISO 8601, with as many digits of the seconds as it needs: none, 3 or 6."""
    needed = "milliseconds" if time.microsecond % 1000 == 0 else "microseconds"
    return time.isoformat(timespec=needed if time.microsecond else "seconds")


def parse_place(text: str) -> tuple[float, float, float | None] | None:
    """Return latitude, longitude and altitude of a text of ISO 6709; None if it is none."""
    found = _PLACE.fullmatch(text)
    if not found:
        return None
    south, *latitude, west, digits, fraction, height = found.groups()
    degrees = _as_degrees(latitude[0], latitude[1], 2), _as_degrees(digits, fraction, 3)
    if degrees[0] > 90 or degrees[1] > 180:
        return None
    altitude = float(height) if height else None
    if altitude is not None and abs(altitude) > _MOST_METRES:
        altitude = None
    return _signed(south, degrees[0]), _signed(west, degrees[1]), altitude


def _as_degrees(digits: str, fraction: str | None, width: int) -> float:
    fraction = fraction or ""
    if len(digits) <= width:
        return float(digits + fraction)
    degrees, minutes, seconds = digits[:width], digits[width : width + 2], digits[width + 2 :]
    if not seconds:
        return int(degrees) + float(minutes + fraction) / 60
    return int(degrees) + int(minutes) / 60 + float(seconds + fraction) / 3600


def _signed(sign: str, degrees: float) -> float:
    return -degrees if degrees and sign == "-" else degrees


def _name_camera(tags: Mapping[str, str], make: str, model: str) -> str:
    return join_make(tags.get(make, ""), tags.get(model, ""))
