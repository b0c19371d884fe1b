"""Measuring every file of a collection."""

import heapq
import os
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial

from registry_assets.images.contents import MAX_PIXELS
from registry_assets.images.entries import CollectionFile, find_entries, is_video
from registry_assets.images.measurements import Measurement
from registry_assets.images.memo import Memo
from registry_assets.images.videos import FRAMES_TABLE, VIDEOS_TABLE, ExtractedVideo, read_videos
from registry_assets.images.workers import map_in_order

# Measurements that are added to a memo in one transaction.
_KEPT_TOGETHER = 500

_FRAME_NUMBER = re.compile(r"frame_([0-9]+)\.jpg$")


def measure_collection(
    folder: str | os.PathLike[str],
    *,
    frames: str | os.PathLike[str] | None = None,
    memo: Memo | None = None,
    executor: Executor | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Measurement]:
    """Yield the measurement of every file of a collection and its videos' frames, sorted by path.

    No file raises an exception: one that cannot be measured has a reason.

    Args:
        folder: The collection.
        frames: The output folder of `extract_frames`; without it, videos have the reason "video".
        memo: A cache of measures; does not change the result.
        executor: Decodes images; must have access to the same files (default: local worker
            processes, see `map_in_order`).
        max_pixels: Larger images are not decoded.

    Raises:
        OSError: If the folder, or a table in `frames`, cannot be read.
    """
    videos: dict[str, ExtractedVideo] = {}
    entries = find_entries(folder)
    if frames is not None:
        videos = {video.path: video for video in read_videos(frames)}
        tables = (VIDEOS_TABLE, FRAMES_TABLE)
        found = (entry for entry in find_entries(frames) if entry.path not in tables)
        tasks = heapq.merge(
            ((entry, False) for entry in entries),
            ((entry, True) for entry in found),
            key=lambda task: task[0].path,
        )
    else:
        tasks = ((entry, False) for entry in entries)
    measured = map_in_order(
        partial(_measure_task, memo, max_pixels), tasks, on_failure=_failed_task, executor=executor
    )
    for measurement in _keep(measured, memo) if memo else measured:
        video = videos.get(measurement.source or measurement.path)
        if video is None:
            yield measurement
        elif measurement.source:
            yield _with_tags(measurement, video, video.find_time(measurement.frame))
        # Another reason, such as "hidden file", takes precedence.
        elif measurement.reason == "video":
            yield _with_tags(measurement, video, video.taken)._replace(
                reason=video.summary, has_gps=video.has_gps
            )
        else:
            yield measurement


def _with_tags(measurement: Measurement, video: ExtractedVideo, taken: str) -> Measurement:
    return measurement._replace(
        taken=taken,
        camera=video.camera,
        latitude=video.latitude,
        longitude=video.longitude,
        altitude=video.altitude,
    )


def _keep(measured: Iterator[Measurement], memo: Memo) -> Iterator[Measurement]:
    batch: list[Measurement] = []
    try:
        for measurement in measured:
            yield measurement
            batch.append(measurement)
            if len(batch) == _KEPT_TOGETHER:
                memo.add(batch)
                batch = []
    finally:
        # Also after an interruption, so that no work is lost.
        memo.add(batch)


def _measure_task(
    memo: Memo | None, max_pixels: int, task: tuple[CollectionFile, bool]
) -> Measurement:
    # Imported here, as only workers decode.
    from registry_assets.images.file_measuring import measure_file

    entry, is_frame = task
    if entry.reason:
        return Measurement(entry.path, entry.reason, size=entry.size)
    if not is_frame:
        if is_video(entry.path):
            return Measurement(entry.path, "video", size=entry.size)
        return measure_file(entry.location, name=entry.path, memo=memo, max_pixels=max_pixels)
    number = _FRAME_NUMBER.search(entry.path)
    return measure_file(entry.location, name=entry.path, memo=memo, max_pixels=max_pixels)._replace(
        source=os.path.dirname(entry.path), frame=int(number.group(1)) if number else None
    )


def _failed_task(task: tuple[CollectionFile, bool], reason: str) -> Measurement:
    return Measurement(task[0].path, reason, size=task[0].size)
