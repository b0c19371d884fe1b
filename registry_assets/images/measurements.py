"""The table of a collection: one row per file, with its measures or why it has none."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from registry_assets.images.algorithms import TABLES_WITHOUT_EXIF
from registry_assets.images.tables import (
    escape_text,
    read_header,
    read_table,
    read_table_columns,
    unescape_text,
    write_table,
)

MEASUREMENTS_TABLE = "measurements.csv"
"""The file name of the table."""

COLUMNS = (
    *("path", "readable", "reason", "format", "width", "height", "mode", "frames"),
    *("mean_brightness", "mean_horizontal_variance", "perceptual_hash"),
    *("source", "frame", "md5", "size", "note", "thumbnail"),
    *("taken", "camera", "lens", "orientation", "latitude", "longitude", "altitude", "has_gps"),
)
_COLUMNS_AT_FIRST = 15
_COLUMNS_WITHOUT_EXIF = 17

_TRUTH = {True: "true", False: "false"}


class Measurement(NamedTuple):
    """A row of the table.

    Attributes:
        path: Relative to the collection's folder, with `/`; for a frame of a video,
            `<path of the video>/frame_000012.jpg`.
        reason: Why it is not a readable image; empty if it is one.
        format: Pillow's name of the format; RAW for camera raw.
        width: In pixels, as stored (EXIF orientation not applied); likewise `height`.
        mode: Pillow's mode of the stored image.
        frames: The number of intact frames before the first damaged one; the first is measured.
        mean_brightness: See `measures`.
        mean_horizontal_variance: See `measures`.
        perceptual_hash: See `measures`.
        source: For a frame, the path of the video; else empty.
        frame: For a frame, its number in the video, from 0.
        md5: Of the contents, if they were read.
        size: In bytes, for a regular file.
        note: A problem with the rest of the file, whose first picture is intact.
        thumbnail: See `measures`; empty in tables of older versions, like all that follow.
        taken: When, in ISO 8601, see `exif`; for a frame and its video, see `videos`. Likewise
            `camera`, `lens`, `orientation`, `latitude`, `longitude` and `altitude`.
        has_gps: Whether the file itself says anything about a place; None if it was not read.
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
    note: str = ""
    thumbnail: str = ""
    taken: str = ""
    camera: str = ""
    lens: str = ""
    orientation: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    has_gps: bool | None = None

    @property
    def is_readable(self) -> bool:
        """Whether the file is an intact image."""
        return not self.reason


def write_measurements(
    path: str | os.PathLike[str],
    measurements: Iterable[Measurement],
    *,
    version: int = TABLES_WITHOUT_EXIF,
) -> None:
    """Write the table, row by row as the measurements come.

    Numbers are written with all digits, so that verdicts do not depend on rounding.

    Args:
        path: The table.
        measurements: Its rows.
        version: Of the algorithm `measures`; stage programs of version 0.1.0 pass none.
    """
    columns = _COLUMNS_WITHOUT_EXIF if version == TABLES_WITHOUT_EXIF else len(COLUMNS)
    rows = (_to_row(measurement)[:columns] for measurement in measurements)
    write_table(path, COLUMNS[:columns], rows)


def read_measurements(path: str | os.PathLike[str]) -> Iterator[Measurement]:
    """Yield the rows of a table, written by this version or an earlier one.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a table.
    """
    return map(_from_row, read_cells(path))


def read_cells(path: str | os.PathLike[str]) -> Iterator[tuple[str, ...]]:
    """Yield the text of the cells of each row, in the order of `COLUMNS`.

    Raises:
        OSError: As `read_measurements`; likewise ValueError.
    """
    return read_table(path, COLUMNS, at_least=_COLUMNS_AT_FIRST)


def read_cell_columns(
    path: str | os.PathLike[str],
) -> Iterator[Mapping[str, Sequence[str]]]:
    """Yield the text of the cells of some thousand rows at a time, by column.

    Raises:
        OSError: As `read_measurements`; likewise ValueError.
    """
    for cells in read_table_columns(path, COLUMNS, at_least=_COLUMNS_AT_FIRST):
        yield dict(zip(COLUMNS, cells, strict=True))


def is_table(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is such a table."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            read_header(file, COLUMNS, at_least=_COLUMNS_AT_FIRST)
    except (OSError, ValueError):
        return False
    return True


def _to_row(measurement: Measurement) -> tuple[str, ...]:
    return (
        escape_text(measurement.path),
        _TRUTH[measurement.is_readable],
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
        escape_text(measurement.note),
        measurement.thumbnail,
        escape_text(measurement.taken),
        escape_text(measurement.camera),
        escape_text(measurement.lens),
        _format(measurement.orientation),
        _format(measurement.latitude),
        _format(measurement.longitude),
        _format(measurement.altitude),
        "" if measurement.has_gps is None else _TRUTH[measurement.has_gps],
    )


def _from_row(row: tuple[str, ...]) -> Measurement:
    path, _, reason, format_, width, height, mode, frames, *rest = row
    brightness, variance, hash_, source, frame, md5, size, note, thumbnail, *rest = rest
    taken, camera, lens, orientation, latitude, longitude, altitude, has_gps = rest
    return Measurement(
        unescape_text(path),
        unescape_text(reason),
        format_,
        _parse_int(width),
        _parse_int(height),
        mode,
        _parse_int(frames),
        _parse_float(brightness),
        _parse_float(variance),
        hash_,
        unescape_text(source),
        _parse_int(frame),
        md5,
        _parse_int(size),
        unescape_text(note),
        thumbnail,
        unescape_text(taken),
        unescape_text(camera),
        unescape_text(lens),
        _parse_int(orientation),
        _parse_float(latitude),
        _parse_float(longitude),
        _parse_float(altitude),
        has_gps == _TRUTH[True] if has_gps else None,
    )


def _format(number: float | None) -> str:
    # `repr` has all digits of a float, so that it is read back exactly.
    return "" if number is None else repr(number)


def _parse_int(text: str) -> int | None:
    return int(text) if text else None


def _parse_float(text: str) -> float | None:
    return float(text) if text else None
