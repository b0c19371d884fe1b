"""Many small files into the cache, out of it, to a remote and back, beside `dvc`."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

from cells import Cells, Time
from registries import copy_registry

from registry_assets.intake.initialising import init_registry

_COLLECTION = "shots"
_RAW = f"raw/{_COLLECTION}"
_INPUT = f"processed/01_image_dataset/data/inputs/{_COLLECTION}"
_PER_FOLDER = 1000
_SETTLED_SECONDS = 3


def measure_transfers(
    scratch: Path, files: int, size: int, runs: int, time: Time
) -> Iterator[Cells]:
    """Registering, comparing, importing, checking out, pushing and pulling one collection.

    Both sides start from copies of one registry, whose history was opened once, and have to leave
    the same metafiles; what this project imports has to be linked.

    Args:
        scratch: A folder for registries.
        files: How many files the collection has.
        size: Bytes in each.
        runs: How often; each in registries of its own.
        time: Returns how long a command takes in a folder.
    """
    base = scratch / "transfers"
    build_many_files(base, files, size)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(runs):
        for kind in ("copy", "hardlink,copy"):
            one = copy_registry(base, f"one-{number}-{len(kind)}")
            other = copy_registry(base, f"other-{number}-{len(kind)}")
            for root in (one, other):
                subprocess.run(["dvc", "config", "cache.type", kind], cwd=root, check=True)
            steps = _copies(one, other, time) if kind == "copy" else _links(one, other, time)
            for work, seconds in steps:
                found.setdefault(work, []).append(seconds)
            for root in (one, other):
                shutil.rmtree(root)
    shutil.rmtree(base)
    of = f"{files:,} files of {size // 1000} kB"
    rows = {
        "copied": (f"register {of}, copies", "dvc add", 2),
        "registered": (f"register {of}, hard links", "dvc add", 2),
        "compared": (f"status of {of}, after a change", "dvc status", None),
        "compared again": (f"status of {of}, nothing changed", "dvc status", None),
        "imported": (f"import {of}", "dvc import-url, which leaves copies", 4),
        "checked out": (f"check out {of}", "dvc checkout", 2),
        "pushed": (f"push {of} to a folder", "dvc push", 2),
        "pulled": (f"pull {of} from a folder", "dvc pull", 2),
    }
    for work, (name, alternative, wanted) in rows.items():
        pairs = found[work]
        yield Cells(name, alternative, [a for a, _ in pairs], [b for _, b in pairs], wanted)


def build_many_files(root: Path, files: int, size: int) -> None:
    """Makes a registry with a collection of files of noise in its raw folder, not registered."""
    list(init_registry(root))
    noise = random.Random(files)
    for number in range(files):
        folder = root / _RAW / f"{number // _PER_FOLDER:03}"
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.jpg").write_bytes(noise.randbytes(size))
    subprocess.run(["registry", "sync"], cwd=root, check=True, capture_output=True)
    os.sync()


def _copies(one: Path, other: Path, time: Time) -> Iterator[tuple[str, tuple[float, float]]]:
    ours = time(["registry", "add", _COLLECTION], one)
    yield "copied", (ours, time(["dvc", "add", "--quiet", _RAW], other))
    _check_same(one, other)


def _links(one: Path, other: Path, time: Time) -> Iterator[tuple[str, tuple[float, float]]]:
    def both(ours: list[str], theirs: list[str]) -> tuple[float, float]:
        os.sync()
        seconds = time(ours, one), time(theirs, other)
        _check_same(one, other)
        return seconds

    yield "registered", both(["registry", "add", _COLLECTION], ["dvc", "add", "--quiet", _RAW])
    status = ["registry", "status"]
    yield "compared", both(status, ["dvc", "status", "--quiet"])
    sleep(_SETTLED_SECONDS)
    time(status, one)
    yield "compared again", both(status, ["dvc", "status", "--quiet"])
    (other / _INPUT).parent.mkdir(parents=True, exist_ok=True)
    yield (
        "imported",
        both(
            ["registry", "import", _COLLECTION, "--into", "01_image_dataset"],
            ["dvc", "import-url", "--quiet", _RAW, _INPUT],
        ),
    )
    _check_linked(one)
    restore = ["registry", "materialize", "--select", "key:raw", "--collection", _COLLECTION]
    _each(one, other, lambda root: shutil.rmtree(root / _RAW))
    yield "checked out", both(restore, ["dvc", "checkout", "--quiet", f"{_RAW}.dvc"])
    yield "pushed", both(["registry", "push"], ["dvc", "push", "--quiet"])
    _each(one, other, lambda root: shutil.rmtree(root / _RAW))
    _each(one, other, lambda root: shutil.rmtree(root / ".dvc/cache"))
    yield "pulled", both(restore, ["dvc", "pull", "--quiet", f"{_RAW}.dvc"])


def _each(one: Path, other: Path, do: Callable[[Path], None]) -> None:
    for root in (one, other):
        do(root)


def _check_same(one: Path, other: Path) -> None:
    """Makes sure that the metafiles are the same, and that there is as much data."""
    for path in (f"{_RAW}.dvc", f"{_INPUT}.dvc", "raw/.gitignore"):
        texts = [root / path for root in (one, other)]
        if texts[0].exists() != texts[1].exists() or (
            texts[0].exists() and texts[0].read_bytes() != texts[1].read_bytes()
        ):
            raise SystemExit(f"{path} differs from what dvc wrote: {texts}")
    counts = [sum(len(names) for _, _, names in os.walk(root / _RAW)) for root in (one, other)]
    if counts[0] != counts[1]:
        raise SystemExit(f"{_RAW} has {counts[0]} files, {counts[1]} where dvc was at work")


def _check_linked(root: Path) -> None:
    copies = [path for path in (root / _INPUT).rglob("*.jpg") if path.stat().st_nlink == 1]
    if copies:
        raise SystemExit(f"{len(copies)} files of the import are copies")
