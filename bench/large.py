"""One collection of many small pictures through all stages, and what comes right after a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from time import monotonic

import numpy as np
from cells import Cells, Time
from images import DATASET, peak_of
from PIL import Image
from registries import DATASET as TEXTS
from registries import build_registry, copy_registry

from registry_assets.intake.initialising import init_registry

_COLLECTION = "small"
_SIZE = (160, 120)
_BYTES = 6500
_DIFFERENT = 200
_OURS = ["registry", "materialize"]


def measure_large(scratch: Path, sizes: Sequence[int], time: Time) -> Iterator[Cells]:
    """All stages of collections of several sizes, and what changes after them.

    `dvc` stands beside it where it does the same work: its `repro` runs the same programs.

    Args:
        scratch: A folder for registries.
        sizes: How many pictures, smallest first; each row has its seconds per picture beside those
            of the size before.
        time: Returns how long a command takes in a folder.
    """
    before: float | None = None
    for count in sizes:
        root = scratch / f"large{count}"
        of = f"{count:,} pictures in one collection"
        yield from _measure_intake(scratch, root, count, of, time)
        started = monotonic()
        megabytes = peak_of(_OURS, root)
        per_picture = (monotonic() - started) / count * 1e3
        beside = [] if before is None else [before]
        yield Cells(f"ms per picture, all stages, {of}", "the size before", [per_picture], beside)
        yield Cells(f"MB at the peak of a process, all stages, {of}", "-", [megabytes])
        before = per_picture
        repro = ["dvc", "repro", "--quiet", f"{DATASET}/dvc.yaml"]
        yield Cells(f"nothing to do right after it, {of}", "8 s", [time(_OURS, root)], [8], 1)
        yield Cells(
            f"nothing to do again, {of}", "dvc repro", [time(_OURS, root)], [time(repro, root)]
        )
        picture = f"raw/{_COLLECTION}/{0:07}.jpg"
        trace = ["registry", "trace", "--forward", picture]
        yield Cells(f"trace of a picture forward, {of}", "3 s", [time(trace, root)], [3], 1)
        params = root / DATASET / "params.yaml"
        text = params.read_text(encoding="utf-8")
        params.write_text(text.replace("dark_image_threshold: 20", "dark_image_threshold: 30"))
        yield Cells(f"dark_image_threshold changes, {of}", "30 s", [time(_OURS, root)], [30], 1)
        params.write_text(f"{params.read_text(encoding='utf-8')}# Changed\n", encoding="utf-8")
        status = ["registry", "status"]
        yield Cells(f"status after a change, {of}", "8 s", [time(status, root)], [8], 1)
        yield Cells(f"status again, {of}", "1 s", [time(status, root)], [1], 1)
        shutil.rmtree(root)


def measure_right_after(scratch: Path, collections: int, time: Time) -> Iterator[Cells]:
    """Nothing to do right after all stages ran, beside `dvc repro` in the same state.

    Args:
        scratch: A folder for registries.
        collections: How many, with three stages each.
        time: Returns how long a command takes in a folder.
    """
    root = scratch / "after"
    build_registry(root, collections)
    time(_OURS, root)
    other = copy_registry(root, "after-other")
    ours = time(_OURS, root)
    theirs = time(["dvc", "repro", "--quiet", f"{TEXTS}/dvc.yaml"], other)
    work = f"nothing to do right after a run of {3 * collections} stages"
    yield Cells(work, "dvc repro", [ours], [theirs], 6)
    shutil.rmtree(root)
    shutil.rmtree(other)


def _measure_intake(scratch: Path, root: Path, count: int, of: str, time: Time) -> Iterator[Cells]:
    """Adds and imports the collection, which a copy of the registry gets from `dvc`."""
    list(init_registry(root))
    draw_pictures(root / "raw" / _COLLECTION, count)
    other = scratch / f"dvc{count}"
    shutil.copytree(root, other)
    os.sync()
    theirs = time(["dvc", "add", "--quiet", f"raw/{_COLLECTION}"], other)
    os.sync()
    ours = time(["registry", "add", _COLLECTION], root)
    metafile = f"raw/{_COLLECTION}.dvc"
    if (root / metafile).read_bytes() != (other / metafile).read_bytes():
        raise SystemExit(f"{metafile} differs from what dvc wrote")
    shutil.rmtree(other)
    yield Cells(f"add {of}, hard links", "dvc add", [ours], [theirs], 4)
    into = ["registry", "import", _COLLECTION, "--into", Path(DATASET).name]
    yield Cells(f"import {of}", "8 s", [time(into, root)], [8], 1)


def draw_pictures(folder: Path, count: int) -> None:
    """Draws noisy JPEGs of about 6.5 kB; a comment with its number makes each one different."""
    folder.mkdir(parents=True)
    drawn = [_draw(np.random.default_rng(number)) for number in range(min(count, _DIFFERENT))]
    for number in range(count):
        data = drawn[number % _DIFFERENT]
        comment = f"{number:07}".encode().ljust(max(7, _BYTES - len(data)))
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / f"{number:07}.jpg").write_bytes(data[:2] + segment + data[2:])


def _draw(random: np.random.Generator) -> bytes:
    width, height = _SIZE
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    shapes = np.asarray(coarse.resize(_SIZE, Image.Resampling.BICUBIC), dtype=np.float64) - 128
    noise = random.normal(0, random.uniform(2, 20), (height, width, 3))
    pixels = random.uniform(5, 215) + random.uniform(0.05, 0.5) * shapes + noise
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    for quality in range(95, 10, -5):
        stream = BytesIO()
        image.save(stream, "JPEG", quality=quality)
        if stream.tell() <= _BYTES:
            break
    return stream.getvalue()
