"""Extracting frames from the videos of a collection."""

import os
import shutil
from concurrent.futures import Executor
from fractions import Fraction
from functools import partial
from pathlib import Path

from registry_assets.images.algorithms import TABLES_WITHOUT_EXIF
from registry_assets.images.entries import CollectionFile, find_entries, is_video
from registry_assets.images.videos import ExtractedVideo, as_rate, write_videos
from registry_assets.images.workers import CRASHED, TOO_LARGE, map_in_order


def extract_frames(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    frames_per_second: float,
    executor: Executor | None = None,
    version: int = TABLES_WITHOUT_EXIF,
) -> list[ExtractedVideo]:
    """Write frames of every video of a collection, and tables of the videos and of the frames.

    Frames are written to `<out>/<path of the video>/frame_000012.jpg`, with their number in the
    video from 0, and the tables to `<out>/videos.csv` and `<out>/frames.csv`. All are reproducible
    byte for byte.

    Args:
        folder: The collection. Hidden files, and links that lead out of it, are skipped.
        out: The output folder, created if necessary. It should be empty.
        frames_per_second: The number of frames to write per second of video.
        executor: Decodes videos, one per task; must have access to the same files (default: local
            worker processes, see `map_in_order`, in which a crash costs only one video).
        version: Of the algorithm `frames`; stage programs of version 0.1.0 pass none.

    Returns:
        The result for each video, sorted by path.

    Raises:
        OSError: If the folder cannot be read, or `out` cannot be written.
        ValueError: If `frames_per_second` is not above 0.
    """
    rate = as_rate(frames_per_second)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    entries = (entry for entry in find_entries(folder) if not entry.reason and is_video(entry.path))
    videos = list(
        map_in_order(
            partial(_extract_entry, out, rate),
            entries,
            on_failure=partial(_failed_entry, out, rate),
            executor=executor,
            chunk_size=1,
        )
    )
    write_videos(out, videos, version=version)
    return videos


def _extract_entry(out: Path, rate: Fraction, entry: CollectionFile) -> ExtractedVideo:
    # Imported here, as a collection without videos needs no decoder.
    from registry_assets.images.video_decoding import extract_video

    return extract_video(
        entry.location, out / entry.path, frames_per_second=float(rate), name=entry.path
    )


def _failed_entry(out: Path, rate: Fraction, entry: CollectionFile, reason: str) -> ExtractedVideo:
    # How far a crashed decoder came may be random: remove its frames.
    shutil.rmtree(out / entry.path, ignore_errors=True)
    reason = {CRASHED: "crashed the decoder", TOO_LARGE: "needs too much memory"}.get(
        reason, reason
    )
    return ExtractedVideo(entry.path, 0, 0, float(rate), reason=reason)
