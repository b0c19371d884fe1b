"""A registry of a million pictures, or of fewer: what people wait for who open it.

Only when asked for, as building it takes an hour.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from time import monotonic

import numpy as np
from cells import Cells, Time
from images import DATASET, peak_of
from looking import looking
from PIL import Image
from registries import IDENTITY
from scale import time_ticks
from waiting import serving_ui

from registry_assets.intake.initialising import init_registry

_SIZE = (48, 32)
_SEED = (6, 4)
_EDITED = 20


def measure_pictures(
    root: Path, collections: int, pictures: int, time: Time, *, is_kept: bool
) -> Iterator[Cells]:
    """What each look at a large registry takes, whose stages have all run.

    Args:
        root: The registry; built if it does not exist.
        collections: How many.
        pictures: In each of them, tiny ones.
        time: Returns how long a command takes in a folder.
        is_kept: Whether it stays, to be looked at again.
    """
    names = [f"c{number:03}" for number in range(collections)]
    of = f"{collections * pictures:,} pictures in {collections} collections"
    if not root.exists():
        yield from _build(root, names, pictures, of, time)
    yield from _look(root, names, of, time)
    if not is_kept:
        shutil.rmtree(root)


def _build(root: Path, names: list[str], pictures: int, of: str, time: Time) -> Iterator[Cells]:
    list(init_registry(root))
    _draw(root / "raw", names, pictures)
    added = sum(time(["registry", "add", name], root) for name in names)
    into = ["--into", Path(DATASET).name]
    imported = sum(time(["registry", "import", name, *into], root) for name in names)
    yield Cells(f"add {of}", "-", [added])
    yield Cells(f"import {of}", "-", [imported])
    started = monotonic()
    peak = peak_of(["registry", "materialize"], root)
    yield Cells(f"all stages, {of}", "-", [monotonic() - started])
    yield _peak("all stages", of, peak)
    _commit(root)
    _edit(root, names[0])
    time(["registry", "materialize", "--collection", names[0]], root)
    _commit(root)


def _look(root: Path, names: list[str], of: str, time: Time) -> Iterator[Cells]:
    # What is kept since the last run is another matter than a change.
    time(["registry", "status"], root)
    params = root / DATASET / "params.yaml"
    params.write_text(f"{params.read_text(encoding='utf-8')}# Changed\n", encoding="utf-8")
    picture = f"raw/{names[-1]}/000001.jpg"
    looks = {
        "lineage": (["registry", "lineage"], 5),
        "status after a change": (["registry", "status"], 10),
        "status, again": (["registry", "status"], 10),
        "diff of two commits": (["registry", "diff", "HEAD~1", "HEAD"], 10),
        "trace --forward of one": (["registry", "trace", "--forward", picture], 5),
        "gc, nothing freed": (["registry", "gc"], 30),
        "nothing to do": (["registry", "materialize"], 8),
    }
    for work, (command, limit) in looks.items():
        began = monotonic()
        peak = peak_of(command, root)
        yield Cells(f"{work}, {of}", f"{limit} s", [monotonic() - began], [limit], 1)
        yield _peak(work, of, peak)
    began = monotonic()
    with looking(root) as page:
        page.ask("api/pictures", limit=60)
        yield Cells(f"`registry look`, {of}", "5 s", [monotonic() - began], [5], 1)
        yield _peak("`registry look`", of, page.peak())
    with serving_ui(root) as (_, seconds):
        yield Cells(f"`registry ui` until it has the graph, {of}", "15 s", [seconds], [15], 1)
    yield Cells(f"a tick of the sensor, {of}", "0.5 s", time_ticks(root), [0.5], 1)


def _peak(work: str, of: str, peak: float) -> Cells:
    return Cells(f"MB at the peak of a process, {work}, {of}", "1,000 MB", [peak], [1000], 1)


def _draw(raw: Path, names: list[str], pictures: int) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(_draw_one, [raw / name for name in names], [pictures] * len(names)):
            pass


def _draw_one(folder: Path, pictures: int) -> None:
    """Draws pictures in random colours that change slowly, so that no two look alike."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(int(folder.name[1:]))
    for number in range(pictures):
        colours = random.integers(0, 256, (*_SEED[::-1], 3), dtype=np.uint8)
        image = Image.fromarray(colours).resize(_SIZE, Image.Resampling.BICUBIC)
        written = BytesIO()
        image.save(written, "JPEG", quality=75)
        (folder / f"{number:06}.jpg").write_bytes(written.getbuffer())


def _edit(root: Path, name: str) -> None:
    """Removes some pictures of a collection, as somebody would, and takes the new version."""
    for number in range(_EDITED):
        (root / "raw" / name / f"{number:06}.jpg").unlink()


def _commit(root: Path) -> None:
    for command in (["add", "--all"], [*IDENTITY, "commit", "--quiet", "--message", "Go on"]):
        subprocess.run(["git", *command], cwd=root, check=True)
