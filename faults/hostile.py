"""Files that strangers made: damaged pictures, videos and archives, by the thousand.

Each goes through the product's own way in: a verdict or a reason for every file, in bounded time,
and nothing of it decoded, or taken to memory, in the process that asks.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from faults.mutations import ARCHIVES, PICTURES, VIDEOS, mutate, samples
from faults.trials import Order, Trial
from registry_assets.errors import RejectedError
from registry_assets.images import build_contact_sheet, measure_collection
from registry_assets.images.frames import extract_frames
from registry_assets.intake.unpacking import UnpackingLimits, unpack

MOST_FILES = 3000
_TOGETHER = 60
_MOST_SECONDS = 120.0
_MOST_MEGABYTES = 300
_LIMITS = UnpackingLimits(most_files=1000, free_bytes=0)


def run(order: Order) -> Iterator[Trial]:
    """Opens damaged files, kind by kind, until there were enough or the order is over."""
    kinds = [kind for kind in (*PICTURES, *VIDEOS, *ARCHIVES) if kind in samples()]
    for round_ in range(-(-MOST_FILES // _TOGETHER)):
        if round_ and order.is_over:
            return
        kind = kinds[round_ % len(kinds)]
        yield from open_damaged(order, kind, round_, _TOGETHER)


def open_damaged(order: Order, kind: str, round_: int, count: int) -> Iterator[Trial]:
    """Opens some damaged files of one kind.

    Args:
        order: The order, which chance starts with.
        kind: The suffix of the files.
        round_: Tells apart what chance makes of equal kinds.
        count: How many files.
    """
    files = {}
    for number in range(count):
        name = f"{number:03}.{kind}"
        files[name] = mutate(samples()[kind], order.chance("hostile", kind, round_, number))
    folder = order.scratch / f"{round_} {kind}"
    folder.mkdir()
    started, before = time.monotonic(), _memory()
    try:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        open_ = _unpack_all if kind in ARCHIVES else _decode_all
        wrong = open_(folder, list(files))
    except Exception as error:  # that is what is looked for
        wrong = {next(iter(files)): f"one of them ended it all: {error!r}"}
    seconds, grown = time.monotonic() - started, _memory() - before
    if seconds > _MOST_SECONDS:
        wrong[next(iter(files))] = f"{count} files took {seconds:.0f} s"
    if grown > _MOST_MEGABYTES:
        wrong[next(iter(files))] = f"{count} files took {grown} MB of this process"
    for name in files:
        faults = (wrong[name],) if name in wrong else ()
        yield Trial(f"damaged .{kind}", f"{folder.name}/{name}", faults)
    if not wrong:
        shutil.rmtree(folder)


def _decode_all(folder: Path, names: list[str]) -> dict[str, str]:
    """Measures and shows pictures, and takes the frames of videos; what is wrong, by name."""
    frames = folder.with_name(f"{folder.name} frames")
    extract_frames(folder, frames, frames_per_second=1)
    rows = [*measure_collection(folder, frames=frames)]
    build_contact_sheet([(name, folder / name) for name in names])
    shutil.rmtree(frames)
    found = {row.path: row for row in rows if not row.source}
    wrong = {name: "it has no row" for name in names if name not in found}
    for name, row in found.items():
        is_measured = row.width is not None and row.mean_brightness is not None
        if row.is_readable != is_measured or bool(row.reason) == row.is_readable:
            wrong[name] = f"neither measured nor refused: {row}"
    return wrong


def _unpack_all(folder: Path, names: list[str]) -> dict[str, str]:
    """Unpacks archives, each into a folder of its own; what is wrong, by name."""
    wrong = {}
    for name in names:
        target = folder / f"{name} unpacked"
        try:
            content = unpack(folder / name, target, _LIMITS)
        except RejectedError as error:
            if not error.reason or "\n" in error.reason:
                wrong[name] = f"a reason that is none: {error.reason!r}"
            if target.exists():
                wrong[name] = "what was refused is still there"
        else:
            leading = [path for path in content.rglob("*") if not _is_inside(path, target)]
            if leading:
                wrong[name] = f"{leading[0]} leads out"
    left = set(os.listdir(folder)) - {*names, *(f"{name} unpacked" for name in names)}
    if left:
        wrong[names[0]] = f"it wrote {left}"
    return wrong


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _memory() -> int:
    """The most memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
